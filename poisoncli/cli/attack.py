"""poison attack: craft poison."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from poisoncli.cli import choices
from poisoncli.cli.common import Devices, Plugins, as_json, guarded, note, progress

DATA, MODEL, ATTACK, LIMITS, OUTPUT = "Data", "Victim", "Attack", "What poison may be", "Output"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("attack", add_help_option=False)(guarded(attack))


def attack(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="A data set (see `poison datasets`) or your own .csv, .parquet, .npz, .h5, .svm, or a folder of "
            "texts. Default: digits.",
            rich_help_panel=DATA,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The column (or array) of the targets in your own file.", rich_help_panel=DATA),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="The classes to tell apart, such as 0,8; or all.", rich_help_panel=DATA)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=KIND",
            help="What a column of your file is: number, whole, yes/no, category, text, date or identifier. May be "
            "repeated. Default: as its cells look.",
            rich_help_panel=DATA,
        ),
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Columns of your file to leave out.", rich_help_panel=DATA)
    ] = None,
    train: Annotated[
        str | None, typer.Option(metavar="FILE", help="Your training rows, with --test.", rich_help_panel=DATA)
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Your validation rows. Default: drawn from --train.", rich_help_panel=DATA
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Your test rows.", rich_help_panel=DATA)] = None,
    split_column: Annotated[
        str | None, typer.Option(help="A column that says train, val or test.", rich_help_panel=DATA)
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(help="A column of groups, of which none has rows in two parts.", rich_help_panel=DATA),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(help="A column of times: training rows come before test rows.", rich_help_panel=DATA),
    ] = None,
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Draw as many rows of each class from your file.", rich_help_panel=DATA),
    ] = False,
    n_train: Annotated[
        int | None, typer.Option(help="Training rows; the defaults are the papers'.", rich_help_panel=DATA)
    ] = None,
    n_val: Annotated[
        int | None,
        typer.Option(
            help="Validation rows, trusted by the learner and known to the attacker.", rich_help_panel=DATA
        ),
    ] = None,
    n_test: Annotated[int | None, typer.Option(help="Test rows, seen by nobody.", rich_help_panel=DATA)] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder of the data sets' files; otherwise $POISON_DATA_DIR, the cache, then the network.",
            rich_help_panel=DATA,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="logistic, mlp, cnn, svm or multisvm; with real targets linear, mlp; or your own JAX, Equinox or "
            "Flax model as FILE.py:NAME. Default: what fits the data.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    trainer: Annotated[
        str | None,
        typer.Option(
            help="sgd, momentum or adam; -o trainer.size=ROWS for mini-batches. Default: sgd.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    reg: Annotated[
        str | None,
        typer.Option(
            help="Penalty on the weights: none, l2 or l1. Default: none, or l2 where a lambda is given or learned.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    lambda_: Annotated[
        str | None,
        typer.Option(
            "--lambda",
            metavar="VALUE|clean",
            help="Fixed coefficient of the penalty in the mean loss; clean: by cross-validation on clean rows.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    learn_lambda: Annotated[
        bool | None,
        typer.Option(
            "--learn-lambda",
            help="The learner learns lambda on the validation rows, and the attacker knows it; with --lambda clean "
            "he learns it before there is poison, and keeps it.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    per_layer: Annotated[
        bool | None,
        typer.Option("--per-layer", help="Learn one lambda for each layer.", rich_help_panel=MODEL),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="rmd, gradient-canceling or flip (random labels); with real targets stealthy, flip, statp; to "
            "pass filters kkt, minmax, influence, alfa. With --help: its options.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    hypergradient: Annotated[
        str | None,
        typer.Option(
            help="How rmd differentiates: reverse, forward, cg or exact. Default: reverse.", rich_help_panel=ATTACK
        ),
    ] = None,
    target_rows: Annotated[
        str | None,
        typer.Option(
            metavar="val|test|train|class:K|rows:FILE",
            help="The rows to be classified wrongly; FILE lists row numbers. Default: val, the validation rows.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    target_label: Annotated[
        str | None,
        typer.Option(
            metavar="K", help="The class to push these rows to. Default: any wrong one.", rich_help_panel=ATTACK
        ),
    ] = None,
    poison_label: Annotated[
        str | None,
        typer.Option(
            metavar="other|nearest|least-likely|K",
            help="The class that poison claims to be, of more than two. Default: other, any but its own.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the training rows that the attacker replaces or adds, in (0, 1). Default: 0.35, "
            "0.45 with real targets, 0.03 where he adds.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    frozen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Columns of your table that poison keeps as in the row that it replaces; may be repeated, or with "
            "commas.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    only_up: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Columns that poison may only raise.", rich_help_panel=LIMITS),
    ] = None,
    only_down: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Columns that poison may only lower.", rich_help_panel=LIMITS),
    ] = None,
    columns_changed: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="In at most K columns a poison row differs from the row that it replaces. Default: any.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="COLUMN=LOW:HIGH",
            help="Range of a column, such as age=18:99 or born=1990-01-01:; may be repeated. Default: that of the "
            "clean training rows.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            metavar="NAME=VALUE",
            help="An option of the method; of others as model.NAME, trainer.NAME, dataset.NAME. May be repeated.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    reps: Annotated[
        int | None,
        typer.Option(help="Repetitions with other random splits. Default: 1.", rich_help_panel=ATTACK),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same result. Default: 0.", rich_help_panel=ATTACK)
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="Read all this from a file; options win over it.",
            rich_help_panel=ATTACK,
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="The run file to write.", rich_help_panel=OUTPUT)] = "run.h5",
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel=OUTPUT)
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on after an interruption; the result is the same to the bit.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object instead of the path.", rich_help_panel=OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no remarks.", rich_help_panel=OUTPUT)
    ] = False,
    plugin: Plugins = None,
    devices: Devices = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)
    ] = False,
    help_: Annotated[
        bool,
        typer.Option(
            "--help", "-h", help="Show this, or with --method the method's options.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Craft worst-case poison and write it to a run file.

    Without options: the embedded digits 0 and 8, logistic regression, up to 35 % poison, in seconds.
    The main experiment of the bilevel attack's authors: poison attack --dataset mnist --reg l2 --learn-lambda
    """
    if help_:
        print(choices.method_help("attack", method) if method else context.get_help())
        return
    given = {
        "n_train": n_train, "n_val": n_val, "n_test": n_test, "reg": reg, "lambda_": lambda_,
        "learn_lambda": learn_lambda, "per_layer": per_layer, "fraction": fraction, "repetitions": reps,
        "seed": seed, "columns_changed": columns_changed,
    }  # fmt: skip
    lists = {"frozen": frozen, "only_up": only_up, "only_down": only_down, "ranges": ranges}
    given.update({name: tuple(value) for name, value in lists.items() if value})
    own = {
        "target": target, "classes": "" if classes == "all" else classes, "column": column, "ignore": ignore,
        "val": val, "test": test, "split_column": split_column, "group_column": group_column,
        "time_column": time_column, "balance": balance or None,
    }  # fmt: skip
    names = {"dataset": _one_file(dataset, train), "model": model, "trainer": trainer, "attack": method}
    short = {"hypergradient": hypergradient, "target": target_rows, "target_label": target_label,
             "poison_label": poison_label}  # fmt: skip
    options = [*(options or []), *(f"{name}={value}" for name, value in short.items() if value)]
    if model and ":" in model:
        from poisoncli.runs import plugins

        ((_, names["model"]),) = plugins.load([model])
    run = _run(config_file, names, given, options, own)
    _check_devices(run, devices)
    from poisoncli.runs.stages import attack as craft

    with progress(quiet) as report:
        path = craft(run, out, data_dir=data_dir, force=force, resume=resume, report=report)
    print(as_json({"run": str(path)}) if json else path)
    _note_limits(path, data_dir, quiet or json)
    note(f"next: poison evaluate {path}", quiet or json)


def _check_devices(run: Any, devices: int | None) -> None:
    """Refuse several devices where the attack takes one."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import defaults, description

    name = description.named_by_task(run).attack.name if (devices or 1) > 1 else ""
    if name in description.ATTACKS and not defaults.attack(name).spreads:
        raise PoisonError(f"the attack {name} works on one device: leave --devices out")


def _note_limits(path: Any, data_dir: str | None, quiet: bool) -> None:
    """Say how many added rows are beyond the limits that the attack set itself."""
    from poisoncli.runs import replay, run_file

    content = run_file.read(path)
    if quiet or not content.poison.replaced.size or content.poison.replaced.max() >= 0:
        return
    found = replay.beyond_limits(content, data_dir)
    rows = content.poison.y.size
    if count := found.pop("domain", 0):
        note(f"{count} of {rows} poison rows are outside the data set's domain")
    if found:
        counts = ", ".join(f"{count} ({name})" for name, count in found.items())
        note(
            f"rounding took {counts} of {rows} poison rows beyond the clean rows' quantile that the attack keeps "
            "to; whether a defense removes them is what `poison evaluate` says"
        )


def _run(
    config_file: str | None,
    names: dict[str, str | None],
    given: dict[str, Any],
    options: list[str],
    own: dict[str, Any],
) -> Any:
    """The run that the options describe, over the one in `config_file`."""
    from poisoncli.runs import description, serialize

    run = serialize.from_toml(config_file) if config_file else description.Run()
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if given["lambda_"] is not None or given["learn_lambda"]:  # the policy of the command line replaces the file's
        changes.update(_policy(given["lambda_"]), learn_lambda=bool(given["learn_lambda"]))
    methods = {kind: getattr(run, kind) for kind in description.TABLES}
    for kind, name in names.items():
        if name is not None and name != methods[kind].name:
            methods[kind] = description.named(kind, name)
    for text in options:
        kind, name, value = _split_option(text)
        methods[kind] = description.Choice(methods[kind].name, {**methods[kind].options, name: value})
    said = {name: value for name, value in own.items() if value is not None}
    methods["dataset"] = description.Choice(methods["dataset"].name, {**methods["dataset"].options, **said})
    return dataclasses.replace(run, **methods, **changes)


def _one_file(dataset: str | None, train: str | None) -> str | None:
    """The data set, or the file of training rows."""
    from poisoncli.core.errors import PoisonError

    if dataset is not None and train is not None:
        raise PoisonError("--train and --dataset both name the rows: give one of them")
    return dataset or train


def _policy(text: str | None) -> dict[str, Any]:
    """The fields of a run that `--lambda` sets."""
    from poisoncli.core.errors import PoisonError

    if text is None or text == "clean":
        return {"lambda_": None, "clean_lambda": text == "clean"}
    try:
        return {"lambda_": float(text), "clean_lambda": False}
    except ValueError:
        raise PoisonError(f"--lambda {text} is no number: give a coefficient, or `clean`") from None


def _split_option(text: str) -> tuple[str, str, str]:
    """Which method, which option and which value `-o text` sets."""
    from poisoncli.core.errors import PoisonError
    from poisoncli.runs import description

    name, equals, value = text.partition("=")
    if not equals:
        raise PoisonError(f"-o {text} sets nothing: write -o name=value")
    kind, dot, rest = name.strip().partition(".")
    if not dot:
        return "attack", kind, value
    description.known(kind, description.TABLES, "kind of method")
    return kind, rest, value
