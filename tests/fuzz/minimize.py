"""A failing case made smaller as long as it fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fuzz.case import Case
from fuzz.pool import Zygote

_MOST = 150  # tries


def minimized(zygote: Zygote, case: Case, wrong: str) -> Case:
    """The smallest case found that still is wrong in the same way."""
    tries = 0
    smaller = True
    while smaller and tries < _MOST:
        smaller = False
        for candidate in _smaller(case):
            tries += 1
            if tries > _MOST:
                break
            if _same(zygote.judge(candidate)[1], wrong):
                case, smaller = candidate, True
                break
    return case


def _same(one: str, other: str) -> bool:
    return one.split(":")[:2] == other.split(":")[:2]


def _smaller(case: Case) -> Iterator[Case]:
    """One argument, two, a command that follows, a file, or some lines of a file less."""
    args = case.args
    for width in (4, 2, 1):
        for at in range(1, len(args) - width + 1):
            yield dataclasses.replace(case, args=args[:at] + args[at + width :])
    for at in range(len(case.then)):
        yield dataclasses.replace(case, then=case.then[:at] + case.then[at + 1 :])
    for name in case.files:
        yield dataclasses.replace(
            case, files={other: content for other, content in case.files.items() if other != name}
        )
    if case.stdin:
        yield dataclasses.replace(case, stdin="")
    for name, content in case.files.items():
        lines = content.splitlines(keepends=True)
        if b"\0" in content or len(lines) < 2:
            continue
        for width in {max(1, len(lines) // 2), max(1, len(lines) // 8), 1}:
            for at in range(0, min(len(lines), 40 * width), width):
                yield dataclasses.replace(
                    case, files={**case.files, name: b"".join(lines[:at] + lines[at + width :])}
                )
