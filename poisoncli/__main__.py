"""`python -m poisoncli` and the console script `poison`."""

from __future__ import annotations

import os
import signal
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
    from poisoncli.cli import app

    app()


if __name__ == "__main__":
    main()
