"""`python -m poisoncli` and the console script `poison`."""

from poisoncli.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
