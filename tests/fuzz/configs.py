"""TOML for runs and for sweeps: valid ones with one or two entries replaced, drawn by Hypothesis."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS
from fuzz.templates import Templates
from hypothesis import strategies as st

_RUN: dict[str, Any] = {
    "dataset": {"name": "digits", "classes": ["0", "8"]},
    "model": "logistic",
    "trainer": {"name": "sgd", "rate": 0.1},
    "attack": {"name": "rmd", "outer_steps": 2, "inner_steps": 3},
    "reg": "l2",
    "lambda": 0.1,
    "fraction": 0.2,
    "n_train": 20,
    "n_val": 10,
    "n_test": 10,
    "repetitions": 1,
    "seed": 0,
}
_SWEEP: dict[str, Any] = {
    "title": "A sweep",
    "draw": ["test_error", "log_lambda"],
    "columns": 2,
    "defend": ["l2"],
    "defense": {"l2": {"fraction": 0.1}},
    "base": _RUN,
    "panel": {"one": {"seed": 1, "selected": [0, 1]}, "two": {"against": "one", "line": {"b": {"seed": 3}}}},
    "line": {"a": {"attack": "flip"}, "b": {"lambda": 0.2}},
    "override": {"repetitions": 1},
    "picture": "",
}
_KEYS = ("name", "line", "selected", "against", "seed", "attack", "x", "", "[/red]", "a.b", "lambda_")
_FINITE = [number for number in NUMBERS if not isinstance(number, int) or abs(number) < 2**63]


def _value() -> st.SearchStrategy[Any]:
    leaf = st.one_of(
        st.sampled_from(_FINITE),
        st.sampled_from(WORDS),
        st.booleans(),
        st.sampled_from(("flip", "svm", "l2", "all", "one", "norm+time")),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=2)
        ),
        max_leaves=4,
    )


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x1b", "\\u001b").replace("\x7f", "\\u007f")
    return json.dumps(value) if not isinstance(value, float) else repr(value)


def document(fields: dict[str, Any]) -> bytes:
    """A TOML document of these entries."""
    return "".join(f"{json.dumps(name)} = {toml(value)}\n" for name, value in fields.items()).encode()


@st.composite
def _changed(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    fields = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 2))):
        place: Any = fields
        while True:
            name = draw(st.sampled_from([*place, "new"]))
            if not (isinstance(place.get(name), dict) and place[name] and draw(st.booleans())):
                break
            place = place[name]
        if draw(st.integers(0, 5)):
            place[name] = draw(_value())
        else:
            place.pop(name, None)
    return fields


@st.composite
def runs(draw: st.DrawFn) -> Case:
    """`poison attack` with the TOML of a run."""
    content = document(draw(_changed(_RUN)))
    content = draw(_broken(content))
    return Case("TOML of a run", ("attack", "--config", "run.toml"), {"run.toml": content})


@st.composite
def sweeps(draw: st.DrawFn, made: Templates) -> Case:
    """The TOML of a sweep: listed, run, or drawn from a folder that holds it."""
    content = draw(_broken(document(draw(_changed(_SWEEP)))))
    how = draw(st.integers(0, 5))
    if how < 4:
        return Case("TOML of a sweep", ("sweep", "--config", "s.toml", "--dry-run"), {"s.toml": content})
    if how == 4:
        return Case("TOML of a sweep", ("sweep", "--config", "s.toml", "--out", "fig"), {"s.toml": content})
    cells = {f"fig/{name}.h5": made.run("flip")["flip.h5"] for name in ("one-a", "one-b", "two-a", "two-b")}
    return Case("TOML of a sweep", ("report", "fig"), {"fig/sweep.toml": content, **cells})


@st.composite
def _broken(draw: st.DrawFn, content: bytes) -> bytes:
    """Now and then no TOML at all."""
    how = draw(st.integers(0, 15))
    if how == 0:
        return content[: draw(st.integers(0, len(content)))]
    if how == 1:
        return draw(
            st.sampled_from(
                (
                    b"\xff\xfe",
                    b"a = " + b"[" * 9000,
                    b"[a.b]\n[a]\nb=1",
                    b"",
                    b"\xef\xbb\xbfseed = 1",
                    b"seed = 1\n" * 2,
                )
            )
        )
    return content
