"""Methods from outside: entry points of installed packages, and files that the user names; no other code is run.

What a class declares of itself (`core.declared`) counts as for a method of the package.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import inspect
import re
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from poisoncli.attacks import ATTACKS
from poisoncli.core import declared
from poisoncli.core.errors import PoisonError
from poisoncli.datasets import DATASETS
from poisoncli.defenses import DEFENSES
from poisoncli.models import MODELS
from poisoncli.training import jax_models, own_models

TABLES: dict[str, dict[str, type]] = {
    "attack": ATTACKS,
    "defense": DEFENSES,
    "model": MODELS,
    "dataset": DATASETS,
}
NEEDED = {  # what makes a class a method of a kind
    "attack": ("craft",),
    "defense": ("weigh", "knows"),
    "model": ("init", "output"),
    "dataset": ("load",),
}
_sources: dict[tuple[str, str], str] = {}  # kind and name -> where the method comes from, in words
_code: dict[tuple[str, str], Path | None] = {}  # and the file in which it is written


def load(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    """Add the methods of Python files to the tables, or of `file.py:name` the model; returns their kinds and names.

    Raises `PoisonError` for a file that does not import, holds no method, or one whose name is taken.
    """
    found = []
    for path in paths:
        place, colon, name = str(path).rpartition(":")
        one_model = bool(colon and name.isidentifier() and not Path(path).is_file())
        methods = [("model", name, _own_model(str(path), name))] if one_model else methods_of(Path(path))
        source = f"{'file' if place.endswith('.py') else 'module'} {Path(place).name}:{name}"
        code = _file_of(place) if one_model else Path(path)
        for kind, known, made in methods:
            _add(kind, known, made, source if one_model else f"file {Path(path).name}", code)
        found += [(kind, name) for kind, name, _ in methods]
    return found


def methods_of(path: Path) -> list[tuple[str, str, type]]:
    """Kind, name and class of every method that a file defines. Raises `PoisonError` where it defines none."""
    try:
        module = own_models.import_file(path)
    except FileNotFoundError:
        raise PoisonError(f"--plugin {path}: there is no such file, check the path: give a Python file") from None
    except (Exception, SystemExit) as error:
        raise PoisonError(f"--plugin {path} does not import ({own_models.in_words(error)}): mend it") from None
    own = [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__]
    found = [(kind, name_of(made), made) for made in own for kind in [kind_of(made)] if kind]
    for _, name, made in found:
        if not dataclasses.is_dataclass(made):
            raise PoisonError(
                f"--plugin {path}: class {made.__name__} ({name}) is no method: put @method of "
                "poisoncli.core.method above it"
            )
    if not found:
        kinds = "; ".join(f"{kind}: {' and '.join(needed)}" for kind, needed in NEEDED.items())
        raise PoisonError(f"--plugin {path} defines no method: write a class with these functions ({kinds})")
    return found


def _own_model(source: str, name: str) -> type:
    """A class like those of `models/` for what a file or a module calls `name`; see `jax_models`."""
    return jax_models.as_model(own_models.find(source, "--model"), name)


def _file_of(source: str) -> Path | None:
    """The file of `file.py` or of a module by its name."""
    if source.endswith(".py"):
        return Path(source)
    spec = importlib.util.find_spec(source)
    return Path(spec.origin) if spec is not None and spec.origin else None


def kind_of(made: type) -> str:
    """`attack`, `defense`, `model` or `dataset`, by the functions that a class has; empty for none of them."""
    has = (kind for kind, needed in NEEDED.items() if all(callable(getattr(made, one, None)) for one in needed))
    return next(has, "")


def name_of(made: type) -> str:
    """What a class of a file is called: its attribute `name`, or its own name as `median-filter`."""
    given = inspect.getattr_static(made, "name", None)
    return given if isinstance(given, str) else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", made.__name__).lower()


def _add(kind: str, name: str, made: type, source: str, code: Path | None) -> None:
    known = TABLES[kind].get(name)
    if wrong := declared.misdeclared(kind, made):
        raise PoisonError(f"{source}: class {made.__name__} {wrong}: mend it, or leave it out")
    same = known is not None and (known.__module__, known.__qualname__) == (made.__module__, made.__qualname__)
    if known is not None and not same and _sources.get((kind, name)) != source:
        taken = _sources.get((kind, name), "poison itself")
        raise PoisonError(
            f"{source} has the {kind} {name}, a name that {taken} has taken: rename the class, or give it "
            'name: ClassVar[str] = "..."'
        )
    TABLES[kind][name] = made
    _sources[kind, name], _code[kind, name] = source, code


@functools.cache
def install() -> None:
    """Add the methods that installed packages offer as entry points; one that does not import is left out, said."""
    for kind in TABLES:
        for entry in importlib.metadata.entry_points(group=f"poisoncli.{kind}s"):
            package = f"package {entry.dist.name} {entry.dist.version}" if entry.dist else f"package {entry.value}"
            try:
                made = entry.load()
                _add(kind, entry.name, made, package, _file_of(made.__module__))
            except (Exception, SystemExit) as error:
                said = str(error) if isinstance(error, PoisonError) else own_models.in_words(error)
                warnings.warn(f"the {kind} {entry.name} of {package} is left out: {said}", stacklevel=2)


def sources(names: Mapping[str, str]) -> dict[str, str]:
    """Where methods come from that are not the package's own; names: by kind. Keys are such as `attack shift`."""
    found = {f"{kind} {name}": _sources.get((kind, name), "") for kind, name in names.items()}
    return {method: source for method, source in found.items() if source}


def code(kind: str, name: str) -> Path | None:
    """The file in which a method is written that is not the package's own; None for one that is."""
    return _code.get((kind, name))


def require(names: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Raise `PoisonError` where the code of a method is missing, naming the plug-in that has it.

    names: by kind; known: what `sources` gave when the methods were at hand.
    """
    if all(name in TABLES.get(kind, {name: None}) for kind, name in names.items()):
        return
    install()
    for kind, name in names.items():
        if kind in TABLES and name not in TABLES[kind]:
            source = known.get(f"{kind} {name}", "")
            place = f"--plugin {source.partition(' ')[2]}"
            cure = {"file": place, "module": place, "package": f"`pip install` of {source[8:]}"}
            word = source.partition(" ")[0]
            raise PoisonError(
                f"the {kind} {name} is from {source or 'a plug-in'}, which is not here: bring it with "
                f"{cure.get(word, '--plugin FILE.py')}"
            )


def blame(error: BaseException, files: Sequence[str]) -> str:
    """What is said of an error that nobody foresaw while methods of these files are in use: where it came from."""
    own = {str(Path(file).expanduser().resolve()): file for file in files}
    lines = [
        (own[frame.filename], frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in own
    ]
    file, line = lines[-1] if lines else (files[0], None)
    where = f"{file}, line {line}, failed" if lines else f"failed with the methods of {' and '.join(files)}"
    said = own_models.in_words(error)
    return f"{where} ({said}): `poison check {file}` says what a method must do, --debug shows more"


def is_here(kind: str, name: str) -> bool:
    """Whether the code of a method is at hand; installed packages are not asked."""
    return name in TABLES.get(kind, {name: None})
