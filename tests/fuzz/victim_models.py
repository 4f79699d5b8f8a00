"""Models, trainers and targets of every kind at tiny sizes, up to ten classes."""

from __future__ import annotations

import random

from fuzz.case import Case

_MODELS = {  # options that keep it small, and odd ones
    "logistic": ((),),
    "mlp": ((), ("hidden=3",), ("hidden=2,2",), ("hidden=1",)),
    "cnn": ((), ("channels=1",), ("channels=2,2",), ("channels=1", "dense=2"), ("dense=1",)),
    "svm": ((), ("loss=logistic",), ("bias=penalized",)),
    "multisvm": (("passes=2",), ()),
    "linear": ((),),
}
_DATA = (
    ("--dataset", "digits"),
    ("--dataset", "digits", "--classes", "0,1,2"),
    ("--dataset", "digits", "--classes", "all"),
    ("--dataset", "digits", "--classes", "all"),
    ("--dataset", "breast-cancer"),
    ("--dataset", "gaussians"),
    ("--dataset", "line"),
    ("--dataset", "diabetes"),
)
_RMD = (
    ("normalize", ("point", "batch", "none")),
    ("inner_trainer", ("victim", "sgd", "momentum", "adam", "x")),
    ("inner_size", ("-1", "0", "1", "5", "1000")),
    ("outer", ("plain", "adam", "optimistic")),
    ("place", ("replace", "append")),
    ("start_class", ("-1", "0", "1")),
    ("restarts", ("0", "1")),
    ("target_loss", ("training", "margin")),
    ("last", ("0", "1", "99")),
    ("warm", ("true",)),
    ("hypergradient", ("reverse", "forward", "cg", "exact")),
    ("lambda_schedule", ("linear", "constant")),
    ("poison_label", ("other", "nearest", "least-likely", "0", "9", "x")),
    ("target", ("val", "test", "train", "class:0", "class:9")),
    ("target_label", ("0", "2", "x")),
    ("batch", ("1", "3", "99")),
)
_DRAWN = (
    "norm",
    "layer_norm",
    "histogram",
    "position",
    "consistency",
    "test_error+log_lambda",
    "decrease",
    "time",
    "defenses",
)
_TRAINERS = (("--trainer", "sgd"), ("--trainer", "momentum"), ("--trainer", "adam"), ())


def case(rng: random.Random) -> Case:
    """`attack` with a model and a method, and then what shows the result."""
    data = rng.choice(_DATA)
    real, many = data[1] in ("line", "diabetes"), "--classes" in data
    usual = (
        ("linear", "mlp")
        if real
        else ("logistic", "mlp", "cnn", "multisvm")
        if many
        else ("logistic", "mlp", "cnn", "svm")
    )
    model = rng.choice(usual) if rng.random() < 0.9 else rng.choice(sorted(_MODELS))
    sizes = (
        ("--n-train", "20", "--n-val", "10", "--n-test", "10")
        if not many
        else ("--n-train", "30", "--n-val", "20", "--n-test", "20")
    )
    args = ["attack", *data, *sizes, "--model", model, "--fraction", rng.choice(("0.1", "0.2")), "--out", "run.h5"]
    for option in rng.choice(_MODELS[model]):
        args += ["-o", f"model.{option}"]
    if model in ("svm", "multisvm"):
        args += [
            "--lambda",
            "0.1",
            "--method",
            rng.choice(("kkt", "minmax", "alfa", "flip") if model == "svm" else ("minmax", "minmax-basic", "flip")),
        ]
        args += (
            ["-o", "points=3"] if args[-1].startswith("minmax") else ["-o", "splits=1"] if args[-1] == "kkt" else []
        )
    else:
        method = rng.choice(("stealthy", "flip", "statp") if real else ("rmd", "rmd", "rmd", "flip"))
        args += [
            "--method",
            method,
            *rng.choice(_TRAINERS),
            "-o",
            "trainer.epochs=3",
            "-o",
            f"trainer.size={rng.choice((0, 0, 7, 1, 99))}",
        ]
        if method in ("rmd", "stealthy"):
            args += ["-o", "outer_steps=2", "-o", "inner_steps=3"]
        if method == "rmd":
            for name, values in rng.sample(_RMD, rng.choice((1, 2, 3, 4))):
                args += ["-o", f"{name}={rng.choice(values)}"]
        if model == "cnn" and method == "rmd":  # whose stages take many seconds to compile: one of them
            args += ["-o", "batch=9"]
        policy = rng.choice(
            (
                (),
                (),
                ("--learn-lambda",),
                ("--learn-lambda", "--per-layer"),
                ("--lambda", "0.1", "--reg", "l1"),
                ("--lambda", "clean"),
                ("--lambda", "clean", "--learn-lambda"),
            )
        )
        args += (
            policy if model != "cnn" and (method in ("rmd", "stealthy") or "--learn-lambda" not in policy) else ()
        )
    if rng.random() < 0.15:
        args += ["--reps", "2"]
    defenses = (
        ("trim", "huber", "proda", "duti", "bayesclean", "sever")
        if real
        else ("l2", "slab", "loss", "knn", "svd", "trim", "sever", "bayesclean", "duti", "all")
    )
    metric = rng.choice(
        ("nmse", "mae", "r2") if real else ("auc", "log-loss", "recall", "recall:9", "balanced-error")
    )
    then = rng.sample(
        (
            ("evaluate", "run.h5", "--metric", metric),
            ("evaluate", "run.h5", "-d", rng.choice(defenses)),
            ("defend", "run.h5", "-d", rng.choice(defenses)),
            ("report", "run.h5", "--draw", rng.choice(_DRAWN)),
            ("report", "run.h5", "--metric", metric),
            ("evaluate", "run.h5"),
            ("export", "run.h5", "out.npz", *rng.choice(((), ("--params",)))),
            ("export", "run.h5", "out.csv", "--fraction", rng.choice(("0", "0.1", "1"))),
            ("evaluate", "run.h5", "--passes", "2", "--loss", "logistic"),
            ("collapse", "run.h5"),
        ),
        rng.choice((1, 1, 2)),
    )
    first = rng.choice(((), (("evaluate", "run.h5"),)))
    return Case("models", tuple(args), then=(*first, *then))
