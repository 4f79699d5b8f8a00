"""Decoy parameters for any model: what the attacker wants the victim to learn (Lu, Kamath and Yu 2023)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Objective, Trainer, predict
from poisoncli.training.descent import fit
from poisoncli.training.layout import lay_out

_ASCENT = 50  # steps of the ascent, each a tenth of the radius long


@jax.jit
def trained(key: Array, objective: Objective, trainer: Trainer, rows: Data, log_lambda: Array) -> Params:
    """The victim on `rows` [n, m], started from `key`; log_lambda [h]."""
    start = objective.init(key, rows.x.shape[1], rows.x.dtype)
    return fit(objective, trainer, start, log_lambda, lay_out(rows))


@jax.jit
def by_ascent(objective: Objective, clean: Params, target: Data, radius: Array) -> Params:
    """The clean victim's parameters after ascent on the loss of the target rows, within a ball around them.

    radius: of the ball, as a multiple of their L2 norm. Steps are normalized and projected back, as in the code of
    Lu et al. (gradient-based parameter corruption).
    """
    reach = radius * optax.tree.norm(clean)
    slope = jax.grad(objective.clean_loss)

    def step(moved: Params, _: None) -> tuple[Params, None]:
        up = slope(optax.tree.add(clean, moved), target)
        moved = optax.tree.add_scale(moved, 0.1 * reach / jnp.maximum(optax.tree.norm(up), _tiny(reach)), up)
        return optax.tree.scale(
            jnp.minimum(1, reach / jnp.maximum(optax.tree.norm(moved), _tiny(reach))), moved
        ), None

    moved, _ = jax.lax.scan(step, optax.tree.zeros_like(clean), None, _ASCENT)
    return optax.tree.add(clean, moved)


@functools.partial(jax.jit, static_argnames="pushed")
def by_flips(
    key: Array,
    objective: Objective,
    trainer: Trainer,
    clean: Params,
    rows: tuple[Data, Data],
    log_lambda: Array,
    share: Array,
    *,
    pushed: bool,
) -> Params:
    """The victim trained on clean rows and on target rows with the label that they shall get (KSL Algorithm 3).

    rows: the clean rows and the target rows; share: weight of all target rows, as a multiple of all clean rows'.
    pushed: whether the targets have that label; otherwise it is the other one, or of more classes that which the
    clean victim finds likeliest after their own.
    """
    train, target = rows
    y = target.y if pushed else _other(predict(objective.model, clean, target.x), target.y)
    weight = target.weight * (share * jnp.sum(train.weight) / jnp.sum(target.weight))
    both = Data(*(jnp.concatenate(parts) for parts in zip(train, Data(target.x, y, weight), strict=True)))
    return trained(key, objective, trainer, both, log_lambda)


def _other(output: Array, y: Array) -> Array:
    """Another class [n] than y for rows with these outputs, [n] or [n, classes]."""
    if output.ndim == 1:
        return 1 - y
    own = jax.nn.one_hot(y.astype(int), output.shape[1]) > 0
    return jnp.argmax(jnp.where(own, -jnp.inf, output), axis=1).astype(y.dtype)


def _tiny(like: Array) -> float:
    return float(jnp.finfo(like.dtype).tiny)
