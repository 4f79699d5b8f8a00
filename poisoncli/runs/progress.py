"""How a stage tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[int, int, str], None]  # steps done, steps in all, what is being done
