"""`make bench`: one hypergradient at HLP's MNIST settings against plain PyTorch, a whole attack, and regression.

Every measurement runs in a process of its own, so that peak memory is its own; rivals alternate, and the least of
each is compared with the least of the other, because shared machines only ever make things slower.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = {  # hidden layers, learning rate, training steps
    "logistic, T=140": ((), 0.10, 140),
    "mlp 32-8, T=70": ((32, 8), 0.04, 70),
    "mlp 32-8, T=700": ((32, 8), 0.04, 700),
}
RIVALS = ("poison", "torch plain", "torch tuned")
ROUNDS = 4


def main() -> None:
    """Measure all and print tables.

    `--quick` leaves out the long ones, `methods` all but Table II, `--regression`, `--searches` and `--networks`
    all but these, `together FILE.json` all but runs crafted together.
    """
    from benchmarks import methods, networks

    quick = "--quick" in sys.argv
    if "together" in sys.argv:
        from benchmarks import together

        together.main(sys.argv[sys.argv.index("together") + 1 :])
        return
    if "methods" in sys.argv:
        methods.main(quick)
        return
    print(_machine())
    if "--regression" in sys.argv:
        _regression(quick)
        return
    if "--searches" in sys.argv:
        _searches()
        return
    if "--networks" in sys.argv:
        networks.networks(_child)
        return
    rate = _child("matmul")["gflops"]
    print(f"a large float32 matrix product: {rate:.0f} GFLOP/s\n")
    print(f"{'one hypergradient':18} {'rival':12} {'least s':>8} {'peak MB':>8} {'x poison':>9} {'GFLOP/s':>8}")
    for name, (hidden, _, steps) in SETTINGS.items():
        if quick and steps == 700:
            continue
        _compare(name, hidden, steps, rate)
    if not quick:
        _whole_attack()
        networks.networks(_child)
        _searches()
    _regression(quick)
    print()
    methods.main(quick)


def _regression(quick: bool) -> None:
    from benchmarks import regression

    regression.defenses(_child)
    if not quick:
        regression.curves(_child)


def _searches() -> None:
    from benchmarks import searches

    searches.searches(_child)


def _compare(name: str, hidden: tuple[int, ...], steps: int, rate: float) -> None:
    least: dict[str, float] = {}
    peak: dict[str, float] = {}
    for _ in range(ROUNDS if steps < 700 else 2):
        for rival in RIVALS:
            found = _child(rival, name)
            least[rival] = min(least.get(rival, 1e9), found["seconds"])
            peak[rival] = max(peak.get(rival, 0), found["peak_mb"])
    # two products of the first layer forward and two backward; less is done where columns are empty
    flops = 4 * 2 * 5000 * 784 * hidden[0] * steps if hidden else 0
    for rival in RIVALS:
        speed = f"{flops / least[rival] / 1e9:8.0f} ({flops / least[rival] / 1e7 / rate:.0f} %)" if flops else ""
        ratio = least[rival] / least["poison"]
        print(f"{name:18} {rival:12} {least[rival]:8.3f} {peak[rival]:8.0f} {ratio:9.1f} {speed}", flush=True)


def _whole_attack() -> None:
    """The attack of HLP's Table IV on MNIST, and how much of its time is not hypergradients."""
    with tempfile.TemporaryDirectory() as folder:
        found = _child("attack", folder)
    share = 100 * (1 - found["inside"] / found["seconds"])
    print(
        f"\nwhole attack ({found['source']}, 5 batches of 350, lambda learned): {found['seconds']:.0f} s, "
        f"peak {found['peak_mb']:.0f} MB; {share:.1f} % of the time is not hypergradients (data, start-up, files)"
    )


def _child(*arguments: str) -> dict[str, Any]:
    """Measure in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--child", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"benchmark {arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def child(what: str, *arguments: str) -> dict[str, Any]:
    """One measurement, in this process."""
    import resource

    if what == "matmul":
        return {"gflops": _matmul()}
    if what in ("defense", "curve"):
        from benchmarks import regression

        return getattr(regression, what)(*arguments)
    if what == "search":
        from benchmarks import searches

        return searches.search(*arguments)
    if what == "network":
        from benchmarks import networks

        return networks.network(*arguments)
    found = _attack(arguments[0]) if what == "attack" else {"seconds": _one(what, arguments[0])}
    scale = 1 if sys.platform == "darwin" else 1024
    return {**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6}


def _one(rival: str, name: str) -> float:
    from benchmarks import problem

    arrays, _ = problem.load()
    hidden, rate, steps = SETTINGS[name]
    if rival == "poison":
        from benchmarks import with_poison

        call: Callable[[], Any] = with_poison.hypergradient(arrays, hidden, rate, steps)
    else:
        from benchmarks import with_torch

        def call() -> Any:
            return with_torch.hypergradient(arrays, hidden, rate, steps, tuned=rival == "torch tuned")

    return min(_timed(call) for _ in range(3 if steps < 700 else 2))


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _matmul() -> float:
    import jax
    import jax.numpy as jnp

    a = jnp.ones((2048, 2048)) / 3
    product = jax.jit(lambda a: a @ a)
    return 2 * 2048**3 / min(_timed(lambda: product(a).block_until_ready()) for _ in range(8)) / 1e9


def _attack(folder: str) -> dict[str, Any]:
    """Time of the whole attack, and within it of the compiled calls alone."""
    import jax

    import poisoncli
    from poisoncli.attacks import rmd
    from poisoncli.runs.description import Choice, Run

    plain, inside = rmd.hyperiterations, 0.0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        begun = time.perf_counter()
        found = jax.block_until_ready(plain(*args, **kwargs))
        inside += time.perf_counter() - begun
        return found

    rmd.hyperiterations = watched
    run = Run(dataset=Choice("mnist"), learn_lambda=True)
    seconds = _timed(lambda: poisoncli.attack(run, Path(folder) / "run.h5"))
    return {"seconds": seconds, "inside": inside, "source": "MNIST"}


def _machine() -> str:
    import os
    import platform

    import jax
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.processor()
    libraries = f"JAX {jax.__version__}, PyTorch {torch.__version__}"
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, {libraries}"


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(child(*sys.argv[sys.argv.index("--child") + 1 :])))
    else:
        main()
