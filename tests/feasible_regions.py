"""Two sets like those of word counts."""

import numpy as np

from poisoncli.sanitization.feasible_set import FeasibleSet

D = 25


def region(seed: int, kind: str, integer: bool) -> FeasibleSet:
    """Two sets like those of word counts: small means, a few constraints that bind."""
    rng = np.random.default_rng(seed)
    center = rng.gamma(0.5, 0.6, (2, D))
    v = center[1] - center[0]
    rows, bounds = np.zeros((2, 0, D)), np.zeros((2, 0))
    if kind in ("slab", "all"):
        middle = center @ v
        rows = np.stack([[v, -v]] * 2)
        bounds = np.stack([middle + 0.5, 0.5 - middle], axis=1)
    if kind in ("decoy", "all"):
        theta = rng.normal(size=(2, 1, D)) * 0.3
        rows = np.concatenate([rows, theta], axis=1)
        bounds = np.concatenate([bounds, np.einsum("pjd,pd->pj", theta, center) - 0.1], axis=1)
    radius = np.full(2, np.inf) if kind == "box" else np.full(2, 4.0)
    high = np.ceil(rng.random(D) * 4 + 1)
    return FeasibleSet(np.zeros(1), high, center, radius, rows, bounds, integer)
