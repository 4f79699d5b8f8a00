"""What goes wrong, as a user is told it."""


class PoisonError(Exception):
    """The request was wrong or cannot be met; the message is one sentence that names the cure. Exit status 2."""


class FailedError(PoisonError):
    """The request was right, but it failed while running (diverged, disk full). Exit status 1."""


class UnwritableError(FailedError):
    """The disk is full, or a file cannot be written: it is not the run that failed. Exit status 1."""


class Interrupted(FailedError):
    """Ctrl-C or SIGTERM came; what was done until then is kept. Exit status 130 or 143."""


class MissingDataError(PoisonError):
    """A data set's file is neither at hand nor to be had; the message says where to put it. A sweep goes on."""
