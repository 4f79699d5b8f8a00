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

from poisoncli.runs import contract, defaults, description
from poisoncli.runs.description import METHODS, TABLES, Choice, Run

ENTRIES = [(kind, name) for kind, table in TABLES.items() for name in table]
DOCUMENTED = [(kind, name) for kind, table in METHODS.items() for name in table]
OWN_FILES = [("dataset", "file"), ("attack", "given")]  # what a user brings has no source
EVERY_KIND = [*ENTRIES, *(("defense", name) for name in METHODS["defense"])]
every = pytest.mark.parametrize(("kind", "name"), ENTRIES)
# attacks that need a linear victim at its optimum are in tests/attacks/test_additive.py
ANY_VICTIM = [name for name in TABLES["attack"] if defaults.attack(name).victims[0] != "svm"]
every_attack = pytest.mark.parametrize("name", ANY_VICTIM)
every_model = pytest.mark.parametrize("name", TABLES["model"])
every_dataset = pytest.mark.parametrize("name", TABLES["dataset"])


@pytest.fixture
def choice(tmp_path):
    """A method of a table with options that make it quick; a user's file is written."""

    def make(kind, name):
        made = METHODS[kind][name]
        options = {f.name: contract.FEW[f.name] for f in dataclasses.fields(made) if f.name in contract.FEW}
        if (kind, name) == ("dataset", "file"):
            path = tmp_path / "rows.csv"
            x = np.random.default_rng(0).normal(size=(60, 3))
            path.write_text("a,b,c,label\n" + "".join(f"{a},{b},{c},{a + b > 0:d}\n" for a, b, c in x))
            options["path"] = str(path)
        return Choice(name, options)

    return make


@pytest.mark.parametrize(("kind", "name"), DOCUMENTED)
def test_a_method_is_a_frozen_dataclass_with_documented_fields(kind, name):
    contract.documented(METHODS[kind][name])


@pytest.mark.parametrize(("kind", "name"), [entry for entry in DOCUMENTED if entry not in OWN_FILES])
def test_a_method_names_its_source(kind, name):
    made = METHODS[kind][name]
    told = f"{sys.modules[made.__module__].__doc__}\n{made.__doc__}"
    assert re.search(r"\b(19|20)\d\d\b|HLP|SPR|KSL|Appendix", told)


@pytest.mark.parametrize(("kind", "name"), EVERY_KIND)
def test_a_method_survives_json(choice, kind, name):
    contract.survives_json(kind, choice(kind, name))


@pytest.mark.parametrize(("kind", "name"), EVERY_KIND)
def test_a_method_refuses_unknown_options(choice, kind, name):
    contract.refuses_unknown(kind, choice(kind, name))


@every
def test_new_values_of_float_fields_are_leaves(choice, kind, name):
    method = description.build(getattr(description.resolve(Run(**{kind: choice(kind, name)})), kind), kind)
    floats = [getattr(method, f.name) for f in dataclasses.fields(method) if f.type == "float"]
    assert jax.tree.leaves(method) == floats


@every_attack
def test_an_attack_keeps_to_its_budget_and_box(name):
    contract.budget_and_box(name)


@every_attack
def test_only_the_replaced_rows_differ(name):
    contract.only_its_rows(name)


@every_attack
def test_an_attack_depends_on_its_key_alone(name):
    contract.attack_by_key(name)
    one, other = (contract.crafted(name, key).steps[-1] for key in (0, 1))
    assert not np.array_equal(one.replaced, other.replaced) or not np.array_equal(one.x, other.x)


@every_attack
def test_an_attack_goes_on_from_where_it_was(monkeypatch, name):
    monkeypatch.setattr("poisoncli.bilevel.schedule.CALL_SECONDS", 0)
    contract.resumes(name)


@every_attack
def test_poison_survives_the_run_file(name):
    contract.survives_run_file(name)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "cnn")) for name in TABLES["model"]]
)
def test_a_model_starts_by_key_and_gives_a_logit_a_row(name):
    contract.starts_and_answers(name)


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
    contract.stays_in_domain(name, choice("dataset", name))


@pytest.mark.parametrize("name", METHODS["defense"])
def test_a_defense_weighs_every_row_by_its_key_alone(name):
    contract.weighs(name)
