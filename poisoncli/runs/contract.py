"""What every attack, defense, model and data set must do; `poison check` and the tests hold methods against it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from poisoncli.core.attack import Poison, Problem
from poisoncli.core.data import Data, Dataset
from poisoncli.core.defense import Clues
from poisoncli.core.errors import PoisonError
from poisoncli.core.split import default_sizes, draw
from poisoncli.core.victim import is_linear_first, predict
from poisoncli.runs import defaults, description, run_file, serialize, stages
from poisoncli.runs.description import METHODS, Choice, Run
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared, prepare
from poisoncli.runs.problem import problem as problem_of
from poisoncli.training import own_models

FEW = {"outer_steps": 3, "inner_steps": 4}  # options that make a method quick, where it has them
ROWS, FRACTION = 40, 0.2
_ROUNDING = 1e-5


class Breach(PoisonError):
    """A method does not keep to the contract; says how."""


class Point(NamedTuple):
    """A point of the contract that a method was held against; breach: what is wrong, empty where it is kept."""

    kind: str
    name: str
    what: str
    breach: str = ""


class Crafted(NamedTuple):
    """Two repetitions of small poison: what was prepared, what the attack saw, and all that it yielded."""

    prepared: Prepared
    problem: Problem
    steps: list[Poison]


def check(kind: str, name: str) -> Iterator[Point]:
    """Hold a method of the tables against each point of the contract of its kind."""
    own: dict[str, dict[str, Callable[[str], None]]] = {
        "attack": {
            "keeps to its budget and to the domain; shapes and types": budget_and_box,
            "changes the rows that it replaces and no other": only_its_rows,
            "is determined by its key": attack_by_key,
            "goes on from a checkpoint to the same bits": resumes,
            "its poison survives the run file": survives_run_file,
        },
        "defense": {"weighs every row, by its key alone": weighs},
        "model": {"starts by its key, gives a finite output a row, and has a gradient": starts_and_answers},
        "dataset": {
            "describes itself": describes_itself,
            "loads finite rows within its domain, the same each time": stays_in_domain,
        },
    }
    points: dict[str, Callable[[], None]] = {
        "is a frozen dataclass whose docstring describes each option": lambda: documented(METHODS[kind][name]),
        "survives JSON": lambda: survives_json(kind, quick(kind, name)),
        "refuses options that it does not have": lambda: refuses_unknown(kind, quick(kind, name)),
        **{what: lambda held=held: held(name) for what, held in own[kind].items()},
    }
    for what, held in points.items():
        try:
            held()
            yield Point(kind, name, what)
        except PoisonError as error:
            yield Point(kind, name, what, str(error))
        except (Exception, SystemExit) as error:
            yield Point(kind, name, what, f"it raises {own_models.in_words(error)}")


def quick(kind: str, name: str) -> Choice:
    """A method with few steps, where it has such options."""
    fields = {field.name for field in dataclasses.fields(METHODS[kind][name])}
    return Choice(name, {option: value for option, value in FEW.items() if option in fields})


def documented(made: type) -> None:
    """A frozen dataclass, with a line `name: ...` in its docstring for each field."""
    params = getattr(made, "__dataclass_params__", None)
    _demand(params is not None and params.frozen, "it is no frozen dataclass: put @method above the class")
    told_of = re.findall(r"(?:^ *|[.;] )([\w, ]+?): ", inspect.getdoc(made) or "", re.M)
    told = {word.strip() for words in told_of for word in words.split(",")}
    fields: Any = made
    missing = [field.name for field in dataclasses.fields(fields) if field.name not in told]
    _demand(not missing, f"its docstring lacks a line for {', '.join(missing)}: write `name: what it is`")
    _demand(bool((made.__doc__ or "").strip()), "it has no docstring")


def survives_json(kind: str, choice: Choice) -> None:
    """Its options are the same after a round trip through JSON."""
    if kind == "defense":
        resolved = description.resolve_defense(choice)
        same = serialize.choice_from_json(serialize.choice_to_json(resolved)) == resolved
        _demand(same, "its options change on the way through JSON")
        return
    named: dict[str, Any] = {kind: choice}
    run = description.resolve(Run(**named))
    again = serialize.from_json(serialize.to_json(run))
    built = [description.build(getattr(one, kind), kind) for one in (run, again)]
    _demand(again == run and built[0] == built[1], "its options change on the way through JSON: give fields types")


def refuses_unknown(kind: str, choice: Choice) -> None:
    """An option that is not there is refused with the ones that are."""
    odd = Choice(choice.name, {**choice.options, "unheard": 1})
    named: dict[str, Any] = {kind: odd}
    try:
        if kind == "defense":
            description.resolve_defense(odd)
        else:
            description.resolve(Run(**named))
    except PoisonError as error:
        _demand("no option 'unheard'" in str(error), f"an unknown option is refused for another reason: {error}")
        return
    raise Breach("an unknown option is taken")


def crafted(name: str, key: int = 0, resume: Poison | None = None, choice: Choice | None = None) -> Crafted:
    """Craft small poison with an attack, on an embedded data set that it declares to be for."""
    tasks = defaults.attack(name).tasks
    dataset = Choice("digits") if "binary" in tasks else Choice("diabetes")
    if not {"binary", "real"} & set(tasks):
        dataset = Choice("digits", {"classes": ("0", "1", "2")})
    wanted = Run(
        dataset=dataset,
        attack=choice or quick("attack", name),
        n_train=ROWS,
        n_val=20,
        n_test=20,
        fraction=FRACTION,
        repetitions=2,
    )
    prepared = prepare(description.resolve(wanted))
    problem = problem_of(prepared)
    method = description.build(prepared.run.attack, "attack")
    return Crafted(prepared, problem, list(method.craft(jax.random.key(key), problem, resume)))


def budget_and_box(name: str) -> None:
    """As many points as the threat allows, within the domain, in arrays of the shapes that `Poison` describes."""
    _, problem, steps = crafted(name)
    _demand(bool(steps), "it yields no poison")
    poison, counts = steps[-1], problem.threat.counts
    points, m = counts[-1], problem.train.x.shape[2]
    _demand(list(poison.counts) == list(counts), f"counts are {list(poison.counts)}, and not {list(counts)}")
    _demand(
        poison.done == poison.total > 0, f"it ends at step {poison.done} of {poison.total}: the last is complete"
    )
    done = [step.done for step in steps]
    _demand(done == sorted(set(done)), f"the steps done do not rise: {done}")
    _shape("x", poison.x, (2, points, m))
    _shape("y", poison.y, (2, points))
    _shape("replaced", poison.replaced, (2, points))
    for part in ("log_lambda", "loss"):
        leading = np.shape(getattr(poison, part))[:2]
        _demand(leading == (2, len(counts)), f"{part} begins with {leading}, and not with {(2, len(counts))}")
    if sp.issparse(poison.x[0]):
        return
    types = {np.asarray(part).dtype for part in (poison.x, poison.y)}
    _demand(types == {np.dtype(np.float32)}, f"x and y are of type {', '.join(map(str, types))}: give float32")
    _demand(bool(np.all(np.isfinite(poison.x)) and np.all(np.isfinite(poison.y))), "x or y are not finite")
    low, high, y_low, y_high = (_with_points(bound) for bound in problem.threat[1:5])
    beyond = np.maximum(low - poison.x, poison.x - high).max(initial=0)
    _demand(beyond <= _ROUNDING, f"features leave the domain by {beyond:.3g}: clip them to threat.low and high")
    _demand(bool(np.all((poison.y >= y_low[..., 0]) & (poison.y <= y_high[..., 0]))), "targets leave their range")
    if problem.task != "real":
        _demand(bool(np.all(np.asarray(poison.y) % 1 == 0)), "labels are no class numbers")
    if defaults.attack(name).adds:
        _demand(bool(np.all(poison.replaced == -1)), "it declares that it adds rows, and `replaced` is not -1")
        return
    there = np.all((poison.replaced >= 0) & (poison.replaced < ROWS))
    _demand(bool(there), "`replaced` names rows that are not there; rows that are added are declared: adds = True")
    _demand(all(len(set(rows)) == points for rows in poison.replaced), "`replaced` names a row twice")


def _with_points(bound: Any) -> np.ndarray:
    """A bound as an array that goes with x [repetitions, points, m]."""
    found = np.asarray(bound)
    return found[:, None] if found.ndim == 2 else found.reshape((*found.shape, 1, 1)) if found.ndim else found[None]


def only_its_rows(name: str) -> None:
    """At each stage the training rows differ from the clean ones where there is poison alone."""
    prepared, problem, steps = crafted(name)
    poison = steps[-1]
    for stage, count in enumerate(poison.counts):
        data, is_poison, number = poisoned(prepared.split.train, poison, stage)
        _demand(is_poison.sum(axis=1).tolist() == [count, count], f"stage {stage} has not {count} poison rows")
        if defaults.attack(name).adds:
            continue
        for r in range(2):
            replaced, clean = poison.replaced[r, :count], ~is_poison[r]
            same = set(np.flatnonzero(is_poison[r])) == set(replaced)
            same &= np.array_equal(data.x[r, replaced], poison.x[r, :count])
            same &= np.array_equal(data.y[r, replaced], poison.y[r, :count])
            same &= np.array_equal(data.x[r, clean], problem.train.x[r, clean])
            same &= np.array_equal(data.y[r, clean], problem.train.y[r, clean])
            same &= np.array_equal(number[r, replaced], np.arange(count)) and bool(np.all(number[r, clean] == -1))
            _demand(same, f"at stage {stage} other rows than those replaced differ")


def attack_by_key(name: str) -> None:
    """The same key gives the same poison, to the bit."""
    one, other = (crafted(name).steps[-1] for _ in range(2))
    _demand(_same(one, other), "the same key gives other poison: draw with the key alone")


def resumes(name: str) -> None:
    """From each of some checkpoints on it comes to the same end."""
    steps = crafted(name).steps
    for begun in steps[:: max(1, len(steps) // 3)]:
        rest = crafted(name, resume=begun).steps
        _demand(_same((rest or [begun])[-1], steps[-1]), f"from step {begun.done} on it comes to other poison")
        left = len([step for step in steps if step.done > begun.done])
        _demand(len(rest) <= max(left, 1), f"from step {begun.done} on it begins anew")


def survives_run_file(name: str) -> None:
    """The run file gives back what was written."""
    prepared, _, steps = crafted(name)
    content = dataclasses.replace(stages.fresh(prepared), poison=steps[-1])
    with tempfile.TemporaryDirectory() as folder:
        run_file.write(Path(folder) / "run.h5", content)
        found = run_file.read(Path(folder) / "run.h5")
    _demand(_same(found.poison, steps[-1]), "the run file gives back other poison")
    _demand(serialize.from_json(found.run) == prepared.run, "the run file gives back another description")


def starts_and_answers(name: str) -> None:
    """Initial parameters by the key, and a finite output for each row, which depends on that row and on them."""
    model = description.build(description.resolve(Run(model=Choice(name))).model, "model")
    params, again = (model.init(jax.random.key(3), 16, 1) for _ in range(2))
    _demand(_same(jax.tree.leaves(params), jax.tree.leaves(again)), "the same key gives other parameters")
    if is_linear_first(model):
        _demand(all(set(layer) == {"w", "b"} for layer in params), 'parameters are no layers {"w": ..., "b": ...}')
    kinds = {leaf.dtype for leaf in jax.tree.leaves(params)}
    _demand(kinds == {jnp.dtype(jnp.float32)}, f"parameters are of type {', '.join(map(str, kinds))}: give float32")
    x = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    output = functools.partial(predict, model)
    found = output(params, x)
    _shape("the output", found, (5,))
    _demand(bool(np.all(np.isfinite(found))), "outputs are not finite")
    alone = output(params, x[2:3])
    _demand(np.allclose(alone, found[2:3], rtol=1e-5, atol=1e-7), "the output of a row depends on other rows")
    slopes = jax.tree.leaves(jax.grad(lambda params: jnp.sum(output(params, x) ** 2 + output(params, x)))(params))
    _demand(all(bool(np.all(np.isfinite(slope))) for slope in slopes), "the gradient is not finite")
    _demand(any(bool(np.any(slope != 0)) for slope in slopes), "outputs have no gradient in the parameters")
    rng = np.random.default_rng(1)  # some models start where no feature counts
    moved = jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32), params)
    by_rows = jax.grad(lambda x: jnp.sum(output(moved, x)))(jnp.asarray(x))
    _demand(bool(np.any(by_rows != 0)), "outputs have no gradient in the rows: integers or stop_gradient cut it")


def describes_itself(name: str) -> None:
    """Its listing needs no data."""
    made: Any = METHODS["dataset"][name]
    told = defaults.dataset(name)
    _demand(isinstance(told.description, str), "its description is no text")
    where = getattr(made, "where", None)
    _demand(where is None or bool(where(None)), "`where` says nothing")


def stays_in_domain(name: str, choice: Choice | None = None) -> None:
    """Rows of numbers within `low` and `high`, a fingerprint, and sizes that can be drawn."""
    resolved = description.resolve(Run(dataset=choice or quick("dataset", name))).dataset
    data = description.build(resolved, "dataset").load(None)
    _demand(isinstance(data, Dataset), "`load` gives no Dataset")
    again = description.build(resolved, "dataset").load(None)
    _demand(re.fullmatch("[0-9a-f]{64}", data.sha256) is not None, "sha256 is no hash: use core.labels.fingerprint")
    _demand(again.sha256 == data.sha256, "loaded again, the rows are others")
    if data.table is not None:  # features come with the training rows, see `tables.encode`
        return
    kinds = {np.asarray(data.y).dtype, data.x.dtype}
    _demand(kinds <= {np.dtype(np.float32), np.dtype(float)}, f"x or y are of type {', '.join(map(str, kinds))}")
    _demand(data.x.ndim == 2 and data.y.shape == data.x.shape[:1], f"x is {data.x.shape}, and y {data.y.shape}")
    values = data.x.data if sp.issparse(data.x) else data.x
    _demand(bool(np.all(np.isfinite(values))), "features are not finite")
    _demand(bool(np.all((values >= data.low) & (values <= data.high))), "features leave [low, high]")
    if data.parts is not None:
        whole = sorted(np.concatenate(data.parts)) == list(range(len(data.y)))
        _demand(whole, "its parts are not all of its rows, each once")
        return
    sizes = defaults.dataset(name).sizes or default_sizes(data.y, data.task)
    drawn = tuple(map(len, draw(np.random.default_rng(0), data.y, data.task, sizes)))
    _demand(drawn == tuple(sizes), f"sizes {sizes} cannot be drawn from its rows")


def weighs(name: str) -> None:
    """A weight in [0, 1] and a score for each row, by the key, on a data set that it is usual for."""
    choice = description.resolve_defense(Choice(name))
    usual = METHODS["defense"][name].usual_for if hasattr(METHODS["defense"][name], "usual_for") else ("binary",)
    dataset = Choice("diabetes" if tuple(usual) == ("real",) else "digits")
    prepared = prepare(description.resolve(Run(dataset=dataset, n_train=ROWS, n_val=20, n_test=20)))
    rows, trusted = (Data(*(leaf[0] for leaf in part)) for part in (prepared.split.train, prepared.split.val))
    learner, clues = prepared.learner(np.full(1, -np.inf, np.float32)), Clues(trusted, 0.1)
    method = description.build(choice, "defense")
    verdict, again = (method.weigh(jax.random.key(0), rows, learner, clues) for _ in range(2))
    for part in ("weight", "score"):
        _shape(part, getattr(verdict, part), (ROWS,))
        _demand(_same([getattr(verdict, part)], [getattr(again, part)]), f"the same key gives another {part}")
    _demand(bool(np.all((verdict.weight >= 0) & (verdict.weight <= 1))), "weights leave [0, 1]")
    _demand(bool(np.any(verdict.weight > 0)), "it removes every row")
    _demand(bool(method.knows()), "`knows` says nothing: return what it was told, or `nothing`")


def _same(one: Any, other: Any) -> bool:
    """Whether two lists of arrays are equal to the bit."""
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") for a, b in map(_dense, pairs))


def _dense(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if not (isinstance(pair[0], list) and pair[0] and sp.issparse(pair[0][0])):
        return pair
    one, other = (np.stack([part.toarray() for part in parts]) for parts in pair)
    return one, other


def _shape(what: str, found: Any, wanted: tuple[int, ...]) -> None:
    _demand(np.shape(found) == wanted, f"{what} has shape {np.shape(found)}, and not {wanted}")


def _demand(kept: bool, otherwise: str) -> None:
    """Raise `Breach` saying what is wrong, unless `kept`."""
    if not kept:
        raise Breach(otherwise)
