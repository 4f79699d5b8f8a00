"""Rules for the outer steps: what becomes of a hypergradient before it is scaled and followed."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from poisoncli.core.data import Array

REMEMBERED = {"plain": 0, "adam": 2, "optimistic": 1}  # rules, and how many vectors each remembers
OUTER = tuple(REMEMBERED)


def outer_direction(rule: str, slope: Array, memory: Array, t: Array) -> tuple[Array, Array]:
    """Direction [size] for the hypergradient `slope` [size] at outer step t, and the memory after it.

    `plain` follows the hypergradient (HLP Algorithm 2); `adam` its running mean over the root of its running mean
    square (Kingma and Ba 2015); `optimistic` twice the hypergradient less the one before, which damps the turning
    of a minimax problem (Daskalakis et al. 2018). memory: [REMEMBERED[rule], size], zeros before the first step.
    """
    if rule == "adam":
        state = optax.ScaleByAdamState(count=jnp.asarray(t, jnp.int32), mu=memory[0], nu=memory[1])
        found, state = optax.scale_by_adam().update(slope, state)
        return found, jnp.stack([state.mu, state.nu])  # type: ignore[attr-defined]
    if rule == "optimistic":
        return 2 * slope - jnp.where(t == 0, slope, memory[0]), slope[None]
    return slope, memory
