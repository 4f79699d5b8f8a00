"""Methods: frozen, PyTrees of their float fields, each option with its range."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from poisoncli.core.method import Fixed, method, option


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
