"""What every method of every table must do; a new method is covered as soon as it stands in its table."""

import dataclasses
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse as sp

from poisoncli.core.data import Data, Dataset
from poisoncli.core.defense import Clues
from poisoncli.core.errors import PoisonError
from poisoncli.core.split import default_sizes, draw
from poisoncli.runs import defaults, description, prepare, run_file
from poisoncli.runs.description import METHODS, TABLES, Choice, Run
from poisoncli.runs.problem import problem as problem_of

FEW = {"outer_steps": 3, "inner_steps": 4}  # options that make a method quick, where it has them
ENTRIES = [(kind, name) for kind, table in TABLES.items() for name in table]
DOCUMENTED = [(kind, name) for kind, table in METHODS.items() for name in table]
ONLY_REAL = [name for name in TABLES["attack"] if "binary" not in defaults.attack(name).tasks]
LINEAR_FILTERS = ("huber", "duti", "bayesclean")  # for real targets
OWN_FILES = [("dataset", "file"), ("attack", "given")]  # what a user brings has no source
every = pytest.mark.parametrize(("kind", "name"), ENTRIES)
# attacks that add rows need a linear victim at its optimum: tests/attacks/test_additive.py
REPLACING = [name for name in TABLES["attack"] if not defaults.attack(name).adds]
every_attack = pytest.mark.parametrize("name", REPLACING)
every_model = pytest.mark.parametrize("name", TABLES["model"])
every_dataset = pytest.mark.parametrize("name", TABLES["dataset"])


@pytest.fixture
def choice(tmp_path):
    """A method of a table with options that make it quick; a user's file is written."""

    def make(kind, name):
        made = TABLES[kind][name]
        options = {f.name: FEW[f.name] for f in dataclasses.fields(made) if f.name in FEW}
        if (kind, name) == ("dataset", "file"):
            path = tmp_path / "rows.csv"
            x = np.random.default_rng(0).normal(size=(60, 3))
            path.write_text("a,b,c,label\n" + "".join(f"{a},{b},{c},{a + b > 0:d}\n" for a, b, c in x))
            options["path"] = str(path)
        return Choice(name, options)

    return make


@pytest.mark.parametrize(("kind", "name"), DOCUMENTED)
def test_a_method_is_a_frozen_dataclass_with_documented_fields(kind, name):
    made = METHODS[kind][name]
    assert made.__dataclass_params__.frozen
    documented = re.findall(r"^ *([\w, ]+?): ", made.__doc__, re.M)
    documented = {word.strip() for words in documented for word in words.split(",")}
    assert {field.name for field in dataclasses.fields(made)} <= documented


@pytest.mark.parametrize(("kind", "name"), [entry for entry in DOCUMENTED if entry not in OWN_FILES])
def test_a_method_names_its_source(kind, name):
    made = METHODS[kind][name]
    told = f"{sys.modules[made.__module__].__doc__}\n{made.__doc__}"
    assert re.search(r"\b(19|20)\d\d\b|HLP|SPR|KSL|Appendix", told)


@every
def test_a_method_survives_json(choice, kind, name):
    resolved = description.resolve(Run(**{kind: choice(kind, name)}))
    again = description.from_json(description.to_json(resolved))
    assert again == resolved
    assert description.build(getattr(again, kind), kind) == description.build(getattr(resolved, kind), kind)


@every
def test_a_method_refuses_unknown_options(choice, kind, name):
    options = {**choice(kind, name).options, "unheard": 1}
    with pytest.raises(PoisonError, match="no option 'unheard'"):
        description.resolve(Run(**{kind: Choice(name, options)}))


@every
def test_new_values_of_float_fields_are_leaves(choice, kind, name):
    method = description.build(getattr(description.resolve(Run(**{kind: choice(kind, name)})), kind), kind)
    floats = [getattr(method, f.name) for f in dataclasses.fields(method) if f.type == "float"]
    assert jax.tree.leaves(method) == floats


@pytest.fixture
def crafted(choice):
    """Crafts poison with an attack of the table; returns the problem and what was yielded."""

    def make(name, key=0, learn=False, resume=None):
        options = choice("attack", name)
        wanted = Run(
            dataset=Choice("diabetes" if name in ONLY_REAL else "digits"),
            attack=options,
            n_train=40,
            n_val=20,
            n_test=20,
            fraction=0.2,
            repetitions=2,
            learn_lambda=learn,
        )
        prepared = prepare.prepare(description.resolve(wanted))
        problem = problem_of(prepared)
        method = description.build(prepared.run.attack, "attack")
        return prepared, problem, list(method.craft(jax.random.key(key), problem, resume))

    return make


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@every_attack
def test_an_attack_keeps_to_its_budget_and_box(crafted, name):
    _, problem, steps = crafted(name)
    poison, counts = steps[-1], problem.threat.counts
    points = counts[-1]
    assert counts[0] == 0
    assert points <= 0.2 * 40
    np.testing.assert_array_equal(poison.counts, counts)
    assert poison.done == poison.total > 0
    assert poison.x.shape == (2, points, problem.train.x.shape[2])
    assert poison.y.shape == poison.replaced.shape == (2, points)
    assert poison.log_lambda.shape[:2] == poison.loss.shape[:2] == (2, len(counts))
    assert poison.x.dtype == poison.y.dtype == np.float32
    repetitions_first = [np.asarray(bound) for bound in problem.threat[1:5]]
    low, high = (bound[:, None] if bound.ndim == 2 else bound for bound in repetitions_first[:2])
    y_low, y_high = (bound[:, None] if bound.ndim else bound for bound in repetitions_first[2:])
    assert np.all((poison.x >= low - 1e-5) & (poison.x <= high + 1e-5))
    assert np.all((poison.y >= y_low) & (poison.y <= y_high))
    if problem.task == "binary":
        assert set(np.unique(poison.y)) <= {0, 1}
    assert np.all((poison.replaced >= 0) & (poison.replaced < 40))
    assert all(len(set(rows)) == points for rows in poison.replaced)
    assert [step.done for step in steps] == sorted({step.done for step in steps})


@every_attack
def test_only_the_replaced_rows_differ(crafted, name):
    prepared, problem, steps = crafted(name)
    poison = steps[-1]
    for stage, count in enumerate(poison.counts):
        data, is_poison, number = prepare.poisoned(prepared.split.train, poison, stage)
        assert is_poison.sum(axis=1).tolist() == [count, count]
        for r in range(2):
            replaced = poison.replaced[r, :count]
            assert set(np.flatnonzero(is_poison[r])) == set(replaced)
            np.testing.assert_array_equal(data.x[r, replaced], poison.x[r, :count])
            np.testing.assert_array_equal(data.y[r, replaced], poison.y[r, :count])
            np.testing.assert_array_equal(number[r, replaced], np.arange(count))
            clean = ~is_poison[r]
            np.testing.assert_array_equal(data.x[r, clean], problem.train.x[r, clean])
            np.testing.assert_array_equal(data.y[r, clean], problem.train.y[r, clean])
            assert np.all(number[r, clean] == -1)


@every_attack
def test_an_attack_depends_on_its_key_alone(crafted, name):
    (*_, poison), (*_, again), (*_, other) = (crafted(name, key)[2] for key in (0, 0, 1))
    same(poison, again)
    assert not np.array_equal(poison.replaced, other.replaced)


@every_attack
def test_an_attack_goes_on_from_where_it_was(crafted, monkeypatch, name):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    _, _, steps = crafted(name)
    for begun in steps[:: max(1, len(steps) // 3)]:
        rest = crafted(name, resume=begun)[2]
        assert len(rest) <= len(steps[begun.done :]) or begun.done == begun.total
        same((rest or [begun])[-1], steps[-1])


@every_attack
def test_poison_survives_the_run_file(crafted, name, tmp_path):
    prepared, _, steps = crafted(name)
    content = run_file.RunFile(
        description.to_json(prepared.run),
        prepared.sha256,
        prepared.rows,
        {name: getattr(prepared, name) for name in run_file.SCALER},
        steps[-1],
    )
    run_file.write(tmp_path / "run.h5", content)
    found = run_file.read(tmp_path / "run.h5")
    same(found.poison, steps[-1])
    assert description.from_json(found.run) == prepared.run


@every_model
def test_a_model_starts_by_key_and_gives_a_logit_a_row(name):
    model = description.build(description.resolve(Run(model=name)).model, "model")
    params, again = (model.init(jax.random.key(3), 7) for _ in range(2))
    same(jax.tree.leaves(params), jax.tree.leaves(again))
    assert all(set(layer) == {"w", "b"} for layer in params)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    output = model.output(params, x @ params[0]["w"].T)
    assert output.shape == (5,)
    assert np.all(np.isfinite(output))
    alone = model.output(params, x[2:3] @ params[0]["w"].T)
    np.testing.assert_allclose(alone, output[2:3], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", TABLES["trainer"])
def test_a_trainer_has_an_optimizer_and_its_steps(name):
    trainer = description.build(description.resolve(Run(trainer=name)).trainer, "trainer")
    assert trainer.epochs >= 1
    params = {"w": jnp.ones(3)}
    optimizer = trainer.optimizer(trainer.epochs)
    change, _ = optimizer.update({"w": jnp.ones(3)}, optimizer.init(params), params)
    assert np.all(optax.apply_updates(params, change)["w"] < 1)


@every_dataset
def test_a_dataset_describes_itself(name):
    made = TABLES["dataset"][name]
    assert made.description
    assert made.where(None)
    json.dumps([made.description, made.rows, made.features, list(made.class_names)])


@every_dataset
def test_a_dataset_stays_within_its_domain(choice, name):
    made = TABLES["dataset"][name]
    if "not found" in made.where(None):
        pytest.skip("its files are not on this machine")
    method = description.build(description.resolve(Run(dataset=choice("dataset", name))).dataset, "dataset")
    data = method.load(None)
    assert isinstance(data, Dataset)
    assert {data.x.dtype, data.y.dtype} <= {np.dtype(np.float32), np.dtype(float)}
    assert data.x.ndim == 2
    assert data.y.shape == data.x.shape[:1]
    values = data.x.data if sp.issparse(data.x) else data.x
    assert np.all(np.isfinite(values))
    assert np.all((values >= data.low) & (values <= data.high))
    assert re.fullmatch("[0-9a-f]{64}", data.sha256)
    if data.parts is not None:
        assert sorted(np.concatenate(data.parts)) == list(range(len(data.y)))
        return
    sizes = made.sizes or default_sizes(data.y, data.task)
    assert tuple(map(len, draw(np.random.default_rng(0), data.y, data.task, sizes))) == sizes


@pytest.mark.parametrize("name", METHODS["defense"])
def test_a_defense_weighs_every_row_by_its_key_alone(name):
    choice = description.resolve_defense(Choice(name))
    dataset = Choice("diabetes" if name in LINEAR_FILTERS else "digits")
    prepared = prepare.prepare(description.resolve(Run(dataset=dataset, n_train=40, n_val=20, n_test=20)))
    rows, trusted = (Data(*(leaf[0] for leaf in part)) for part in (prepared.split.train, prepared.split.val))
    learner, clues = prepared.learner(np.full(1, -np.inf, np.float32)), Clues(trusted, 0.1)
    method = description.build(choice, "defense")
    verdict, again = (method.weigh(jax.random.key(0), rows, learner, clues) for _ in range(2))
    assert verdict.weight.shape == verdict.score.shape == (40,)
    assert np.all((verdict.weight >= 0) & (verdict.weight <= 1))
    assert np.any(verdict.weight > 0)
    np.testing.assert_array_equal(verdict.weight, again.weight)
    np.testing.assert_array_equal(verdict.score, again.score)
    assert method.knows()
