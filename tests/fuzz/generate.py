"""All kinds of cases together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import hypothesis
from fuzz import (
    archives,
    arguments,
    configs,
    counts,
    own_code,
    own_tables,
    own_texts,
    places,
    run_files,
    sweep_folders,
    tables,
    victim_models,
)
from fuzz.case import Case
from fuzz.templates import Templates
from hypothesis import strategies as st


def drawn(strategy: st.SearchStrategy[Case], count: int, seed: int) -> list[Case]:
    """`count` cases of a strategy; none is run here, so none fails here."""
    found: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[:count]


def cases(count: int, seed: int, made: Templates, few: bool = False) -> Iterator[Case]:
    """About `count` cases of all kinds, the same for the same seed, well mixed; `few`: from cheap templates."""
    rng = random.Random(seed)
    arguments.look()  # before Hypothesis draws, which wants nothing else to be random
    for name in made.names(few):
        made.run(name)
    if not few:
        made.sweep()
    parts: list[Callable[[int], list[Case]]] = [
        lambda n: drawn(arguments.cases(made, few), n, seed),
        lambda n: drawn(configs.runs(), n, seed),
        lambda n: drawn(configs.sweeps(made), n, seed),
        lambda n: [run_files.case(rng, made, few) for _ in range(n)],
        lambda n: [rng.choice(tables.KINDS)(rng) for _ in range(n)],
        lambda n: [places.paths(rng, made, few) for _ in range(n)],
        lambda n: [places.streams(rng, made, few) for _ in range(n)],
        lambda n: [own_tables.case(rng) for _ in range(n)],
        lambda n: [own_texts.case(rng) for _ in range(n)],
        lambda n: [own_code.plugins(rng, made, few) for _ in range(n)],
        lambda n: [own_code.victims(rng, made, few) for _ in range(n)],
        lambda n: [victim_models.case(rng) for _ in range(n)],
        lambda n: [sweep_folders.grids(rng) for _ in range(n)],
        lambda n: [] if few else [sweep_folders.folders(rng, made) for _ in range(n)],
    ]
    shares = (0.22, 0.09, 0.10, 0.22, 0.22, 0.04, 0.01, 0.03, 0.01, 0.015, 0.01, 0.015, 0.01, 0.01)
    left = [(part, round(share * count)) for part, share in zip(parts, shares, strict=True)]
    while left:  # in turns, so that every part of the whole is like the whole
        again = []
        for part, number in left:
            now = min(number, max(1, number // 10))
            seed += 1
            yield from part(now) if number else ()
            if number > now:
                again.append((part, number - now))
        left = again
    if not few:
        yield from archives.cases(made)
        yield from counts.cases(made)
