"""A case: a command line with the files that it finds, what became of it, and what is wrong about that."""

from __future__ import annotations

import base64
import dataclasses
import json
import signal
import zlib
from pathlib import Path
from typing import Any

MEMORY = 3 * 2**30  # bytes that a child may fill
SECONDS = 60.0  # that it may take
ALLOWED = {0, 1, 2, 3, 130, 143}
_ENDED = "in the middle of a long computation"  # nothing is tidied then, and locks are nobody's any more
_FORBIDDEN = (
    "Traceback (most recent call last)",
    "failed unexpectedly",
    "Fatal Python error",
    "Segmentation fault",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One run of the command line.

    kind: the row of the table that it counts for; args: after `poison`.
    files: by name (with folders), what lies in its working folder; a name that ends in / is an empty folder.
    stdin: what it reads; environment: variables in addition.
    signal: the name of one that it is sent `after` seconds.
    streams: how stdout and stderr are: `files`, `closed`, `full` (a full device), `pipe` (nobody reads) or `ascii`;
        all but the first run in a new interpreter, for its end matters too. `python`: the arguments are Python's.
    then: command lines that follow in the same folder, as long as each is done.
    """

    kind: str
    args: tuple[str, ...]
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    stdin: str = ""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    signal: str = ""
    after: float = 0.0
    streams: str = "files"
    then: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> str:
        """As text, with which `from_json` makes the same case; files that are no text are compressed."""
        fields = dataclasses.asdict(self)
        fields["files"] = {name: _pack(content) for name, content in self.files.items()}
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        kept = {name: value for name, value in fields.items() if value not in (usual[name], {}, ())}
        return json.dumps(kept, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Case:
        fields: dict[str, Any] = json.loads(text)
        files = {name: _unpack(content) for name, content in fields.pop("files", {}).items()}
        then = tuple(map(tuple, fields.pop("then", ())))
        return cls(args=tuple(fields.pop("args")), files=files, then=then, **fields)

    def lay_out(self, folder: Path) -> None:
        """Write its files into `folder`."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content)


def _pack(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or text.startswith("zlib:"):
        return "zlib:" + base64.b85encode(zlib.compress(content, 9)).decode()
    return text


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text[5:])) if text.startswith("zlib:") else text.encode()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a case: the exit status (negative for a signal that ended it), what it printed, what it took.

    memory: bytes, the most that it had in memory at once; seconds: by the clock; cpu: of a core.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float
    memory: int
    hung: bool

    @property
    def word(self) -> str:
        """The outcome in a word, for the table."""
        words = {0: "done", 1: "failed, said", 2: "refused", 3: "above a threshold", 130: "interrupted"}
        killed = self.status in (-signal.SIGKILL, 143)
        return "killed" if killed else words.get(self.status, "broken")


def complaint(case: Case, outcome: Outcome, folder: Path) -> str:
    """What is wrong with an outcome, in a few words that are the same for the same fault; empty if nothing is."""
    if outcome.hung:
        return "hangs"
    if outcome.memory > MEMORY:
        return "over the memory limit"
    for word in _FORBIDDEN:
        if word in outcome.stderr:
            last = outcome.stderr.strip().splitlines()[-1]
            return f"{word}: {last[:160]}"
    wanted = {-signal.SIGKILL} if case.signal == "SIGKILL" else set()
    if outcome.status not in ALLOWED | wanted:
        return f"exit status {outcome.status}"
    told = outcome.stderr.strip() or (case.args[:1] == ("check",) and outcome.stdout)  # which says it on stdout
    if outcome.status in (1, 2) and not told and case.streams in ("files", "ascii", "python"):
        return "refused without a word"
    if case.signal != "SIGKILL" and _ENDED not in outcome.stderr:
        left = [path for ending in ("writing", "lock") for path in sorted(folder.rglob(f"*.{ending}"))]
        if left:
            return f"left {left[0].suffix} behind"
    return _unreadable(case, folder)


def _unreadable(case: Case, folder: Path) -> str:
    """Whether a run file that the command made does not open."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import run_file

    for path in sorted([*folder.rglob("*.h5"), *folder.rglob("*.h5.partial")]):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in case.files:
            try:
                run_file.read(path, unfinished=path.suffix == ".partial")
            except PoisonError as error:
                return f"half-written {path.suffix}: {error}"[:160]
    return ""
