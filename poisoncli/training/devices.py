"""Repetitions and settings are spread over several devices, each of which computes its share of them."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from poisoncli.core.errors import PoisonError

VARIABLE = "POISON_DEVICES"  # how many; processes started from here take as many


def count() -> int:
    """How many devices the user gives. Raises `PoisonError` if there are not as many."""
    text = os.environ.get(VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise PoisonError(f"{VARIABLE} is {text!r}: give a whole number from 1 on")
    wanted, there = int(text), len(jax.devices())
    if wanted > there:
        kind = jax.devices()[0].platform
        cure = " (a CPU is one device, whatever its cores)" if kind == "cpu" else ""
        raise PoisonError(f"--devices {wanted} are more than there are: ask for at most {there}{cure}")
    return wanted


def groups(repetitions: int, at_once: int) -> tuple[slice, ...]:
    """Repetitions in groups that the devices share evenly: a multiple of their number, or fewer than they are.

    at_once: how many one device can take.
    """
    devices = count()
    each = max(1, min(at_once, -(-repetitions // devices)))
    found, start = [], 0
    while start < repetitions:
        left = repetitions - start
        size = min(each * devices, left - left % devices) or left
        found.append(slice(start, start + size))
        start += size
    return tuple(found)


def mesh(repetitions: int, settings: int = 1) -> Mesh | None:
    """The devices as [repetitions, settings], as many as both can be divided by; None for one device."""
    devices = count()
    shares = [
        (a, b)
        for a in range(1, min(devices, repetitions) + 1)
        for b in range(1, min(devices, settings) + 1)
        if repetitions % a == 0 and settings % b == 0 and a * b <= devices
    ]
    a, b = max(shares, key=lambda share: (share[0] * share[1], share[0]))
    if a * b == 1:
        return None
    return Mesh(np.array(jax.devices()[: a * b]).reshape(a, b), ("repetitions", "settings"))


def spread(tree: Any, over: Mesh, axes: int = 1) -> Any:
    """`tree` with its leading axes, repetitions or repetitions and settings, divided among devices."""
    names = ("repetitions", "settings")[:axes]
    return jax.device_put(tree, NamedSharding(over, PartitionSpec(*names)))


def evenly(tree: Any, repetitions: int) -> Any:
    """`tree` for a function over repetitions, spread; the last is repeated until all devices have as many."""
    devices = min(count(), repetitions)
    if devices == 1:
        return tree
    index = np.minimum(np.arange(-(-repetitions // devices) * devices), repetitions - 1)
    over = mesh(len(index))
    assert over is not None  # as many as devices
    return spread(jax.tree.map(lambda leaf: leaf[index], tree), over)
