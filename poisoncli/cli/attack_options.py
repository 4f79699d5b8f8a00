"""The options of `poison attack`, in the panels of its help."""

from __future__ import annotations

from typing import Annotated

import typer

DATA, MODEL, ATTACK, LIMITS, OUTPUT = "Data", "Victim", "Attack", "What poison may be", "Output"

Dataset = Annotated[
    str | None,
    typer.Option(
        help="A data set (see `poison datasets`) or your own .csv, .parquet, .npz, .h5, .svm, or a folder of "
        "texts. Default: digits.",
        rich_help_panel=DATA,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(help="The column (or array) of the targets in your own file.", rich_help_panel=DATA),
]
Classes = Annotated[
    str | None, typer.Option(help="The classes to tell apart, such as 0,8; or all.", rich_help_panel=DATA)
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=KIND",
        help="What a column of your file is: number, whole, yes/no, category, text, date or identifier. May be "
        "repeated. Default: as its cells look.",
        rich_help_panel=DATA,
    ),
]
Ignore = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Columns of your file to leave out.", rich_help_panel=DATA)
]
Train = Annotated[
    str | None, typer.Option(metavar="FILE", help="Your training rows, with --test.", rich_help_panel=DATA)
]
Val = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Your validation rows. Default: drawn from --train.", rich_help_panel=DATA),
]
Test = Annotated[str | None, typer.Option(metavar="FILE", help="Your test rows.", rich_help_panel=DATA)]
SplitColumn = Annotated[
    str | None, typer.Option(help="A column that says train, val or test.", rich_help_panel=DATA)
]
GroupColumn = Annotated[
    str | None,
    typer.Option(help="A column of groups, of which none has rows in two parts.", rich_help_panel=DATA),
]
TimeColumn = Annotated[
    str | None,
    typer.Option(help="A column of times: training rows come before test rows.", rich_help_panel=DATA),
]
Balance = Annotated[
    bool,
    typer.Option("--balance", help="Draw as many rows of each class from your file.", rich_help_panel=DATA),
]
NTrain = Annotated[
    int | None, typer.Option(help="Training rows; the defaults are the papers'.", rich_help_panel=DATA)
]
NVal = Annotated[
    int | None,
    typer.Option(help="Validation rows, trusted by the learner and known to the attacker.", rich_help_panel=DATA),
]
NTest = Annotated[int | None, typer.Option(help="Test rows, seen by nobody.", rich_help_panel=DATA)]
DataFolder = Annotated[
    str | None,
    typer.Option(
        help="Folder of the data sets' files; otherwise $POISON_DATA_DIR, the cache, then the network.",
        rich_help_panel=DATA,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="logistic, mlp, cnn, svm or multisvm; with real targets linear, mlp; or your own JAX, Equinox or "
        "Flax model as FILE.py:NAME. Default: what fits the data.",
        rich_help_panel=MODEL,
    ),
]
Trainer = Annotated[
    str | None,
    typer.Option(
        help="sgd, momentum or adam; -o trainer.size=ROWS for mini-batches. Default: sgd.",
        rich_help_panel=MODEL,
    ),
]
Reg = Annotated[
    str | None,
    typer.Option(
        help="Penalty on the weights: none, l2 or l1. Default: none, or l2 where a lambda is given or learned.",
        rich_help_panel=MODEL,
    ),
]
Lambda = Annotated[
    str | None,
    typer.Option(
        "--lambda",
        metavar="VALUE|clean",
        help="Fixed coefficient of the penalty in the mean loss; clean: by cross-validation on clean rows.",
        rich_help_panel=MODEL,
    ),
]
LearnLambda = Annotated[
    bool | None,
    typer.Option(
        "--learn-lambda",
        help="The learner learns lambda on the validation rows, and the attacker knows it; with --lambda clean "
        "he learns it before there is poison, and keeps it.",
        rich_help_panel=MODEL,
    ),
]
PerLayer = Annotated[
    bool | None,
    typer.Option("--per-layer", help="Learn one lambda for each layer.", rich_help_panel=MODEL),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="rmd, gradient-canceling or flip (random labels); with real targets stealthy, flip, statp; to "
        "pass filters kkt, minmax, influence, alfa. With --help: its options.",
        rich_help_panel=ATTACK,
    ),
]
Hypergradient = Annotated[
    str | None,
    typer.Option(
        help="How rmd differentiates: reverse, forward, cg or exact. Default: reverse.", rich_help_panel=ATTACK
    ),
]
TargetRows = Annotated[
    str | None,
    typer.Option(
        metavar="val|test|train|class:K|rows:FILE",
        help="The rows to be classified wrongly; FILE lists row numbers. Default: val, the validation rows.",
        rich_help_panel=ATTACK,
    ),
]
TargetLabel = Annotated[
    str | None,
    typer.Option(
        metavar="K", help="The class to push these rows to. Default: any wrong one.", rich_help_panel=ATTACK
    ),
]
PoisonLabel = Annotated[
    str | None,
    typer.Option(
        metavar="other|nearest|least-likely|K",
        help="The class that poison claims to be, of more than two. Default: other, any but its own.",
        rich_help_panel=ATTACK,
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(
        help="Share of the training rows that the attacker replaces or adds, in (0, 1). Default: 0.35, "
        "0.45 with real targets, 0.03 where he adds.",
        rich_help_panel=ATTACK,
    ),
]
Frozen = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Columns of your table that poison keeps as in the row that it replaces; may be repeated, or with "
        "commas.",
        rich_help_panel=LIMITS,
    ),
]
OnlyUp = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Columns that poison may only raise.", rich_help_panel=LIMITS),
]
OnlyDown = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Columns that poison may only lower.", rich_help_panel=LIMITS),
]
ColumnsChanged = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="In at most K columns a poison row differs from the row that it replaces. Default: any.",
        rich_help_panel=LIMITS,
    ),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="COLUMN=LOW:HIGH",
        help="Range of a column, such as age=18:99 or born=1990-01-01:; may be repeated. Default: that of the "
        "clean training rows.",
        rich_help_panel=LIMITS,
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="NAME=VALUE",
        help="An option of the method; of others as model.NAME, trainer.NAME, dataset.NAME. May be repeated.",
        rich_help_panel=ATTACK,
    ),
]
Repetitions = Annotated[
    int | None,
    typer.Option(help="Repetitions with other random splits. Default: 1.", rich_help_panel=ATTACK),
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same result. Default: 0.", rich_help_panel=ATTACK)]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Read all this from a file; options win over it.",
        rich_help_panel=ATTACK,
    ),
]
Out = Annotated[str, typer.Option(help="The run file to write.", rich_help_panel=OUTPUT)]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel=OUTPUT)]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on after an interruption; the result is the same to the bit.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print a JSON object instead of the path.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.", rich_help_panel=OUTPUT)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
Help = Annotated[
    bool,
    typer.Option("--help", "-h", help="Show this, or with --method the method's options.", rich_help_panel=OUTPUT),
]
