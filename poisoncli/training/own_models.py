"""Models of the user's own: found by name, and built with their options.

This file imports no JAX, since processes of their own import it to train.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import operator
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from poisoncli.core.errors import PoisonError

EXAMPLE = "such as sklearn.ensemble:RandomForestClassifier or mine.py:pipeline"


@dataclasses.dataclass(frozen=True)
class Victim:
    """A model by its name, `module:name` or `file.py:name`, and options: its parameters."""

    source: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.source.rpartition(":")[2]


def find(source: str, flag: str = "--victim") -> Any:
    """The class, factory or instance of that name, which `flag` gives. Raises `PoisonError` if there is none."""
    place, _, name = source.rpartition(":")
    if not place or not name:
        raise PoisonError(f"{flag} {source} names no model: write module:name or file.py:name, {EXAMPLE}")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            module = import_file(Path(place)) if place.endswith(".py") else _module(place)
    except ModuleNotFoundError as error:
        cure = "install it, or give a file as file.py:name"
        raise PoisonError(f"{flag} {source}: there is no module {error.name}: {cure}") from None
    except FileNotFoundError:
        raise PoisonError(f"{flag} {source}: there is no file {place}: check the path") from None
    except (Exception, SystemExit) as error:
        raise PoisonError(f"{flag} {source}: {place} does not import ({in_words(error)}): mend it") from None
    try:
        return operator.attrgetter(name)(module)
    except AttributeError:
        near = difflib.get_close_matches(name, [one for one in vars(module) if one[0] != "_"], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "check the name"
        raise PoisonError(f"{flag} {source}: {place} has no {name}: {hint}") from None


def _module(name: str) -> ModuleType:
    """A module by its name; those of the current folder count, after all others."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(name)


def import_file(path: Path) -> ModuleType:
    """A file as a module, which can import what lies beside it; the same file is run once."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    known = sys.modules.get(path.stem)
    name = path.stem if known is None else f"poison_{path.stem}_{abs(hash(path)):x}"
    for module in (known, sys.modules.get(name)):
        if module is not None and getattr(module, "__file__", None) == str(path):
            return module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def build(victim: Victim, seed: int | None = None) -> Any:
    """A fresh model with its options, and with `seed` for each `random_state` that is None.

    Raises `PoisonError` where it is no model, saying what it lacks, or does not take an option.
    """
    found = find(victim.source)
    with _sentence(victim.source):
        return _built(found, victim, seed)


@contextlib.contextmanager
def _sentence(source: str) -> Iterator[None]:
    """Whatever a model raises within it becomes a `PoisonError`."""
    try:
        yield
    except PoisonError:
        raise
    except (Exception, SystemExit) as error:
        raise PoisonError(f"--victim {source} cannot be set up ({in_words(error)}): mend it") from None


def _built(found: Any, victim: Victim, seed: int | None) -> Any:
    source = victim.source
    if inspect.isclass(found):
        _check(source, found)
    options = dict(victim.options)
    try:
        if not inspect.isclass(found) and hasattr(found, "fit"):
            made = _fresh(found)
        elif callable(found):
            taken = _parameters(found)
            made = found(**{name: options.pop(name) for name in list(options) if taken is None or name in taken})
        else:
            made = found
    except (Exception, SystemExit) as error:
        raise PoisonError(f"--victim {source} cannot be made ({in_words(error)}): mend it, or its -o") from None
    _check(source, made)
    _set(made, options, source)
    if seed is not None:
        free = [name for name, value in _settings(made).items() if value is None]
        _set(made, {name: seed for name in free if name.split("__")[-1] == "random_state"}, source)
    return made


def options_of(victim: Victim) -> list[str]:
    """The options that the model takes."""
    found, made = find(victim.source), build(Victim(victim.source))
    with _sentence(victim.source):
        called = inspect.isclass(found) or not hasattr(found, "fit")
        return sorted({*((_parameters(found) if called else None) or []), *_settings(made)})


def _check(source: str, made: Any) -> None:
    missing = [name for name in ("fit", "predict") if not callable(getattr(made, name, None))]
    if missing:
        what = f"has no {' and no '.join(missing)}"
        raise PoisonError(f"--victim {source} {what}: a victim has fit(X, y) and predict(X), {EXAMPLE}")


def _fresh(made: Any) -> Any:
    """An untrained copy."""
    from sklearn.base import clone

    return clone(made) if hasattr(made, "get_params") else copy.deepcopy(made)


def _parameters(found: Any) -> list[str] | None:
    """The names that a class or factory takes; None if it takes any."""
    try:
        taken = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return None
    several = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    return None if several else list(taken)


def _settings(made: Any) -> dict[str, Any]:
    """The parameters of a model, those of its steps as `step__name`."""
    return made.get_params(deep=True) if hasattr(made, "get_params") else {}


def _set(made: Any, options: Mapping[str, Any], source: str) -> None:
    if not options:
        return
    known = _settings(made)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 5) or list(known)[:20]
            takes = f"it takes {', '.join(near)}" if near else "it takes none"
            raise PoisonError(f"--victim {source} has no option {name!r}: {takes}")
    made.set_params(**options)


def in_words(error: BaseException) -> str:
    """An error in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
