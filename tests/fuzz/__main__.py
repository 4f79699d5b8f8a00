"""`python -m fuzz`: try everything, keep each failure as a seed, write the table of what was tried."""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import re
import tempfile
import time
from pathlib import Path

from fuzz import generate, pool
from fuzz.case import ALLOWED, MEMORY, SECONDS, Case, Outcome
from fuzz.minimize import minimized
from fuzz.pool import Zygote
from fuzz.signals import Interruptions, shares
from fuzz.templates import Templates

SEEDS = Path(__file__).parent / "seeds"
_BEGIN, _END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"
_WORDS = ("done", "failed, said", "refused", "above a threshold", "interrupted", "killed", "broken")


def main() -> int:
    """Status 1 if anything was wrong."""
    asked = _arguments()
    rows: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    wrong: dict[str, tuple[Path, Case]] = {}
    cpu, most, begun = 0.0, 0, time.monotonic()

    def note(case: Case, outcome: Outcome, complaint: str) -> None:
        nonlocal cpu, most
        rows[case.kind][outcome.word] += 1
        rows[case.kind]["wrong"] += bool(complaint)
        cpu, most = cpu + outcome.cpu, max(most, outcome.memory)
        if complaint and complaint not in wrong:
            wrong[complaint] = keep(case, asked.seeds), case
            print(f"{case.kind}: {complaint}\n  poison {' '.join(case.args)[:300]}", flush=True)
        if (done := sum(counts.total() - counts["wrong"] for counts in rows.values())) % 500 == 0:
            print(f"{done} cases, {time.monotonic() - begun:.0f} s, {cpu:.0f} s of a core", flush=True)

    with tempfile.TemporaryDirectory() as place, Zygote(Path(asked.cache or place)) as zygote:
        made = Templates(zygote)
        tried = generate.cases(asked.cases, asked.seed, made)
        for case, outcome, complaint in pool.run(tried, asked.workers, Path(asked.cache or place)):
            note(case, outcome, complaint)
        if asked.signals:
            for found in Interruptions(zygote, made).draw(random.Random(asked.seed), shares(asked.signals)):
                note(*found)
        for complaint, (path, case) in wrong.items():
            if asked.minimize and not case.signal:
                path.unlink(missing_ok=True)
                keep(minimized(zygote, case, complaint), asked.seeds)
    text = table(rows, time.monotonic() - begun, cpu, most, asked)
    print(text)
    if asked.table:
        insert(asked.table, text)
    return int(bool(wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--signals", type=int, default=140, help="kills and signals that hit a job at work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cache", help="folder for compiled programs; by default a temporary one")
    parser.add_argument("--table", type=Path, help="the Markdown file whose section is replaced")
    parser.add_argument("--seeds", type=Path, default=SEEDS, help="folder that keeps what failed")
    parser.add_argument("--no-minimize", dest="minimize", action="store_false")
    return parser.parse_args()


def keep(case: Case, folder: Path) -> Path:
    """Write a failing case where the tests find it, at once: a campaign may be cut short."""
    text = case.to_json()
    name = re.sub(r"\W+", "-", f"{case.kind}-{case.args[0] if case.args else ''}").strip("-").lower()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    path.write_text(text)
    return path


def table(rows: dict, seconds: float, cpu: float, most: int, asked: argparse.Namespace) -> str:
    """What was tried, as Markdown."""
    words = [word for word in _WORDS if any(counts[word] for counts in rows.values())]
    head = ["kind", "cases", *words, "wrong"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    total: collections.Counter[str] = collections.Counter()
    for kind in sorted(rows):
        total.update(rows[kind])
    for kind, counts in [*sorted(rows.items()), ("all", total)]:
        cells = [counts.total() - counts["wrong"], *(counts[word] for word in words), counts["wrong"]]
        lines.append(f"| {kind} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    done = total.total() - total["wrong"]
    statuses = ", ".join(map(str, sorted(ALLOWED)))
    said = (
        f"`make fuzz`, seed {asked.seed}: {done:,} command lines, each in a process of its own, in "
        f"{seconds / 60:.0f} minutes with {asked.workers} at a time ({cpu / max(done, 1):.2f} s of a core each). "
        f'Wrong would be a traceback, "failed unexpectedly", an end by a signal that was not sent, an exit status '
        f"other than {statuses}, more than {SECONDS:.0f} s, more than {MEMORY / 2**30:.0f} GiB (the most was "
        f"{most / 2**30:.2f}), a half-written file; after a kill or a signal also arrays that differ from those of "
        "an undisturbed run once the command is repeated."
    )
    return f"{said}\n\n" + "\n".join(lines)


def insert(path: Path, text: str) -> None:
    """Replace the section of the Markdown file, or append it."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    section = f"{_BEGIN}\n## Hostile input\n\n{text}\n{_END}"
    if _BEGIN in old:
        before, rest = old.split(_BEGIN)
        new = before + section + rest.split(_END)[1]
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
