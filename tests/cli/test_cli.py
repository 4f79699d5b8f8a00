"""The command line: results on stdout, the rest on stderr, and one sentence for whatever is wrong."""

import csv
import io
import json
from pathlib import Path

import h5py
import pytest
from command import FLIP, done, poison, refused, strict

from poisoncli.runs import run_file

pytestmark = pytest.mark.usefixtures("folder")


# each verb does its work


def test_evaluate_prints_a_table(plain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # as wide as a pipe
    lines = done("evaluate", plain, "--quiet")
    assert "digits (0 vs 8), logistic, 40 training rows" in lines[0]
    assert [line.split()[0] for line in lines if "%" in line] == ["0.0%", "10.0%", "20.0%"]
    assert run_file.read(plain).evaluations


def test_evaluate_speaks_strict_json_and_csv(run, folder):
    done("attack", *FLIP, "--out", "flip.h5")
    lines = done("evaluate", run, "flip.h5", "--json")
    first, second = map(strict, lines)
    assert first["run"] == "run.h5"
    assert [row["poison"] for row in first["rows"]] == [0, 4, 8]
    assert second["rows"][0]["lambda"] == [0.0]
    assert second["rows"][0]["log_lambda"] == [None]  # -inf
    table = list(csv.DictReader(io.StringIO("\n".join(done("evaluate", run, "flip.h5", "--csv")))))
    assert len(table) == len(first["rows"]) + len(second["rows"])
    for row, expected in zip(table, first["rows"], strict=False):
        assert float(row["test_error"]) == expected["test_error"]


def test_several_runs_stand_side_by_side(run, plain):
    lines = done("evaluate", run, plain)
    assert sum("%" in line for line in lines) == 3
    assert all(line.count("%") == 3 for line in lines if line.strip()[:1].isdigit() and "%" in line)


@pytest.mark.parametrize(("limit", "status"), [("0", 3), ("1", 0)])
def test_a_passed_threshold_exits_with_3(run, limit, status):
    content = run_file.read(run)
    content.evaluations["none"].test_error[:] = 0.25
    run_file.write(run, content)
    result = poison("evaluate", run, "--fail-above", limit)
    assert result.exit_code == status
    assert "25.0 " in result.stdout
    assert ("0.250 is above --fail-above 0" in result.stderr) == (status == 3)


def test_force_replaces(run):
    done("attack", *FLIP, "--force")
    assert json.loads(run_file.read("run.h5").run)["attack"]["name"] == "flip"
    done("export", run, "out.npz")
    done("export", run, "out.npz", "--force")
    Path("out.svg").touch()
    done("report", run, "-o", "out.svg", "--force")
    assert Path("out.svg").stat().st_size > 0


# whatever is wrong is said in one sentence


def write(text, name="rows.csv"):
    Path(name).write_text(text)
    return name


def rows(n=60, last="0.5,1.5,1"):
    return "a,b,label\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(n)) + last + "\n"


BAD_DATA = {
    "there is no file absent.csv": lambda: "absent.csv",
    "cannot tell the format": lambda: write("a,b\n1,2\n", "rows.doc"),
    "is empty": lambda: write(""),
    "no rows below its header": lambda: write("a,label\n"),
    "cannot be read as .csv": lambda: write("a,label\n1,0\n1,2,3,4\n"),
    "is not an .npz file": lambda: write("text", "rows.npz"),
    "infinite": lambda: write(rows(last="inf,1.5,1")),
    "too large for float32": lambda: write(rows(last="1e39,1.5,1")),
    "are all 1": lambda: write("a,label\n1,1\n2,1\n"),
    "name one with --target": lambda: write("a,b,c\n1,2,0\n2,3,1\n"),
}


@pytest.mark.parametrize("says", BAD_DATA)
def test_bad_data_are_refused(says):
    refused("attack", "--dataset", BAD_DATA[says](), says=says)


@pytest.mark.parametrize(
    ("target", "model", "says"),
    [
        (lambda row: row % 3, ("--model", "svm", "--method", "kkt"), "3 classes"),
        (lambda row: row / 7, ("--model", "logistic"), "real targets"),
    ],
    ids=["three classes", "real targets"],
)
def test_targets_that_the_model_cannot_take_are_refused(target, model, says):
    refused(
        "attack",
        "--dataset",
        write("a,label\n" + "".join(f"{i}.5,{target(i)}\n" for i in range(60))),
        *model,
        says=says,
    )


def test_unknown_target_is_refused():
    refused("attack", "--dataset", write(rows()), "--target", "c", says="no column 'c'")


def test_truncated_mnist_is_refused(folder):
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        path = folder / "data" / "mnist" / f"{name}-ubyte"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\0\x08\x07 wrong magic number")
    refused("attack", "--dataset", "mnist", "--data-dir", "data", says="mnist")


def test_existing_output_is_kept(run):
    Path("out.npz").write_text("mine")
    Path("out.png").write_text("mine")
    refused("attack", *FLIP, says="run.h5 exists: --force replaces it, --resume goes on")
    refused("export", run, "out.npz", says="out.npz exists: --force replaces it")
    refused("report", run, "-o", "out.png", says="out.png exists: --force replaces it")


def damage_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_foreign(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def damage_newer(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 99


def damage_incomplete(path):
    with h5py.File(path, "a") as file:
        file["attack"].attrs["done"] -= 1


def damage_rows(path):
    with h5py.File(path, "a") as file:
        file["split/val"][0, 0] = 10**6


def damage_run(path):
    with h5py.File(path, "a") as file:
        file.attrs["run"] = "3"


def damage_data(path):
    with h5py.File(path, "a") as file:
        file["split"].attrs["sha256"] = "0"


DAMAGE = {
    "plain.h5 is damaged": damage_half,
    "was not written by poison": damage_foreign,
    "newer poison": damage_newer,
    "not complete: finish it": damage_incomplete,
    "not those of its run": damage_rows,
    "was not written by poison: craft": damage_run,
    "digits has changed": damage_data,
}


READERS = [("evaluate",), ("report", "-o", "out.png"), ("export",), ("defend", "-d", "trim")]


@pytest.mark.parametrize("says", DAMAGE)
@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_damaged_run_files_are_refused(plain, words, says):
    DAMAGE[says](plain)
    refused(*words, plain, *(["out.npz"] if words == ("export",) else []), says=says)


BAD_USES = {
    "out.doc has no format": ("export", "run.h5", "out.doc"),
    "end its name in .npz, .csv, .parquet": ("export", "run.h5", "out"),
    "out.doc has no format that can be drawn": ("report", "run.h5", "-o", "out.doc"),
    "not a place for a file": ("export", "run.h5", "absent/out.npz"),
    "--fraction nan is outside": ("export", "run.h5", "out.npz", "--fraction", "nan"),
    "--fraction 1.5 is outside": ("export", "run.h5", "out.npz", "--fraction", "1.5"),
    "repetition 2 is not there": ("export", "run.h5", "out.npz", "--repetition", "2"),
    "repetition -1 is not there": ("export", "run.h5", "out.npz", "--repetition", "-1"),
    "a name that ends in .npz": ("export", "run.h5", "out.csv", "--params"),
    "--fail-above nan is no error": ("evaluate", "run.h5", "--fail-above", "nan"),
    "--fail-above -1.0 is no error": ("evaluate", "run.h5", "--fail-above", "-1"),
    "--fail-above inf is no error": ("evaluate", "run.h5", "--fail-above", "inf"),
    "absent.h5 does not exist": ("evaluate", "run.h5", "absent.h5"),
}


@pytest.mark.parametrize("says", BAD_USES)
def test_bad_uses_of_a_run_file_are_refused(run, says):
    refused(*BAD_USES[says], says=says)


OF_NO_USE = [  # what is ignored, with a command that would ignore it
    *((option, ("evaluate", "run.h5", option, "1")) for option in ("--seed", "--model", "--classes", "--target")),
    *(
        (option, ("defend", "run.h5", "-d", "knn", option, "1"))
        for option in ("--figure", "--trusted", "--target", "--classes", "--fraction", "--repetition")
    ),
    ("--csv", ("defend", "run.h5", "-d", "knn", "--csv")),
    *(
        (option, ("defend", "--dataset", "digits", "--poison", "p.npz", "-d", "knn", option, "out.csv"))
        for option in ("--export", "--figure", "--trusted")
    ),
    ("--csv", ("defend", "--dataset", "digits", "--poison", "p.npz", "-d", "knn", "--csv")),
    *(
        (option, ("defend", "--dataset", "digits", "-d", "knn", option, "0"))
        for option in ("--fraction", "--repetition")
    ),
    ("--json", ("evaluate", "run.h5", "--csv", "--json")),
    ("--json", ("defend", "--dataset", "digits", "-d", "knn", "--json", "--csv")),
]


@pytest.mark.parametrize(
    ("option", "words"), OF_NO_USE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_an_option_that_would_be_ignored_is_refused(run, option, words):
    refused(*words, says=f"{option} is of no use here: ")


# pipes and processes
