"""TOML is written: Python's library reads it only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any


def written(content: Mapping[str, Any]) -> str:
    """TOML that reads back as `content`: its plain values first, then a section for each table."""
    plain = [f"{_key(name)} = {_value(item)}" for name, item in content.items() if not isinstance(item, Mapping)]
    for name, table in content.items():
        if isinstance(table, Mapping):
            plain += ["", f"[{_key(name)}]", *(f"{_key(entry)} = {_value(item)}" for entry, item in table.items())]
    return "\n".join(plain).lstrip("\n") + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """A value, tables within others in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)  # inf, nan
    if isinstance(value, bool | int):
        return str(value).lower()
    return _text(str(value))
