"""How much damage can an attacker do to your model who controls part of its training data?

`attack(Run(...), "run.h5")` crafts poison, `evaluate("run.h5")` trains the victim on it. Everything that the
command line does is a function here.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Run": "config",
    "Choice": "config",
    "attack": "run",
    "defend": "run",
    "evaluate": "run",
    "screen": "screen",
    "read": "store",
    "rows": "report",
    "figure": "figures",
    "export": "exports",
    "PoisonError": "core.types",
    "FailedError": "core.types",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `poison --help` need not wait for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'poisoncli' has no attribute {name!r}")
    return getattr(importlib.import_module(f"poisoncli.{_HOME[name]}"), name)
