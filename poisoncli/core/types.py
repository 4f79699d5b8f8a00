"""The few types that everything else speaks in. Arrays are NumPy or JAX arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    dataclass_transform,
    runtime_checkable,
)

import jax
import numpy as np

if TYPE_CHECKING:
    from poisoncli.core.train import Objective, Trainer

Array = Any  # NumPy or JAX array; shapes stand in the docstrings
Params = list[dict[str, Array]]  # one {"w": [out, in], "b": [out]} for each layer, first layer first
Task = Literal["binary", "multiclass", "real"]
Fixed = float  # a method's float that compiled code must know: not a leaf of the PyTree, see `method`
T = TypeVar("T")


class PoisonError(Exception):
    """The request was wrong or cannot be met; the message is one sentence that names the cure. Exit status 2."""


class FailedError(PoisonError):
    """The request was right, but it failed while running (diverged, disk full). Exit status 1."""


class Data(NamedTuple):
    """Rows: features `x` [..., n, m], targets `y` [..., n] (floats), `weight` [..., n] (1 keeps, 0 drops)."""

    x: Array
    y: Array
    weight: Array


class Split(NamedTuple):
    """Random splits of a data set, one for each repetition (leading axis); all rows are clean."""

    train: Data
    val: Data
    test: Data


def option(
    default: Any,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    choices: tuple = (),
) -> Any:
    """A method's field with its range: low <= value <= high and value > above, or one of `choices`."""
    limits = {"low": low, "high": high, "above": above, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def method(cls: type[T]) -> type[T]:
    """Make `cls` a method: a frozen dataclass, and a JAX PyTree whose leaves are its float fields.

    New values of a float field do not retrace a jitted function, and `vmap` over one works; all other
    fields are static, those of type `Fixed` too.
    """
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if f.type in ("float", float)]
    static = [f.name for f in fields if f.name not in leaves]
    return jax.tree_util.register_dataclass(frozen, data_fields=leaves, meta_fields=static)


class Dataset(NamedTuple):
    """A whole data set before it is split.

    x: features [N, m], float32, within `low` and `high`.
    y: targets [N], float32: 0 and 1 (binary), 0 ... c-1 (multiclass) or real numbers.
    low, high: the domain of a feature, as scalars or [m]; an attacker must stay within it.
    task: what the targets are.
    sha256: hash of the data that the features came from (hex), to recognize the same data later.
    integer: whether the features are whole numbers, which binds an attacker too.
    parts: the numbers of the training and of the test rows, where the data come with such a division.
    x may also be a SciPy CSR matrix [N, m]: word counts for a linear model.
    """

    x: Array
    y: Array
    low: Array
    high: Array
    task: Task
    sha256: str
    integer: bool = False
    parts: tuple[np.ndarray, np.ndarray] | None = None


class Model(Protocol):
    """A model whose first layer is linear: `h = x @ params[0]["w"].T`, then `output(params, h)`."""

    def init(self, key: Array, m: int) -> Params:
        """Initial parameters for `m` features."""
        ...

    def output(self, params: Params, h: Array) -> Array:
        """Outputs [n] (logits, or predictions) from the first layer's products h [n, width]."""
        ...


class Sparse(list):
    """Rows of every repetition, a CSR matrix [n, m] each: what a dense array [repetitions, n, m] would hold."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(repetitions, n, m)."""
        return (len(self), *self[0].shape)


@runtime_checkable
class Exact(Protocol):
    """A linear model trained to the optimum of its objective instead of by the trainer."""

    @property
    def loss(self) -> str: ...

    @property
    def bias(self) -> str: ...

    def optimum(self, x: Array, y: Array, lambda_: float) -> Params:
        """The parameters for rows x [n, m], dense or CSR, with targets y [n] in {0, 1}."""
        ...


class Threat(NamedTuple):
    """What the attacker may do.

    counts: poison rows in all at each stage, rising from 0; `counts[-1]` training rows are replaced, or added.
    low, high: domain of the features, scalars, [m], or [repetitions, m] where each has a scaler of its own.
    y_low, y_high: range of real targets, [repetitions].
    integer: whether features are whole numbers.
    """

    counts: tuple[int, ...]
    low: Array
    high: Array
    y_low: Array = 0.0
    y_high: Array = 1.0
    integer: bool = False


class Problem(NamedTuple):
    """What an attack sees; arrays have a leading repetition axis.

    train: the clean training rows, [repetitions, n, ...].
    target: the rows whose loss the attack maximizes, and a learned lambda minimizes if `trusted` is None.
    objective, trainer: what the victim minimizes, and how; `objective.outer` is what the attack maximizes.
    log_lambda: the fixed values [repetitions, h], h = 1 or the number of layers, when lambda is not learned;
        where it is learned, only its shape counts.
    learn: whether log_lambda is learned, [settings]: together with the poison, or where `clean_only` [settings]
        says so on the clean rows before any poison, and then kept.
    task: what the targets are.
    settings: how many problems these are, that share all but log_lambda and whether it is learned. They are
        solved together, so that rows which they have in common are read once. log_lambda has repetitions *
        settings rows, those of a repetition in a row, and so has the `Poison`.
    trusted: the rows whose row loss a learned lambda minimizes, where the attack looks at others or otherwise.
    """

    train: Data
    target: Data
    objective: Objective
    trainer: Trainer
    threat: Threat
    log_lambda: np.ndarray
    learn: np.ndarray
    task: Task = "binary"
    settings: int = 1
    clean_only: np.ndarray | bool = False
    trusted: Data | None = None


class Poison(NamedTuple):
    """Crafted poison, and how far the crafting is; a stage's poison is the first `counts[stage]` rows.

    x: features [repetitions, points, m]; y: targets [repetitions, points].
    replaced: the training row [repetitions, points] that each poison row replaces; -1 where it is added.
    counts: poison rows in all at each stage [stages].
    log_lambda: hyperparameters at the end of each stage [repetitions, stages, h].
    loss: target loss before each outer step [repetitions, stages, outer steps], NaN where there was none; before
        there is poison (stage 0) that of the learner's rows.
    done, total: steps of work; done == total when the poison is complete.
    scales: what an attack with two objectives divides them by [repetitions, stages, 2], NaN where not known.
    memory: what an attack remembers between outer steps, until it is complete [repetitions, vectors, numbers].
    trail: where the first point of each stage's batch was before each outer step, features and then target
        [repetitions, stages, outer steps, m + 1]; empty where the attack does not tell.
    """

    x: Array
    y: np.ndarray
    replaced: np.ndarray
    counts: np.ndarray
    log_lambda: np.ndarray
    loss: np.ndarray
    done: int
    total: int
    scales: np.ndarray = np.empty((0, 0, 2), np.float32)
    memory: np.ndarray = np.empty((0, 0, 0), np.float32)
    trail: np.ndarray = np.empty((0, 0, 0, 0), np.float32)


class Attack(Protocol):
    """Crafts poison; a frozen dataclass of hyperparameters.

    adds: whether its poison rows join the training rows, or replace some of them.
    """

    adds: ClassVar[bool]

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        """Yield the poison as it takes shape, complete at last; go on from `resume`, to the same bits.

        key: a JAX key. What was yielded is not changed by later steps, so that it can be saved at any moment.
        """
        ...


class Learner(NamedTuple):
    """The victim as a defense may use it: what it minimizes, how, and log_lambda [h]; and what the targets are.

    lambda_: the coefficient of the penalty in the mean loss.
    """

    objective: Objective
    trainer: Trainer
    log_lambda: Array
    task: Task
    lambda_: float = math.nan


class Clues(NamedTuple):
    """What a defense can be told beyond the training rows; `Defense.knows` says what of it is used.

    trusted: clean rows that are not for training (none: zero rows).
    poison: the true share of poison among the training rows, in [0, 1]; NaN if unknown.
    """

    trusted: Data
    poison: float


class Verdict(NamedTuple):
    """What a defense makes of n training rows, in their order.

    weight: in [0, 1] for each row [n]; 0 removes it, between them it counts less.
    score: suspicion [n], higher is worse; NaN where the defense has none.
    why: further columns [n] that explain the score, by name.
    """

    weight: np.ndarray
    score: np.ndarray
    why: dict[str, np.ndarray]


class Defense(Protocol):
    """Weighs training rows; a frozen dataclass of hyperparameters."""

    def knows(self) -> str:
        """What it is told beyond the training rows, for the tables: such as `nothing` or `the true fraction`."""
        ...

    def weigh(self, key: Array, data: Data, learner: Learner, clues: Clues) -> Verdict:
        """Weigh the rows of `data` (x [n, m] dense or SciPy CSR, NumPy arrays) of one repetition and stage.

        Raises `PoisonError` if it cannot work with these rows, this model or these clues.
        """
        ...
