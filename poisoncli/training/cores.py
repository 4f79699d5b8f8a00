"""How many cores this process may use: its affinity and the limit of its container, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores for a pool of threads, at least 1."""
    counted = getattr(os, "process_cpu_count", os.cpu_count)()  # from Python 3.13 on
    if hasattr(os, "sched_getaffinity"):
        counted = min(counted or 1, len(os.sched_getaffinity(0)))
    quota = _quota()
    return max(1, min(counted or 1, math.ceil(quota) if math.isfinite(quota) else counted or 1))


def _quota() -> float:
    """The share of time that a control group allows, in cores; infinity where there is no limit."""
    for limit, period in (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, 1
        try:
            words = (CGROUP / limit).read_text(encoding="ascii").split()
            words += (CGROUP / period).read_text(encoding="ascii").split() if period else []
            quota, every = float(words[0].replace("max", "inf")), float(words[1])
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and every > 0:
            return quota / every
    return math.inf
