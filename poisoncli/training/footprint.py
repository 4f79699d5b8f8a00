"""How many numbers a model keeps: its parameters, and what it makes of a row on the way to the output."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.extend.core

from poisoncli.core.victim import Objective, predict

# what XLA does on the way into the next operation, and keeps nowhere
_LAYOUT = ("slice", "pad", "reshape", "broadcast_in_dim", "squeeze", "transpose", "convert_element_type")


class Footprint(NamedTuple):
    """Numbers: parameters in all, and intermediate results of one row, all of which a gradient may keep."""

    parameters: int
    activations: int


def footprint(objective: Objective, m: int, dtype: Any = None) -> Footprint:
    """That of the objective's model for rows of m features, without making any of it."""
    params = jax.eval_shape(lambda: objective.init(jax.random.key(0), m, dtype))
    row = jax.ShapeDtypeStruct((1, m), jax.tree.leaves(params)[0].dtype)
    program = jax.make_jaxpr(lambda params, x: predict(objective.model, params, x))(params, row).jaxpr
    of_rows, activations = {program.invars[-1]}, 0
    for one in program.eqns:  # what is made of the parameters alone is there once, and not for each row
        if of_rows.intersection(arg for arg in one.invars if isinstance(arg, jax.extend.core.Var)):
            of_rows.update(one.outvars)
            if one.primitive.name not in _LAYOUT:
                activations += sum(out.aval.size for out in one.outvars)  # type: ignore[attr-defined]
    return Footprint(sum(leaf.size for leaf in jax.tree.leaves(params)), activations)
