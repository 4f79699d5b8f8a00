"""`python -m benchmarks together FILE.json`: HLP Fig. 2(a) at a quarter of the outer steps, runs together or not.

Every outer step of a stage costs the same, so a few of each stage are timed, in an attack as it runs, and the least
is multiplied; compilation is left out, and so is the search for lambda_CLEAN, in whose place a number stands. Each
measurement is a process of its own (its peak memory is its own), of a few minutes at most, and FILE.json keeps the
least: repeat the command until it has alternated often enough.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = ((1, 1), (4, 1), (4, 3), (4, 10))  # policies and repetitions: 1, 4, 12 and 40 runs
POLICIES: tuple[dict[str, Any], ...] = (
    {"learn_lambda": True},
    {"reg": "none"},
    {"lambda_": 0.002},
    {"lambda_": 0.2},
)
SAMPLED = 3  # outer steps of each stage that are timed; the first of them compiles


def main(arguments: list[str]) -> None:
    """One measurement, `POLICIES REPETITIONS`, into the file, or the table of all that it holds."""
    path = Path(arguments[0])
    found = json.loads(path.read_text()) if path.exists() else {}
    for policies, repetitions in SIZES if len(arguments) < 3 else [tuple(map(int, arguments[1:3]))]:
        name = f"{policies} x {repetitions}"
        child = [sys.executable, "-m", "benchmarks.together", str(policies), str(repetitions)]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
        new, old = json.loads(done.stdout.splitlines()[-1]), found.get(name)
        steps = [min(pair) for pair in zip(new["steps"], old["steps"], strict=True)] if old else new["steps"]
        found[name] = {**new, "steps": steps, "rounds": old["rounds"] + 1 if old else 1}
        path.write_text(json.dumps(found, indent=1))
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """Runs, seconds one by one and together, and peak memory; `found` as the file has it."""
    alone = found["1 x 1"]
    lines = ["| runs | one by one, s | together, s | times | peak MB |", "|---|---|---|---|---|"]
    for policies, repetitions in SIZES:
        one = found.get(f"{policies} x {repetitions}")
        if one is None:
            continue
        # a policy that learns has stage 0 too
        by_one = (
            repetitions * (sum(alone["steps"]) + (policies - 1) * sum(alone["steps"][1:])) * alone["outer_steps"]
        )
        together = one["groups"] * sum(one["steps"]) * one["outer_steps"]
        lines.append(
            f"| {policies * repetitions} | {by_one:.0f} | {together:.0f} | {by_one / together:.2f} | "
            f"{one['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def measure(policies: int, repetitions: int) -> dict[str, Any]:
    """Least seconds of an outer step in each stage, of so many runs together."""
    import jax

    from poisoncli.attacks import rmd
    from poisoncli.bilevel import schedule
    from poisoncli.runs import description
    from poisoncli.runs.description import Choice, Run
    from poisoncli.sweeps import batched

    plain, seconds = rmd.hyperiterations, []

    def watched(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        result = jax.block_until_ready(plain(*args, **kwargs))
        seconds.append(time.perf_counter() - begun)
        return result

    rmd.hyperiterations = watched
    schedule.CALL_SECONDS = 0.0  # one outer step in a call
    quarter = description.resolve(Run(dataset=Choice("mnist"))).attack.options["outer_steps"] // 4
    options = {"normalize": "batch", "lambda_schedule": "constant", "outer_steps": SAMPLED}
    attack = Choice("rmd", options)
    runs = [
        description.resolve(Run(dataset=Choice("mnist"), attack=attack, repetitions=repetitions, **policy))
        for policy in POLICIES[:policies]
    ]
    with tempfile.TemporaryDirectory() as folder:
        batched.attack(runs, [Path(folder) / f"{number}.h5" for number in range(policies)])
    stages = 6
    groups = len(seconds) // (stages * SAMPLED)
    steps = [
        min(seconds[(group * stages + stage) * SAMPLED + t] for group in range(groups) for t in range(1, SAMPLED))
        for stage in range(stages)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"steps": steps, "groups": groups, "outer_steps": quarter, "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
