"""TOML that is written reads back as it was."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisoncli.tables.toml_text import written

VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab\n\"'\x7fé.-", max_size=4), VALUES, max_size=4))
def test_what_is_written_reads_back(content):
    assert tomllib.loads(written(content)) == content


@pytest.mark.parametrize("value", [1e-6, 1e22, float("inf"), -0.5])
def test_floats_stay_floats(value):
    read = tomllib.loads(written({"a": {"b": value}}))["a"]["b"]
    assert (read, type(read)) == (value, float)
