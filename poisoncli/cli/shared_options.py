"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

Metric = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What tables, figures and thresholds speak of: error, balanced-error, recall, recall:CLASS, auc, "
        "log-loss; of real targets nmse, mae, r2. Default: error, nmse.",
    ),
]
Victims = Annotated[
    list[str] | None,
    typer.Option(
        "--victim",
        metavar="MODULE:NAME",
        help="Train this model too, to measure it: anything with fit and predict, such as "
        "sklearn.ensemble:RandomForestClassifier or mine.py:pipeline, a class, factory or instance; options as "
        "-o victim.NAME=VALUE. May be repeated. The run file keeps the result.",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Take attacks, defenses, models, data sets from this file too (see `poison check`), or as "
        "FILE.py:NAME a JAX, Equinox or Flax model. May be repeated.",
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(
        "--devices",
        metavar="N",
        min=1,
        help="Spread repetitions, and settings that are crafted together, over so many devices. [default: 1]",
    ),
]
# of the verbs that judge a data set without an attack
Target = Annotated[str | None, typer.Option("--target", help="With --dataset: the column of the targets.")]
Classes = Annotated[
    str | None, typer.Option("--classes", help="With --dataset: the two classes, such as ham,spam.")
]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=KIND", help="With --dataset: what a column is, such as zip=category."),
]
Ignore = Annotated[
    str | None, typer.Option("--ignore", metavar="NAMES", help="With --dataset: columns to leave out.")
]
# of every verb
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Folder of the data sets' files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
