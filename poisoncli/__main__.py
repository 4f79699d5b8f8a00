"""`python -m poisoncli` and the console script `poison`."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    """Before a verb begins and after it has ended nothing is at stake, and imports need not unwind."""
    os.write(2, b"poison: interrupted: repeat the command\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line; verbs handle signals on their own, see `cli.signals`."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` and `&` set it
            signal.signal(number, _leave)
    _open_streams()
    from poisoncli.cli import app

    try:
        app()
    except OSError as error:  # of the help, which no verb prints
        from poisoncli.cli.common import drop_output

        drop_output()
        print(f"poison: cannot write the output ({error.strerror})", file=sys.stderr)
        raise SystemExit(1) from None


def _open_streams() -> None:
    """Streams that the caller closed lead nowhere; letters that an output does not know become question marks."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
