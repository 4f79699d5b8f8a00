"""A sweep whose drivers and workers are killed at random moments, beside one that is left in peace.

    python tests/sweeps/killed.py FOLDER [--seeds 50] [--drivers 20] [--workers 20]

Two drivers with a worker each share a folder; `kill -9` hits drivers and workers that are at work, at moments drawn
by chance, and new drivers take the place of the killed. It tells what happened, and fails unless all is done,
no finished file was written twice, and all are those of the undisturbed sweep, to the bit.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from small import same_bits

from poisoncli.sweeps.claims import Claim, Claims
from poisoncli.sweeps.plan import parse

BASE = """
title = "killed"
[base]
dataset = "digits"
attack = { name = "rmd", outer_steps = 3, inner_steps = 5, batch = 4 }
fraction = 0.2
n_train = 60
trainer = { name = "sgd", rate = 0.1, epochs = 20 }
n_val = 30
n_test = 30
[line.none]
reg = "none"
[line.clean]
clean_lambda = true
[line.large]
lambda = 0.2
[line.flip]
attack = "flip"
"""
FINISHED = 0.05  # seconds between two looks at the finished files


@dataclasses.dataclass
class Seen:
    """What was seen of a folder: the inodes that each finished file had, and claims that were taken over."""

    files: dict[str, set[int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    taken_over: set[tuple[str, int]] = dataclasses.field(default_factory=set)

    def look(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(folder):
                if entry.name.endswith(".h5") and not entry.name.startswith("."):
                    self.files[entry.name].add(entry.inode())


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "poisoncli", "sweep", *words, "-q"]


def driver(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        words = command(str(folder), "--join", "--workers", "1")
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


def at_work(claims: Iterable[Claim], drivers: list[subprocess.Popen[bytes]]) -> dict[int, subprocess.Popen[bytes]]:
    """Workers that hold a claim now, with the driver of each."""
    found = {}
    for claim in claims:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            parent = int(Path(f"/proc/{claim.process}/stat").read_text().rpartition(")")[2].split()[1])
            found[claim.process] = next(one for one in drivers if one.pid == parent and not claim.released)
    return found


def disturb(folder: Path, log: Path, kills: list[tuple[int, str]]) -> Seen:
    """Run the sweep in `folder` with two drivers; kills: when so many cells are finished, a driver or a worker."""
    seen, drivers = Seen(), [driver(folder, log) for _ in range(2)]
    rest = time.monotonic()
    while any(one.poll() is None for one in drivers):
        claims = Claims(folder / ".sweep").all().values()
        seen.look(folder)
        seen.taken_over |= {
            (claim.unit, claim.generation) for claim in claims if claim.generation and not claim.released
        }
        due = bool(kills) and len(seen.files) >= kills[0][0] and time.monotonic() > rest
        working = at_work(claims, drivers) if due else {}
        if working:
            worker = random.choice(list(working))
            if kills.pop(0)[1] == "driver":
                working[worker].kill()
                working[worker].wait()
                drivers = [driver(folder, log) if one is working[worker] else one for one in drivers]
            else:
                os.kill(worker, signal.SIGKILL)
            rest = time.monotonic() + random.uniform(0, 4)
        time.sleep(FINISHED)
    seen.look(folder)
    return seen


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--seeds", type=int, default=50, help="a seed has four cells, in two units")
    options.add_argument("--drivers", type=int, default=20, help="how many to kill")
    options.add_argument("--workers", type=int, default=20, help="how many to kill")
    asked = options.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    text = BASE + "".join(f'[panel."seed {seed}"]\nseed = {seed}\n' for seed in range(asked.seeds))
    cells = [cell.name for cell in parse(text, "here").cells]
    (asked.folder / "plan.toml").write_text(text)
    quiet, killed, log = asked.folder / "quiet", asked.folder / "killed", asked.folder / "log"
    begun = time.monotonic()
    subprocess.run(command("--config", str(asked.folder / "plan.toml"), "--out", str(quiet)), check=True)
    print(f"undisturbed, one process: {time.monotonic() - begun:.0f} s", flush=True)
    killed.mkdir()
    (killed / "sweep.toml").write_text(text)
    whom = ["driver"] * asked.drivers + ["worker"] * asked.workers
    kills = sorted((random.randrange(len(cells) - 8), one) for one in whom)
    begun = time.monotonic()
    seen = disturb(killed, log, kills)
    lines = [line.split() for line in log.read_text().splitlines()]
    told = collections.Counter(line[0] for line in lines if line[1:] == ["done"])
    twice = [name for name, inodes in seen.files.items() if len(inodes) > 1]
    print(f"two drivers, killed on the way: {time.monotonic() - begun:.0f} s")
    print(f"cells {len(cells)}, finished {len(seen.files)}, kills left {len(kills)}")
    print(f"claims seen to be taken over: {len(seen.taken_over)}")
    print(f"finished files written twice: {len(twice)}; cells told to be done by two processes: ", end="")
    print(sum(count > 1 for count in told.values()))
    print(f"left beside the finished files: {[path.name for path in killed.glob('.*')]}")
    same_bits(quiet, killed)
    print("all equal the undisturbed sweep's to the bit")
    assert len(seen.files) == len(cells)
    assert not twice
    assert not kills


if __name__ == "__main__":
    main()
