"""A sweep whose drivers and workers are killed at random moments, beside one that is left in peace.

    python tests/sweeps/killed.py FOLDER [--seeds 50] [--drivers 20] [--workers 20] [--dask]

Two drivers with a worker each share a folder; `kill -9` hits drivers and workers that are at work, at moments drawn
by chance, and new drivers take the place of the killed. With --dask one driver sends the runs to a Dask cluster of
two worker processes, any of which is hit. It tells what happened, and fails unless all is done, no finished file
was written twice, and all are those of the undisturbed sweep, to the bit.
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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from small import same_bits, workers_of

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
Process = subprocess.Popen[Any]
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


def driver(folder: Path, log: Path, where: tuple[str, str]) -> Process:
    with log.open("ab") as file:
        return subprocess.Popen(command(str(folder), "--join", *where), stdout=file, stderr=subprocess.STDOUT)


def at_work(claims: Iterable[Claim], drivers: list[Process]) -> dict[int, Process]:
    """Workers that hold a claim now, with the driver of each."""
    found = {}
    for claim in claims:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            parent = int(Path(f"/proc/{claim.process}/stat").read_text().rpartition(")")[2].split()[1])
            found[claim.process] = next(one for one in drivers if one.pid == parent and not claim.released)
    return found


@contextlib.contextmanager
def cluster(place: Path) -> Iterator[tuple[Path, list[Process]]]:
    """A Dask scheduler, by its file, and the nannies of its two workers."""
    file, log = place / "scheduler.json", (place / "dask.log").open("wb")
    words = ["--scheduler-file", str(file), "--no-dashboard"]
    options: Any = {"stderr": log, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    commands = [["distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1"]]
    commands += [["distributed.cli.dask_worker", "--nthreads", "1", "--local-directory", str(place / "dask")]] * 2
    every = [subprocess.Popen([sys.executable, "-m", name, *words, *more], **options) for name, *more in commands]
    try:
        while not file.exists():
            time.sleep(FINISHED)
        yield file, every[1:]
    finally:
        for process in every:
            process.terminate()
        for process in every:
            process.wait()


def disturb(
    folder: Path,
    log: Path,
    kills: list[tuple[int, str]],
    where: tuple[str, str],
    nannies: list[Process],
) -> Seen:
    """Run the sweep in `folder`; kills: when so many cells are finished, a driver or a worker.

    Two drivers of a worker each; or where there are nannies, one for their workers.
    """
    seen, drivers = Seen(), [driver(folder, log, where) for _ in range(1 if nannies else 2)]
    rest = time.monotonic()
    while any(one.poll() is None for one in drivers):
        claims = Claims(folder / ".sweep").all().values()
        seen.look(folder)
        seen.taken_over |= {
            (claim.unit, claim.generation) for claim in claims if claim.generation and not claim.released
        }
        due = bool(kills) and len(seen.files) >= kills[0][0] and time.monotonic() > rest
        if nannies:
            working = dict.fromkeys(workers_of(nannies), drivers[0]) if due else {}
        else:
            working = at_work(claims, drivers) if due else {}
        if working:
            worker = random.choice(list(working))
            if kills.pop(0)[1] == "driver":
                working[worker].kill()
                working[worker].wait()
                drivers = [driver(folder, log, where) if one is working[worker] else one for one in drivers]
            else:
                with contextlib.suppress(ProcessLookupError):  # it was hit just now
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
    options.add_argument("--dask", action="store_true", help="on a Dask cluster of two workers")
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
    with contextlib.ExitStack() as stack:
        file, nannies = stack.enter_context(cluster(asked.folder)) if asked.dask else (None, [])
        seen = disturb(killed, log, kills, ("--scheduler", str(file)) if file else ("--workers", "1"), nannies)
    lines = [line.split() for line in log.read_text().splitlines()]
    told = collections.Counter(line[0] for line in lines if line[1:] == ["done"])
    twice = [name for name, inodes in seen.files.items() if len(inodes) > 1]
    print(f"{'on Dask' if asked.dask else 'two drivers'}, killed on the way: {time.monotonic() - begun:.0f} s")
    failed = sorted({line[0] for line in lines if line[1:2] == ["failed:"]})
    print(f"cells {len(cells)}, finished {len(seen.files)}, failed {len(failed)}, kills left {len(kills)}")
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
