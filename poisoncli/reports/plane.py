"""Pictures of data with one feature: the rows in the plane, what a defense removes, what the attacker climbs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.bilevel.stealth import Tradeoff, fit_clean, landscape
from poisoncli.core.data import Data
from poisoncli.runs import description, serialize
from poisoncli.runs.poisoned import poisoned
from poisoncli.runs.prepare import Prepared
from poisoncli.runs.run_file import RunFile

CLEAN, POISON, REMOVED = "#0072B2", "#009E73", "#D55E00"
_GRID = 61  # places across and up at which the attacker's objective is computed


def draw_rows(axis: Any, content: RunFile, prepared: Prepared, name: str) -> None:
    """Rows of the first repetition at the last stage, those that a defense removes, and the lines learned.

    Behind BayesClean lie the regions of its sets I1 and I2 (SPR Figs. 1, 4, 9 and 14).
    """
    stage = len(content.poison.counts) - 1
    data, bad = _rows(content, prepared, stage)
    x, y = data.x[:, 0], data.y
    gone = content.defenses[name].weight[0, stage] == 0
    if name == "bayesclean":
        _draw_regions(axis, content, data)
    axis.plot(x[~bad], y[~bad], "o", color=CLEAN, markersize=3, label="clean")
    axis.plot(x[bad], y[bad], "^", color=POISON, markersize=5, label="poison")
    axis.plot(x[gone], y[gone], "x", color=REMOVED, markersize=6, label="removed")
    ends = np.array([x.min(), x.max()])
    lines = (
        ("none", 0, "k--", "learned from clean rows"),
        ("none", stage, "g:", "from all rows"),
        (name, stage, "r-", "from rows kept"),
    )
    for key, at, style, label in lines:
        _draw_line(axis, content, key, at, ends, style, label)
    _finish(axis)


def draw_landscape(axis: Any, content: RunFile, prepared: Prepared) -> Any:
    """What the attacker climbs as one point of the last batch moves, and the way it went (SPR Figs. 2 and 3).

    Returns the colors, for a bar beside them.
    """
    stage, poison = len(content.poison.counts) - 1, content.poison
    data, bad = _rows(content, prepared, stage)
    first = int(poison.counts[stage - 1])
    x, y = data.x[:, 0], data.y
    across, up = _span(x), _span(y)
    places = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(np.float32)
    values = _objective(content, prepared, data, stage, places).reshape(_GRID, _GRID)
    colors = axis.pcolormesh(across, up, values, cmap="viridis", shading="gouraud", rasterized=True)
    axis.plot(x[~bad], y[~bad], "o", color="#9fd0f5", markersize=2.5, label="clean")
    axis.plot(x[bad], y[bad], "^", color="white", markeredgecolor="black", markersize=5, label="poison")
    ends = across[[0, -1]]
    _draw_line(axis, content, "none", 0, ends, "w--", "learned from clean rows")
    _draw_line(axis, content, "none", stage, ends, "r-", "from all rows")
    last = [[poison.x[0, first, 0], poison.y[0, first]]]
    way = np.concatenate([poison.trail[0, stage], last])
    axis.plot(way[:, 0], way[:, 1], color="magenta", linewidth=1, label="way of one point")
    for place, marker, label in ((way[0], "o", "its start"), (way[-1], "*", "its end")):
        axis.plot(
            *place, marker, color="red", markeredgecolor="white", markersize=10, linestyle="none", label=label
        )
    axis.set_xlim(*ends)
    axis.set_ylim(*up[[0, -1]])
    _finish(axis)
    return colors


def _span(values: np.ndarray) -> np.ndarray:
    """Places from a little below the least to a little above the largest of `values`."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low)
    return np.linspace(low - margin, high + margin, _GRID)


def _rows(content: RunFile, prepared: Prepared, stage: int) -> tuple[Data, np.ndarray]:
    """The training rows of the first repetition at a stage, and which of them are poison."""
    data, bad, _ = poisoned(prepared.split.train, content.poison, stage)
    return Data(*(leaf[0] for leaf in data)), bad[0]


def _draw_line(axis: Any, content: RunFile, key: str, stage: int, ends: np.ndarray, style: str, label: str) -> None:
    """The line of a linear victim of the first repetition."""
    params = content.evaluations[key].params
    if len(params) == 1:
        level = ends * params[0]["w"][0, stage, 0, 0] + params[0]["b"][0, stage, 0]
        axis.plot(ends, level, style, linewidth=1.8, label=label)


def _draw_regions(axis: Any, content: RunFile, data: Data) -> None:
    """The regions of the sets I1 and I2 of BayesClean."""
    choice = serialize.choice_from_json(content.defenses["bayesclean"].choice)
    defense = description.build(choice, "defense")
    x = np.linspace(data.x.min(), data.x.max(), 400)
    mean, std = defense.predictive(data.x, data.y, x[:, None])
    (low, high), (lowest, highest) = defense.regions(mean, std)
    outer = {"color": "#D55E00", "alpha": 0.18, "linewidth": 0}
    # with the printed rule I2 is empty where the mean lies far below zero
    axis.fill_between(x, high, highest, where=highest > high, label=f"I2 (c2 = {defense.c2:g})", **outer)
    axis.fill_between(x, lowest, low, where=lowest < low, **outer)
    inner = {"color": "#CC79A7", "alpha": 0.35, "linewidth": 0}
    axis.fill_between(x, low, high, label=f"I1 (c1 = {defense.c1:g})", **inner)


def _objective(content: RunFile, prepared: Prepared, data: Data, stage: int, places: np.ndarray) -> np.ndarray:
    """What the attacker climbs at each of the `places` [k, 2] of the first point of the stage's batch."""
    attack = description.build(prepared.run.attack, "attack")
    trainer = attack.surrogate(prepared.trainer)
    poison = content.poison
    batch = poison.replaced[0, poison.counts[stage - 1] : poison.counts[stage]]
    log_lambda = jnp.asarray(poison.log_lambda[:1, stage])
    train, target = (Data(*(leaf[:1] for leaf in part)) for part in (prepared.split.train, prepared.split.val))
    key = jax.random.key(0)  # a linear model starts from zeros whatever the key
    clean_fit = fit_clean(key[None], prepared.objective, trainer, train, log_lambda)
    relative = attack.normalize == "objectives" and attack.alpha < 1
    scales = poison.scales[0]
    zero = jnp.zeros(())
    tradeoff = Tradeoff(
        alpha=jnp.asarray(attack.alpha),
        damage_ref=jnp.asarray(scales[stage, 0] if relative else 1.0),
        risk_ref=jnp.asarray(np.nanmax(scales[:, 1]) if relative else 1.0),
        rate=zero, low=zero, high=zero, y_low=zero, y_high=zero,
    )  # fmt: skip
    found = landscape(
        key,
        prepared.objective,
        trainer,
        Data(*map(jnp.asarray, data)),
        log_lambda[0],
        jnp.asarray(batch),
        Data(*(jnp.asarray(leaf[0]) for leaf in target)),
        jax.tree.map(lambda leaf: leaf[0], clean_fit),
        tradeoff,
        jnp.asarray(places),
    )
    return np.asarray(found)


def _finish(axis: Any) -> None:
    axis.set_xlabel("feature, standardized")
    axis.set_ylabel("target, standardized")
