"""What methods declare about themselves: class attributes, read here alone, with what holds where one is left out.

A method from outside the package is as good as one inside: it declares the same attributes, or none.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from poisoncli.core.data import Task

NOTHING: Mapping[str, Any] = MappingProxyType({})
TASKS: tuple[Task, ...] = ("binary", "multiclass", "real")


class OfAttack(NamedTuple):
    """What an attack declares.

    tasks: the targets that it can poison.
    adds: whether its rows join the training rows, or replace some of them.
    sparse: whether it can take sparse rows.
    learns_lambda: whether it can learn lambda together with the poison (`Problem.learn`).
    victims: the models that it is made for, the usual one first; a run that names none takes the first that fits.
    evades: the filters, of l2 and slab, whose scores its rows keep below its `quantile` of the clean rows' scores.
    tuned: its options whose defaults are the settings of the data set and the model, see `OfDataset`.
    in_label: options that its label tells, with the value at which nothing is said; None: it is always said.
    before: options that descriptions of older versions lack, with what held then where lambda was learned.
    settings_at_once: a method that tells how many settings (`Problem.settings`) it can solve together.
    joins: a method that tells in what they may differ, beside lambda: options of its own by name, `trainer.rate`,
    `reg` (the penalty) and `target` (among the validation rows); see `Problem.varied`.
    spreads: whether its repetitions can be spread over several devices.
    finish: what becomes of its rows where the data have a schema: they are rounded to possible ones, `round`, and
    improved by `exchange`; or stay, `keep`, as they are rows of the data, or of the user. Empty: exchange, or round
    where rows are added.
    copies: whether rows that it adds are copies of rows of the data, so that what is frozen is so.
    """

    tasks: tuple[Task, ...] = ("binary",)
    adds: bool = False
    sparse: bool = False
    learns_lambda: bool = False
    victims: tuple[str, ...] = ()
    evades: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    in_label: Mapping[str, Any] = NOTHING
    before: Mapping[str, Any] = NOTHING
    settings_at_once: Callable[[Any, Any], int] | None = None
    joins: Callable[[Any], tuple[str, ...]] | None = None
    spreads: bool = False
    finish: str = ""
    copies: bool = False

    @property
    def finished_by(self) -> str:
        """`finish`, with what holds where it is empty."""
        return self.finish or ("round" if self.adds else "exchange")

    @property
    def has_origin(self) -> bool:
        """Whether each poison row stands for a row of the data, to which frozen columns and the like refer."""
        return self.copies or not self.adds


class OfModel(NamedTuple):
    """What a model declares.

    tasks: the targets that it can learn.
    sparse: whether it can take sparse rows.
    attacks: those that are made for it, the usual one first; a run that names none takes the first that fits.
    tuned: its options whose defaults are the settings of the data set.
    settings: those that hold where the data set has none, see `OfDataset`.
    penalties: those on the weights that it can be trained with.
    linear_first: whether its first layer is linear, see `victim.Model`.
    penalized_with: options that it must have for a penalty to count, with their values.
    convex: whether its training has one optimum, which it is trained to where no epochs are given.
    """

    tasks: tuple[Task, ...] = ("binary", "real")
    sparse: bool = False
    attacks: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    settings: Mapping[str, Any] = NOTHING
    penalties: tuple[str, ...] = ("l2", "l1")
    linear_first: bool = False
    penalized_with: Mapping[str, Any] = NOTHING
    convex: bool = False


class OfTrainer(NamedTuple):
    """What a trainer declares.

    tuned: its options whose defaults are the settings of the data set and the model.
    gain: how far its steps of a size lead, against those of gradient descent; its `rate` is so much smaller.
    """

    tuned: tuple[str, ...] = ()
    gain: float = 1.0


class OfDefense(NamedTuple):
    """What a defense declares.

    usual_for: the targets for which `all` stands for it; whether it can weigh others, it says when it is asked.
    wants_penalty: whether it looks for rows that pull at the learner: those do not that a learner without a penalty
    fits exactly.
    trains: whether it trains the learner.
    """

    usual_for: tuple[Task, ...] = TASKS
    wants_penalty: bool = False
    trains: bool = True


class OfDataset(NamedTuple):
    """What a data set declares.

    description: in a few words. rows, features: how many; None if that depends on the file.
    class_names: of the classes 0, 1, ...; sizes: default numbers of training, validation and test rows.
    task: what the targets are; None where that is known once the rows are read.
    usual_model, usual_attack: taken where a run names none; by default those of the task.
    settings: of papers, by option; `outer_steps`, `outer_rate`, `log_lambda_max` of an attack, `rate` and
    `epochs` of a training (an attack's `inner_rate` and `inner_steps` follow the victim's), `lambda`, and any other
    that a method calls `tuned`.
    settings_of: those for one model, by its name; they win.
    selected: numbers of features for the consistency index.
    scaled: whether features are standardized by all rows.
    usual_trainer: taken where a run names none.
    """

    description: str = ""
    rows: int | None = None
    features: int | None = None
    class_names: tuple[str, ...] = ()
    sizes: tuple[int, int, int] | None = None
    task: Task | None = None
    usual_model: str = ""
    usual_attack: str = ""
    settings: Mapping[str, Any] = NOTHING
    settings_of: Mapping[str, Mapping[str, Any]] = NOTHING
    selected: tuple[int, ...] = ()
    scaled: bool = False
    usual_trainer: str = "sgd"


def as_tabled(
    outer_steps: int, outer_rate: float, rate: float, epochs: int, largest: float = math.inf
) -> dict[str, Any]:
    """Settings as HLP Tables IV and V have them: T_mul, alpha, eta, T, and the largest lambda in their scale.

    SPR Tables II and III: T_out, gamma, eta, T.
    """
    return {
        "outer_steps": outer_steps,
        "outer_rate": outer_rate,
        "rate": rate,
        "epochs": epochs,
        "log_lambda_max": math.log(largest),
    }


KINDS: Mapping[str, type[tuple]] = {
    "attack": OfAttack,
    "defense": OfDefense,
    "model": OfModel,
    "dataset": OfDataset,
}
T = TypeVar("T", bound=tuple)


def read(kind: type[T], made: type) -> T:
    """What the class `made` declares as a method of that kind; an option of the same name is no declaration."""
    options = {field.name for field in dataclasses.fields(made)}
    of: Any = kind
    return of(**{name: getattr(made, name) for name in of._fields if name not in options and hasattr(made, name)})


def misdeclared(kind: str, made: type) -> str:
    """What of a wrong type the class `made` declares as a method of that kind, in words; empty if nothing."""
    of: Any = KINDS[kind]
    hints = typing.get_type_hints(of)
    found = [(name, value) for name, value in read(of, made)._asdict().items() if not _is(value, hints[name])]
    return f"declares {found[0][0]} = {found[0][1]!r:.60}, see `{of.__name__}` in core/declared.py" if found else ""


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, one of those that occur above."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in args)
    if origin is typing.Literal:
        return isinstance(value, str) and value in args
    if origin is tuple:
        each = args[:1] * len(value) if isinstance(value, tuple | list) and args[-1] is ... else args
        return isinstance(value, tuple | list) and len(value) == len(each) and all(map(_is, value, each))
    return isinstance(value, origin or hint)
