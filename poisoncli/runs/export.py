"""The poisoned training rows and the victim's parameters, for other tools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import FROM_ZERO
from poisoncli.core.errors import PoisonError
from poisoncli.runs import description, rounding, run_file
from poisoncli.runs.prepare import Prepared, poisoned, restore
from poisoncli.runs.run_file import RunFile
from poisoncli.tables import read
from poisoncli.tables.lock import writing

FORMATS = (".npz", ".csv", ".parquet")
_LARGEST = 2**27  # values of a dense table


def export(
    content: RunFile,
    out: str | Path,
    *,
    fraction: float | None = None,
    repetition: int = 0,
    params: bool = False,
    defense: str = "",
    data_dir: str | None = None,
) -> Path:
    """Write the poisoned training rows of one stage and repetition to `out` (.npz, .csv or .parquet).

    fraction: of poison; the stage nearest to it is taken, by default the last.
    Columns: the features x0, x1, ... in the data set's own units (.npz: one array `x`, or the arrays of a CSR
    matrix), `y`, `poison` (1 for poison rows), `row` (the row of the data set that stood, or stands, there, counted
    as `counted` says; -1 for added rows) and `replaced` (that row's number for poison rows, -1 for clean and for
    added ones).
    params: add the victim's parameters w0, b0, ... (.npz only).
    defense: leave out the rows that this defense removed, and add its `weight` and `score`.

    Raises `PoisonError` for another format or a repetition or fraction that is not there.
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise PoisonError(f"{path} has no format that can be written: end its name in {', '.join(FORMATS)}")
    if params and path.suffix != ".npz":
        raise PoisonError("parameters are arrays of several shapes: export them to a name that ends in .npz")
    prepared = restore(content, data_dir)
    if not 0 <= repetition < prepared.run.repetitions:
        raise PoisonError(f"repetition {repetition} is not there: the run has 0 to {prepared.run.repetitions - 1}")
    stage = _stage(content, fraction, prepared.run.n_train)
    data, is_poison, number = poisoned(prepared.split.train, content.poison, stage)
    places = content.split["train"][repetition]
    added = np.full(data.y.shape[1] - len(places), -1)  # they stand in for none
    rows, places = np.append(prepared.dataset.row_numbers[places], added), np.append(places, added)
    columns = {
        "y": _target_units(prepared, data.y[repetition], places, is_poison[repetition], repetition),
        "poison": is_poison[repetition].astype(np.int8),
        "row": rows,
        "replaced": np.where(is_poison[repetition], rows, -1),
    }
    x = data.x[repetition]
    if not sp.issparse(x):
        x = _feature_units(prepared, x, places, is_poison[repetition], repetition)
        if content.rounding and prepared.domain is not None:
            allowed = rounding.possible(prepared, prepared.domain, content.poison, repetition)
            x[is_poison[repetition]] = allowed[number[repetition][is_poison[repetition]]]
    kept = data.weight[repetition] > 0
    if defense:
        stays, more = _kept(content, defense, repetition, stage)
        kept, columns = kept & stays, {**columns, **more}
    x, columns = x[kept], {name: column[kept] for name, column in columns.items()}
    extra = _parameters(content, repetition, stage) if params else {}
    run_file.replace(path, _encode(path.suffix, x, columns, extra))
    return path


def counted(content: RunFile) -> str:
    """How the columns `row` and `replaced` count, in words."""
    dataset = description.from_json(content.run).dataset
    return read.counted(Path(dataset.options["path"])) if dataset.name == "file" else FROM_ZERO


def _kept(content: RunFile, defense: str, repetition: int, stage: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows [n] that a defense keeps, and its columns."""
    if defense not in content.defenses:
        raise PoisonError(f"the run file holds no defense {defense}: run `poison defend --defense {defense}` first")
    found = content.defenses[defense]
    weight = found.weight[repetition, stage]
    return weight > 0, {"weight": weight, "score": found.score[repetition, stage]}


def _feature_units(
    prepared: Prepared, x: np.ndarray, places: np.ndarray, poison: np.ndarray, repetition: int
) -> np.ndarray:
    """Features [n, m] in the data set's units: those of clean rows as they were, of poison within its domain."""
    dataset, features = prepared.dataset, prepared.split.train.x.shape[::2]
    scale, shift = (np.broadcast_to(part, features)[repetition] for part in (prepared.scale, prepared.shift))
    found = np.clip(x * scale + shift, dataset.low, dataset.high).astype(dataset.x.dtype)
    clean = ~poison & (places >= 0)
    found[clean] = dataset.x[places[clean]]
    return found


def _target_units(
    prepared: Prepared, y: np.ndarray, places: np.ndarray, poison: np.ndarray, repetition: int
) -> np.ndarray:
    """Targets [n] in the data set's own units: those of clean rows as they were."""
    repetitions = prepared.run.repetitions
    scale, shift = (np.broadcast_to(part, repetitions) for part in (prepared.y_scale, prepared.y_shift))
    found = y * scale[repetition] + shift[repetition]
    clean = ~poison & (places >= 0)
    found[clean] = prepared.dataset.y[places[clean]]
    return found


@contextlib.contextmanager
def new_file(path: Path, force: bool) -> Iterator[None]:
    """Hold `path` while a file for it is made, so that of two commands that write there one is refused.

    Raises `PoisonError` if it exists, unless `force`, if its folder does not, or if another command writes it.
    """
    _check_free(path, force)
    with writing(path, wait=False):
        _check_free(path, force)  # another command may have put it there in between
        yield


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise PoisonError(f"{path} is not a place for a file: name a file in a folder that exists")
    if path.exists() and not force:
        raise PoisonError(f"{path} exists: --force replaces it, another name keeps it")


def _stage(content: RunFile, fraction: float | None, n: int) -> int:
    if fraction is None:
        return len(content.poison.counts) - 1
    if not 0 <= fraction <= 1:
        raise PoisonError(
            f"--fraction {fraction} is outside [0, 1]: give a share of the training rows, such as 0.1"
        )
    return int(np.argmin(np.abs(content.poison.counts / n - fraction)))


def _parameters(content: RunFile, repetition: int, stage: int) -> dict[str, np.ndarray]:
    if "none" not in content.evaluations:
        raise PoisonError("the victim was not trained yet: run `poison evaluate` on the run file first")
    layers = content.evaluations["none"].params
    return {f"{name}{k}": layer[name][repetition, stage] for k, layer in enumerate(layers) for name in ("w", "b")}


def features(x: Any) -> dict[str, Any]:
    """What stands for features in an NPZ file: the array `x`, or the arrays of a CSR matrix as SciPy saves it."""
    if not sp.issparse(x):
        return {"x": x}
    return {"data": x.data, "indices": x.indices, "indptr": x.indptr, "shape": np.array(x.shape)}


def _encode(suffix: str, x: Any, columns: dict[str, Any], extra: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".npz":
        np.savez_compressed(buffer, **features(x), **columns, **extra)
        return buffer.getvalue()
    if sp.issparse(x):
        if np.prod(x.shape, dtype=float) > _LARGEST:
            raise PoisonError(f"a table of {x.shape[0]} x {x.shape[1]} word counts is too large: export to .npz")
        x = np.asarray(x.toarray())
    import pandas as pd

    names = [f"x{i}" for i in range(x.shape[1])]
    table = pd.concat([pd.DataFrame(x, columns=names), pd.DataFrame(columns)], axis=1)
    if suffix == ".csv":
        return table.to_csv(index=False).encode()
    try:
        table.to_parquet(buffer)
    except ImportError:
        raise PoisonError("Parquet needs pyarrow: install it with `pip install 'poisoncli[parquet]'`") from None
    return buffer.getvalue()
