"""How much damage can an attacker do to your model who controls part of its training data?

`attack(Run(...), "run.h5")` crafts poison, `evaluate("run.h5")` trains the victim on it. Everything that the
command line does is a function here, and is imported on its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poisoncli.core.errors import FailedError, PoisonError
    from poisoncli.datasets import describe as describe_datasets
    from poisoncli.reports.audit import draw as draw_audit
    from poisoncli.reports.audit import helps as what_helps
    from poisoncli.reports.defenses import draw_defended, draw_weighed
    from poisoncli.reports.figures import figure
    from poisoncli.reports.summary import all_rows, rows
    from poisoncli.runs.audit import Audit, audit
    from poisoncli.runs.description import Choice, Run
    from poisoncli.runs.export import export
    from poisoncli.runs.own_rows import WeighedRows, weigh_rows, write_kept
    from poisoncli.runs.replay import (
        CollapsedRun,
        Detection,
        collapse,
        detect,
        reevaluate,
        with_given_poison,
        write_points,
    )
    from poisoncli.runs.run_file import RunFile, read
    from poisoncli.runs.stages import attack, defend, evaluate
    from poisoncli.runs.victims import add as evaluate_victims
    from poisoncli.sweeps.drive import execute as sweep
    from poisoncli.sweeps.plan import Sweep, preset, presets
    from poisoncli.sweeps.plan import load as load_sweep
    from poisoncli.sweeps.units import Outcome
    from poisoncli.training.own_models import Victim

__all__ = [
    "Audit",
    "Choice",
    "CollapsedRun",
    "Detection",
    "FailedError",
    "Outcome",
    "PoisonError",
    "Run",
    "RunFile",
    "Sweep",
    "Victim",
    "WeighedRows",
    "all_rows",
    "attack",
    "audit",
    "collapse",
    "defend",
    "describe_datasets",
    "detect",
    "draw_audit",
    "draw_defended",
    "draw_weighed",
    "evaluate",
    "evaluate_victims",
    "export",
    "figure",
    "load_sweep",
    "preset",
    "presets",
    "read",
    "reevaluate",
    "rows",
    "sweep",
    "weigh_rows",
    "what_helps",
    "with_given_poison",
    "write_kept",
    "write_points",
]

_MODULES = {  # what is imported from where on its first use, so that `poison --help` need not wait for JAX
    "core.errors": ("FailedError", "PoisonError"),
    "datasets": ("describe",),
    "reports.audit": ("draw", "helps"),
    "reports.defenses": ("draw_weighed", "draw_defended"),
    "reports.figures": ("figure",),
    "reports.summary": ("all_rows", "rows"),
    "runs.own_rows": ("WeighedRows", "weigh_rows", "write_kept"),
    "runs.audit": ("Audit", "audit"),
    "runs.description": ("Choice", "Run"),
    "runs.export": ("export",),
    "runs.replay": (
        "CollapsedRun",
        "Detection",
        "collapse",
        "detect",
        "reevaluate",
        "with_given_poison",
        "write_points",
    ),
    "runs.run_file": ("RunFile", "read"),
    "runs.victims": ("add",),
    "training.own_models": ("Victim",),
    "runs.stages": ("attack", "defend", "evaluate"),
    "sweeps.drive": ("execute",),
    "sweeps.plan": ("Sweep", "load", "preset", "presets"),
    "sweeps.units": ("Outcome",),
}
_RENAMED = {
    "add": "evaluate_victims",
    "describe": "describe_datasets",
    "draw": "draw_audit",
    "execute": "sweep",
    "helps": "what_helps",
    "load": "load_sweep",
}
_HOME = {_RENAMED.get(name, name): (module, name) for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'poisoncli' has no attribute {name!r}")
    module, attribute = _HOME[name]
    found = getattr(importlib.import_module(f"poisoncli.{module}"), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
