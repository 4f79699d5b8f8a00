"""The run file: HDF5, written whole and renamed into place, so that a kill leaves the old file or the new."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poisoncli.core.attack import Poison
from poisoncli.core.data import Params
from poisoncli.core.errors import PoisonError
from poisoncli.runs import hdf5, measured, soundness
from poisoncli.tables import memory
from poisoncli.tables.atomic import replace

SCHEMA = 2
SCALER = ("shift", "scale", "y_shift", "y_scale")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the victim does after training at each stage; arrays [repetitions, stages].

    test_error, val_error: share of wrong rows, in [0, 1], or for real targets the NMSE (SPR eq. 7).
    test_loss, val_loss: mean loss without penalty.
    norm: squared L2 norm of all parameters over their number, of each layer [repetitions, stages, layers].
    params: the victim's parameters, each array with leading axes [repetitions, stages].
    target_rate: share of the attacker's target rows that come out as he wants, see `targets.rate`; or empty [0, 0].
    draw_spread: standard deviation of test_error over the draws of a training by chance, of which it is the mean;
        or empty [0, 0].
    metrics: further measures of the test rows, see `training.metrics`; recall of each class [repetitions, stages,
        classes]. Empty in older files; where chance has a part in the training, of its first draw.
    """

    test_error: np.ndarray
    val_error: np.ndarray
    test_loss: np.ndarray
    val_loss: np.ndarray
    norm: np.ndarray
    params: Params
    target_rate: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.float32))
    draw_spread: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.float32))
    metrics: measured.Measures = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Defended:
    """What a defense made of the training rows of each stage.

    choice: the defense with its options (JSON); knows: what it was told beyond the rows, in words.
    weight: of each training row [repetitions, stages, rows], in [0, 1]; 0 means removed.
    score: suspicion [repetitions, stages, rows], higher is worse; NaN where the defense has none.
    """

    choice: str
    knows: str
    weight: np.ndarray
    score: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunFile:
    """The content of a run file.

    run: the run's description (JSON); sha256: hash of the data set.
    split: rows of the data set in `train`, `val`, `test` [repetitions, rows].
    scaler: features of the run = (features of the data set - shift) / scale, and targets with y_shift and
        y_scale; features' are scalars, [m] or [repetitions, m], targets' scalars or [repetitions].
    poison: the crafted poison; defenses: their weights, by name.
    evaluations: by name of the defense, `none` without one.
    timeline: of a search, seconds since it began and its best error until then [steps, 2]; else empty.
    classes: what the user calls the classes 0, 1, ...; known once the victim was measured.
    plugins: where methods come from that are not the package's own, such as `attack shift`: `file mine.py`.
    victims: models from outside that were trained on the rows, see `runs.victims`.
    rounding: where poison rows were rounded to possible ones, test_error, target_loss and target_error of the
        victim [repetitions, stages, steps]: as they were optimized, rounded, and after exchange if there was one.
    """

    run: str
    sha256: str
    split: dict[str, np.ndarray]
    scaler: dict[str, np.ndarray]
    poison: Poison
    defenses: dict[str, Defended] = dataclasses.field(default_factory=dict)
    evaluations: dict[str, Evaluation] = dataclasses.field(default_factory=dict)
    timeline: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    classes: tuple[str, ...] = ()
    victims: tuple[measured.Measured, ...] = ()
    plugins: dict[str, str] = dataclasses.field(default_factory=dict)
    rounding: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def real(self) -> bool:
        """Whether the targets are real numbers, which alone are scaled for each repetition."""
        return bool(np.ndim(self.scaler["y_scale"]))


def write(path: Path, content: RunFile) -> None:
    """Write `content` to `path`: beside it, flushed to disk, then renamed. Raises `FailedError` on a full disk."""
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["version"] = json.dumps(_versions())
        file.attrs["run"] = content.run
        if content.plugins:
            file.attrs["plugins"] = json.dumps(content.plugins)
        split = file.create_group("split")
        split.attrs["sha256"] = content.sha256
        hdf5.put(split, {**content.split, **content.scaler})
        attack = file.create_group("attack")
        attack.attrs["done"], attack.attrs["total"] = content.poison.done, content.poison.total
        hdf5.put(attack, {k: v for k, v in content.poison._asdict().items() if k not in ("done", "total")})
        for name, defended in content.defenses.items():
            _put_defended(file.create_group(f"defend/{name}"), defended)
        for name, evaluation in content.evaluations.items():
            _put_evaluation(file.create_group(f"evaluate/{name}"), evaluation)
        measured.write(file, content)
        if content.rounding:
            hdf5.put(file.create_group("rounding"), content.rounding)
        hdf5.scale_stages(file, attack["counts"])
        hdf5.put(file, {"timeline": content.timeline})
    replace(path, image.getvalue())


def read(path: str | Path, *, unfinished: bool = False) -> RunFile:
    """The run file at `path`; or, if `unfinished`, also the checkpoint of an attack.

    Raises `PoisonError` if it is missing, truncated, foreign, unfinished or of a newer schema.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise PoisonError(_absent(path))
    try:
        with h5py.File(path, "r") as file:
            _check(path, file)
            content = _content(file)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError):
        raise PoisonError(f"{path} is damaged or was not written by poison: craft the poison again") from None
    poison = content.poison
    if path.suffix == ".partial" and not unfinished:
        raise PoisonError(
            f"{path} is the checkpoint of an attack that was interrupted ({poison.done} of {poison.total} steps): "
            "finish it with the same `poison attack` command and --resume"
        )
    return content


def header(path: Path) -> tuple[str, str]:
    """The description (JSON) of the run in a file, and the hash of its data; nothing else of it is read or checked.

    Raises `PoisonError` where it cannot be read.
    """
    return _part(path, lambda file: (_description(file), str(file["split"].attrs["sha256"])))


@dataclasses.dataclass(frozen=True)
class Outline:
    """What is told of a run file without reading its arrays; see `RunFile`.

    evaluations: their names; defenses: by name, with options (JSON).
    """

    run: str
    real: bool
    evaluations: frozenset[str]
    defenses: Mapping[str, str]


def outline(path: Path) -> Outline:
    """The outline of the run file at `path`. Raises `PoisonError` if it is damaged or foreign."""

    def told(file: Any) -> Outline:
        _check(path, file)
        real = file["split"]["y_scale"].ndim > 0
        defenses = {name: str(group.attrs["defense"]) for name, group in file.get("defend", {}).items()}
        return Outline(_description(file), real, frozenset(file.get("evaluate", {})), defenses)

    return _part(path, told)


def _part(path: Path, told: Callable[[Any], Any]) -> Any:
    """What `told` reads of a run file. Raises `PoisonError` where it cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return told(file)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError):
        raise PoisonError(f"{path} is damaged or was not written by poison: craft the poison again") from None


def _absent(path: Path) -> str:
    """Why there is no file at `path` to be read, and what to do."""
    if path.is_dir():
        inside = "the run files in it" if not (path / "sweep.toml").exists() else f"{path}/*.h5"
        return f"{path} is a folder, not a run file: name {inside}, or draw a sweep with `poison report {path}`"
    if path.exists():
        return f"{path} is a device or a pipe: a run file is read from a disk, so name one"
    partial = path.with_name(path.name + ".partial")
    if partial.exists():
        return (
            f"{path} is not finished, its attack was interrupted and left {partial}: repeat the same "
            "`poison attack` command with --resume"
        )
    return f"{path} does not exist: craft poison first with `poison attack --out {path}`"


def _versions() -> dict[str, str]:
    packages = ("poisoncli", "jax", "optax", "numpy", "scikit-learn", "h5py")
    return {name: importlib.metadata.version(name) for name in packages}


def _put_defended(group: Any, defended: Defended) -> None:
    group.attrs["defense"], group.attrs["knows"] = defended.choice, defended.knows
    hdf5.put(group, {"weight": defended.weight, "score": defended.score})


def _put_evaluation(group: Any, evaluation: Evaluation) -> None:
    measures = {f.name: getattr(evaluation, f.name) for f in dataclasses.fields(evaluation)}
    params, _ = measures.pop("params"), measures.pop("metrics")
    for name in ("target_rate", "draw_spread"):
        if not measures[name].size:
            del measures[name]
    hdf5.put(group, measures)
    for number, layer in enumerate(params):
        hdf5.put(group.create_group(f"params/{number}"), layer)


def _check(path: Path, file: Any) -> None:
    import h5py

    schema = file.attrs.get("schema")
    if schema is None or "run" not in file.attrs:
        raise PoisonError(f"{path} was not written by poison: give a run file of `poison attack`")
    if int(schema) > SCHEMA:
        raise PoisonError(f"{path} was written by a newer poison (schema {schema}): update poison to read it")
    size = 0
    for name, link in hdf5.links(file):
        if not isinstance(link, h5py.HardLink):
            raise PoisonError(f"{path} links to other data at {name}: poison does not follow links")
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise PoisonError(f"{path} keeps {name} in another file: poison does not follow links")
        size += item.nbytes if isinstance(item, h5py.Dataset) else 0
    memory.check(2 * size, path)


def _description(file: Any) -> str:
    """The run's description; until schema 2 target rows stood in it by their places among the chosen classes'."""
    run = str(file.attrs["run"])
    return run if int(file.attrs["schema"]) > 1 else run.replace('"target": "rows:', '"target": "places:')


def _content(file: Any) -> RunFile:
    import h5py

    split = {name: hdf5.read(item, name) for name, item in file["split"].items()}
    attack = file["attack"]
    arrays: dict[str, Any] = {name: hdf5.read(item, name) for name, item in attack.items() if name != "x"}
    x = attack["x"]
    arrays["x"] = hdf5.read(x, "x") if isinstance(x, h5py.Dataset) else hdf5.read_sparse(x)
    content = RunFile(
        run=_description(file),
        sha256=str(file["split"].attrs["sha256"]),
        scaler={name: split.pop(name) for name in SCALER},
        split=split,
        timeline=hdf5.read(file["timeline"], "timeline") if "timeline" in file else np.zeros((0, 2)),
        poison=Poison(**arrays, done=int(attack.attrs["done"]), total=int(attack.attrs["total"])),
        defenses={name: _defended(group) for name, group in file.get("defend", {}).items()},
        evaluations={
            name: _evaluation(group, measured.read_metrics(file, name))
            for name, group in file.get("evaluate", {}).items()
        },
        classes=measured.read_classes(file),
        victims=tuple(measured.read_victims(file)),
        plugins={str(k): str(v) for k, v in json.loads(file.attrs.get("plugins", "{}")).items()},
        rounding={name: hdf5.read(item, name) for name, item in file.get("rounding", {}).items()},
    )
    soundness.check(content)
    return content


def _defended(group: Any) -> Defended:
    choice, knows = str(group.attrs["defense"]), str(group.attrs["knows"])
    return Defended(choice, knows, hdf5.read(group["weight"], "weight"), hdf5.read(group["score"], "score"))


def _evaluation(group: Any, metrics: measured.Measures) -> Evaluation:
    measures = {name: hdf5.read(item, name) for name, item in group.items() if name != "params"}
    layers = (group["params"][str(number)] for number in range(len(group["params"])))
    params = [{k: hdf5.read(v, k) for k, v in layer.items()} for layer in layers]
    return Evaluation(**measures, params=params, metrics=metrics)
