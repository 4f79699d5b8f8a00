"""The poisoned training rows and the victim's parameters, for other tools."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.data import FROM_ZERO, Dataset
from poisoncli.core.errors import PoisonError
from poisoncli.runs import rounding, run_file, serialize
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared, restore
from poisoncli.runs.run_file import RunFile
from poisoncli.tables import read
from poisoncli.tables.lock import writing
from poisoncli.tables.write import FORMATS, encoded, with_cells


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
    Columns: those of a user's table, as they stand there, poison with the cells that it stands for; of other data
    sets, and in .npz, the features x0, x1, ... in the data set's own units (.npz: one array `x`, or the arrays of a
    CSR matrix) and `y`. Then `poison` (1 for poison rows), `row` (the row of the data set that stood, or stands,
    there, counted as `counted` says; -1 for added rows) and `replaced` (that row's number for poison rows, -1 for
    clean and for added ones).
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
    data, is_poison, _ = poisoned(prepared.split.train, content.poison, stage)
    places = content.split["train"][repetition]
    added = np.full(data.y.shape[1] - len(places), -1)  # they stand in for none
    rows, places = np.append(prepared.dataset.row_numbers[places], added), np.append(places, added)
    poison, kept = is_poison[repetition], data.weight[repetition] > 0
    marks: dict[str, Any] = {"poison": poison.astype(np.int8), "row": rows, "replaced": np.where(poison, rows, -1)}
    if defense:
        stays, more = _kept(content, defense, repetition, stage)
        kept, marks = kept & stays, {**marks, **more}
    marks = {name: column[kept] for name, column in marks.items()}
    x, y = data.x[repetition][kept], data.y[repetition][kept]
    written = in_users_terms if prepared.encoder is not None and path.suffix != ".npz" else _as_features
    frame, features = written(prepared, x, y, places[kept], poison[kept], repetition)
    extra = _parameters(content, repetition, stage) if params else {}
    run_file.replace(path, encoded(frame.assign(**marks), path.suffix, features, extra))
    return path


def in_users_terms(
    prepared: Prepared, x: Any, y: np.ndarray, places: np.ndarray, poison: np.ndarray, repetition: int
) -> tuple[Any, None]:
    """The rows as the user's table has them: clean ones as they stand there, poison decoded."""
    dataset, encoder = prepared.dataset, prepared.encoder
    assert encoder is not None
    table, made = dataset.table, poison | (places < 0)
    if not made.any():  # a table of clean rows
        return with_cells(table.frame.iloc[places], made, {}, table.columns), None
    own = feature_units(prepared, x[made], places[made], poison[made], repetition)
    cells = encoder.decode(own, repetition)
    if prepared.domain is not None and not sp.issparse(own):  # cells that did not change stay, missing ones too
        same = ~rounding.changed(prepared, prepared.domain, own, places[made], repetition)
        for number, name in enumerate(prepared.domain.names):
            former = table.frame[name].iloc[np.maximum(places[made], 0)].to_numpy(object)
            cells[name] = np.where(same[:, number], former, np.asarray(cells[name], object))
    targets = target_units(prepared, y, places, poison, repetition)[made]
    cells[table.target] = labels(dataset)[targets.astype(int)] if dataset.class_names else targets
    return with_cells(table.frame.iloc[np.maximum(places, 0)], made, cells, table.columns), None


def _as_features(
    prepared: Prepared, x: Any, y: np.ndarray, places: np.ndarray, poison: np.ndarray, repetition: int
) -> tuple[Any, Any]:
    """The target, and the features in the data set's own units."""
    import pandas

    targets = target_units(prepared, y, places, poison, repetition)
    table = prepared.dataset.table  # where it has the user's columns, arrays are the features that came of them
    if prepared.dataset.division is not None and prepared.dataset.class_names and (table is None or table.arrays):
        targets = labels(prepared.dataset)[targets.astype(int)]
    if prepared.encoder is not None or not sp.issparse(x):
        x = feature_units(prepared, x, places, poison, repetition)
    return pandas.DataFrame({"y": targets}), x


def labels(dataset: Dataset) -> np.ndarray:
    """What the user's file has for the classes 0, 1, ...: numbers where all of them are."""
    if dataset.table is not None:
        first = [int(np.argmax(dataset.y == number)) for number in range(len(dataset.class_names))]
        return dataset.table.frame[dataset.table.target].iloc[first].to_numpy()
    names = np.array(dataset.class_names, dtype=object)
    try:
        numbers = names.astype(float)
    except ValueError:
        return names
    return numbers.astype(int) if np.all(numbers % 1 == 0) else numbers


def counted(content: RunFile) -> str:
    """How the columns `row` and `replaced` count, in words."""
    dataset = serialize.from_json(content.run).dataset
    return read.counted(Path(dataset.options["path"])) if dataset.name == "file" else FROM_ZERO


def _kept(content: RunFile, defense: str, repetition: int, stage: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows [n] that a defense keeps, and its columns."""
    if defense not in content.defenses:
        raise PoisonError(f"the run file holds no defense {defense}: run `poison defend --defense {defense}` first")
    found = content.defenses[defense]
    weight = found.weight[repetition, stage]
    return weight > 0, {"weight": weight, "score": found.score[repetition, stage]}


def feature_units(prepared: Prepared, x: Any, places: np.ndarray, poison: np.ndarray, repetition: int) -> Any:
    """Features [n, m] in the data set's units: those of clean rows as they were, of poison within its domain."""
    dataset = prepared.dataset
    features = prepared.split.train.x.shape[::2]
    scale, shift = (np.broadcast_to(part, features)[repetition] for part in (prepared.scale, prepared.shift))
    clean = ~poison & (places >= 0)
    if sp.issparse(x):
        return x if np.all(scale == 1) else sp.csr_matrix(x @ sp.diags_array(scale))
    if prepared.domain is not None:
        found = x * scale.astype(float) + shift
        found[poison] = rounding.possible(prepared, prepared.domain, found[poison], places[poison], repetition)
        found[clean] = prepared.own_rows(places[clean], repetition)
        return found
    found = np.clip(x * scale + shift, dataset.low, dataset.high).astype(dataset.x.dtype)
    found[clean] = dataset.x[places[clean]]
    return found


def target_units(
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
    return {f"{name}{k}": leaf[repetition, stage] for k, layer in enumerate(layers) for name, leaf in layer.items()}
