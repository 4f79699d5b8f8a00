"""The command line: each verb parses, calls the package, and prints."""

from poisoncli.cli.app import app

__all__ = ["app"]
