"""Random label flips: the baseline that every attack has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from poisoncli.bilevel.initial_poison import flipped_copies
from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Array, Task
from poisoncli.core.method import method, option


@method
class Flip:
    """Random label flips (Biggio, Nelson and Laskov 2011): rows drawn at random get another label.

    Real targets go to the farther of the two ends of the range that the clean training targets have.

    batch: rows flipped at a stage; 0 means 7 % of the training rows (7.5 % with real targets).
    poison_label: the class that poison rows claim to be: any `other` than their own, the `nearest` (likeliest after
    their own to the victim of the clean rows), the `least-likely`, or one by its name; of two classes the first$
    three are the same.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass", "real")
    victims: ClassVar[tuple[str, ...]] = ("logistic", "linear")
    tuned: ClassVar[tuple[str, ...]] = ("batch",)
    in_label: ClassVar[Mapping[str, Any]] = {"poison_label": "other"}
    finish: ClassVar[str] = "keep"

    batch: int = option(0, low=0)
    poison_label: str = "other"

    def craft(self, key: Array, problem: Problem, resume: Poison | None = None) -> Iterator[Poison]:
        yield flipped_copies(key, problem, outer_steps=0)._replace(done=1, total=1)
