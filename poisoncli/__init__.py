"""How much damage can an attacker do to your model who controls part of its training data?

`attack(Run(...), "run.h5")` crafts poison, `evaluate("run.h5")` trains the victim on it. Everything that the
command line does is a function here.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Run": "runs.description",
    "Choice": "runs.description",
    "attack": "runs.stages",
    "defend": "runs.stages",
    "evaluate": "runs.stages",
    "audit": "runs.audit",
    "read": "runs.run_file",
    "rows": "reports.summary",
    "figure": "reports.figures",
    "export": "runs.export",
    "PoisonError": "core.errors",
    "FailedError": "core.errors",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `poison --help` need not wait for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'poisoncli' has no attribute {name!r}")
    return getattr(importlib.import_module(f"poisoncli.{_HOME[name]}"), name)
