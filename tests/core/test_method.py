"""Methods: frozen, PyTrees of their float fields, each option with its range."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from poisoncli.core.method import Fixed, method, option
from poisoncli.training.trainers import TRAINERS


@method
class Example:
    rate: float = option(0.5, above=0, high=1)
    steps: int = option(3, low=1)
    kind: str = option("a", choices=("a", "b"))
    share: Fixed = option(0.25)


def test_float_fields_are_leaves_and_all_others_are_static():
    leaves, structure = jax.tree.flatten(Example())
    assert leaves == [0.5]
    assert jax.tree.structure(Example(rate=0.1)) == structure
    for other in (Example(steps=4), Example(kind="b"), Example(share=0.5)):
        assert jax.tree.structure(other) != structure


def test_methods_of_equal_fields_are_told_apart():
    """JAX compares dataclasses by their fields alone, and might take one for another that was traced before."""

    @method
    class Other:
        rate: float = option(0.5, above=0, high=1)
        steps: int = option(3, low=1)
        kind: str = option("a", choices=("a", "b"))
        share: Fixed = option(0.25)

    assert jax.tree.structure(Other()) != jax.tree.structure(Example())
    assert jax.tree.structure(TRAINERS["sgd"]()) != jax.tree.structure(TRAINERS["adam"]())


def test_new_floats_do_not_trace_again_and_can_be_mapped():
    traces = []

    @jax.jit
    def double(example):
        traces.append(example.steps)
        return 2 * example.rate

    assert [float(double(Example(rate=rate))) for rate in (0.5, 0.25)] == [1, 0.5]
    assert traces == [3]
    double(Example(steps=4))
    assert traces == [3, 4]
    mapped = jax.vmap(lambda example: 2 * example.rate)(Example(rate=jax.numpy.array([0.5, 0.25])))
    assert mapped.tolist() == [1, 0.5]


def test_a_method_is_frozen_and_knows_its_ranges():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().rate = 1.0
    rate, steps, kind, _ = dataclasses.fields(Example)
    assert (rate.metadata["above"], rate.metadata["high"], steps.metadata["low"]) == (0, 1, 1)
    assert kind.metadata["choices"] == ("a", "b")


SHARED = option(2, low=1, doc="rows that stand for each point.")


@method
class Parent:
    """Options that several methods share."""

    share: float = option(0.5, low=0, high=1, doc="of the rows.")
    rounds: int = option(1, low=1, doc="of them.")


@method
class Child(Parent):
    """Takes two of the lines as they are.

    steps: of its own.
    rounds: told otherwise.
    """

    steps: int = option(3, low=1)
    copies: int = SHARED


@method
class Other:
    """Takes the option under another name."""

    twins: int = SHARED


def test_shared_options_bring_their_line_unless_a_method_tells_its_own():
    assert Child.__doc__ == (
        "Takes two of the lines as they are.\n\nsteps: of its own.\nrounds: told otherwise.\n"
        "share: of the rows.\ncopies: rows that stand for each point."
    )
    assert Other.__doc__ == "Takes the option under another name.\n\ntwins: rows that stand for each point."
    assert (Child().share, Child().rounds, Child(copies=3).copies) == (0.5, 1, 3)


def test_an_option_may_stand_in_several_methods_under_several_names():
    assert [field.name for field in dataclasses.fields(Child)] == ["share", "rounds", "steps", "copies"]
    assert [field.name for field in dataclasses.fields(Other)] == ["twins"]
