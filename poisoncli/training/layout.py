"""The training rows, laid out for speed.

Each block of rows is kept twice, as `x` and as its transpose: products with the rows' gradient then read memory in
order (4 times as fast on a CPU as `x.T @ d`), and columns that are zero in all rows of a block are left out, which
changes no result.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Data, Params
from poisoncli.core.victim import Block, Model, Rows, is_linear_first


def lay_out(data: Data) -> Rows:
    """`data` as one dense block."""
    x = jnp.asarray(data.x)
    return Rows((Block(x, jnp.swapaxes(x, -1, -2), None),), jnp.asarray(data.y), jnp.asarray(data.weight))


def compress(x: np.ndarray) -> Block:
    """Rows x [..., n, m] that will not change as a block without the columns that are zero in all of them."""
    used = np.flatnonzero(np.any(x != 0, axis=tuple(range(x.ndim - 1))))
    if used.size > 0.9 * x.shape[-1]:  # a gather costs more than it saves
        return Block(jnp.asarray(x), jnp.asarray(np.swapaxes(x, -1, -2)), None)
    kept = x[..., used]
    return Block(jnp.asarray(kept), jnp.asarray(np.swapaxes(kept, -1, -2)), jnp.asarray(used))


def products(weight: Array, rows: Rows) -> Array:
    """x @ weight.T over all rows, [n, width], for a first layer's `weight` [width, m]."""
    parts = [block.x @ (weight if block.columns is None else weight[:, block.columns]).T for block in rows.blocks]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def merged(rows: Rows) -> Rows:
    """All rows in one block with all columns, as a model takes them whose first layer is not linear."""
    if len(rows.blocks) == 1 and rows.blocks[0].columns is None:
        return rows
    m = rows.blocks[-1].x.shape[1]
    x = jnp.concatenate([all_columns(block, m) for block in rows.blocks])
    return rows._replace(blocks=(Block(x, x.T, None),))


def all_columns(block: Block, m: int) -> Array:
    """The rows [n, m] of a block, with the columns that were left out."""
    if block.columns is None:
        return block.x
    return jnp.zeros((block.x.shape[0], m), block.x.dtype).at[:, block.columns].set(block.x)


def seen_by(model: Model, params: Params, rows: Rows) -> Array:
    """What `model.output` takes of the rows: the first layer's products [n, width], or the rows [n, m]."""
    return products(params[0]["w"], rows) if is_linear_first(model) else merged(rows).blocks[0].x


def pull_back(d: Array, rows: Rows, m: int) -> Array:
    """d.T @ x over all rows, [width, m], for d [n, width]: the transpose of `products`."""
    start, total = 0, jnp.zeros((d.shape[1], m), d.dtype)
    for block in rows.blocks:
        n = block.x.shape[0]
        part = block.xt @ d[start : start + n]
        part = jax.lax.optimization_barrier(part).T  # else XLA makes it d.T @ xt.T, which is slower
        if block.columns is None:
            total = total + part
        else:
            total = total.at[:, block.columns].add(part, indices_are_sorted=True, unique_indices=True)
        start += n
    return total


def free_rows(rows: Rows, free: int) -> Array:
    """The free rows [free, m]: the last ones of the last block."""
    return rows.blocks[-1].x[-free:]


def replace_free(rows: Rows, x: Array) -> Rows:
    """`rows` with the free rows replaced by x [free, m]; in place where the compiler owns the buffers."""
    last = rows.blocks[-1]
    start = last.x.shape[0] - x.shape[0]
    moved = Block(
        jax.lax.dynamic_update_slice(last.x, x, (start, 0)),
        jax.lax.dynamic_update_slice(last.xt, x.T, (0, start)),
        last.columns,
    )
    return rows._replace(blocks=(*rows.blocks[:-1], moved))
