"""The verbs, gathered."""

from __future__ import annotations

import typer

from poisoncli.cli import attack, audit, check, collapse, datasets, defend, evaluate, export, report, sweep

app = typer.Typer(
    name="poison",
    help=(
        "An attacker controls part of your training data: how much damage can he do to your model, and what "
        "helps?\n\n"
        "`poison audit` gives the whole answer for your data. Step by step: craft worst-case poison with `poison "
        "attack`, train the victim on it with `poison evaluate`, draw the answer with `poison report`. Every verb "
        "has --help."
    ),
    epilog="Example: poison attack --learn-lambda && poison evaluate run.h5 && poison report run.h5",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
audit.register(app)
attack.register(app)
defend.register(app)
evaluate.register(app)
report.register(app)
sweep.register(app)
export.register(app)
collapse.register(app)
datasets.register(app)
check.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(f"poison {importlib.metadata.version('poisoncli')}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """The tool as a whole; its help stands above."""
