"""The command line: results on stdout, the rest on stderr, and one sentence for whatever is wrong."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import poisoncli
from poisoncli.cli import app
from poisoncli.core.errors import Interrupted
from poisoncli.datasets.digits import Digits
from poisoncli.runs import run_file

TINY = (
    *("--n-train", "40", "--n-val", "20", "--n-test", "20", "--fraction", "0.2"),
    *("-o", "outer_steps=5", "-o", "inner_steps=8", "-o", "batch=4", "-o", "trainer.epochs=20"),
)
FLIP = ("--method", "flip", "--n-train", "40", "--n-val", "20", "--n-test", "20", "-o", "trainer.epochs=20")


def poison(*words, stdin=None):
    """Run a command in this process; no traceback may show."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def done(*words, stdin=None):
    """A command that succeeds: its lines on stdout."""
    result = poison(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def contents(folder="."):
    """All files with their bytes, to see that nothing changed."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def refused(*words, says, status=2, stdin=None):
    """A command that fails: one sentence on stderr, nothing on stdout, no file changed or left behind."""
    before = contents()
    result = poison(*words, stdin=stdin)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    said = result.stderr.splitlines()  # which column was taken is said before what is wrong with it
    lines = [line for line in said if not line.startswith("poison: the target is the column")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("poison: ")
    assert ": " in lines[0].removeprefix("poison: ")
    assert says in lines[0]
    assert contents() == before


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, with no data files but embedded ones."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("POISON_DATA_DIR", str(tmp_path / "none"))
    return tmp_path / "work"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """An evaluated run file and a plain one, crafted once."""
    place = tmp_path_factory.mktemp("finished")
    for name in ("plain.h5", "run.h5"):
        done("attack", *TINY, "--learn-lambda", "--reps", "2", "--out", place / name)
    done("evaluate", place / "run.h5")
    return place


@pytest.fixture
def run(finished, folder):
    """An evaluated run file in the working folder."""
    (folder / "run.h5").write_bytes((finished / "run.h5").read_bytes())
    return Path("run.h5")


@pytest.fixture
def plain(finished, folder):
    """A run file that was not evaluated, in the working folder."""
    (folder / "plain.h5").write_bytes((finished / "plain.h5").read_bytes())
    return Path("plain.h5")


# each verb does its work


def test_attack_prints_the_path_and_says_what_comes_next():
    result = poison("attack", *TINY)
    assert (result.exit_code, result.stdout) == (0, "run.h5\n")
    assert result.stderr == "next: poison evaluate run.h5\n"
    assert run_file.read("run.h5").poison.done == 10
    assert list(contents()) == [Path("run.h5")]


def test_attack_can_be_quiet_and_speak_json():
    result = poison("attack", *FLIP, "--quiet", "--json", "--out", "a.h5")
    assert result.stderr == ""
    assert json.loads(result.stdout) == {"run": "a.h5"}


def test_options_win_over_the_file():
    Path("run.toml").write_text('seed = 5\nrepetitions = 2\nn_train = 40\nattack = "flip"\nlambda = 0.5\n')
    done("attack", "--config", "run.toml", "--reps", "3", "--lambda", "0.25", "--n-val", "20", "--n-test", "20")
    found = json.loads(run_file.read("run.h5").run)
    assert (found["seed"], found["repetitions"], found["n_train"], found["lambda"]) == (5, 3, 40, 0.25)
    assert found["attack"]["name"] == "flip"


def test_options_reach_their_methods():
    done("attack", *FLIP, "--model", "mlp", "-o", "model.hidden=3,2", "-o", "batch=6", "--classes", "3,5")
    found = json.loads(run_file.read("run.h5").run)
    assert found["model"]["hidden"] == [3, 2]
    assert found["trainer"]["epochs"] == 20
    assert found["attack"] == {"name": "flip", "batch": 6}
    assert found["dataset"]["classes"] == [3, 5]


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


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


def test_paths_come_through_a_pipe(run, plain):
    lines = done("evaluate", "-", "--json", stdin="run.h5\n\nplain.h5\n")
    assert [json.loads(line)["run"] for line in lines] == ["run.h5", "plain.h5"]
    assert done("export", "-", "out.npz", stdin="run.h5\n") == ["out.npz"]
    assert done("report", "-", "-o", "out.svg", stdin="run.h5\n") == ["out.svg"]


def test_an_error_that_is_no_number_passes_no_threshold():
    from poisoncli.cli import evaluate

    row = {"defense": "none", "fraction": 0.1, "measure": "test error", "value": float("nan")}
    with pytest.raises(typer.Exit) as stop:
        evaluate._check([[row, {**row, "value": 0.1}]], 1.0, None, None, [], True)
    assert stop.value.exit_code == 3


def test_an_nmse_may_be_compared_with_more_than_1():
    from poisoncli.cli import evaluate

    row = {"defense": "none", "fraction": 0.1, "measure": "test NMSE", "value": 1.7}
    evaluate._check([[row]], 2.0, None, None, [], True)
    with pytest.raises(poisoncli.PoisonError, match="give one in"):
        evaluate._check([[{**row, "measure": "test error", "value": 0.7}]], 2.0, None, None, [], True)


@pytest.mark.parametrize(("limit", "status"), [("0", 3), ("1", 0)])
def test_a_passed_threshold_exits_with_3(run, limit, status):
    content = run_file.read(run)
    content.evaluations["none"].test_error[:] = 0.25
    run_file.write(run, content)
    result = poison("evaluate", run, "--fail-above", limit)
    assert result.exit_code == status
    assert "25.0 " in result.stdout
    assert ("0.250 is above --fail-above 0" in result.stderr) == (status == 3)


@pytest.mark.parametrize("name", ["out.png", "out.pdf", "out.svg", None])
def test_report_draws(run, name):
    expected = name or "run.png"
    assert done("report", run, *(("--out", name) if name else ())) == [expected]
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[Path(expected).suffix]
    assert Path(expected).read_bytes().startswith(magic)


def test_report_evaluates_where_needed(plain):
    done("report", plain, "-o", "out.svg")
    assert run_file.read(plain).evaluations


def test_exports_hold_the_same_rows(run):
    import pandas

    for suffix in ("npz", "csv", "parquet"):
        assert done("export", run, f"out.{suffix}") == [f"out.{suffix}"]
    with np.load("out.npz") as found:
        frames = [pandas.read_csv("out.csv"), pandas.read_parquet("out.parquet")]
        for frame in frames:
            np.testing.assert_allclose(frame.filter(regex="^x").to_numpy(), found["x"], rtol=1e-6)
            for name in ("y", "poison", "row", "replaced"):
                np.testing.assert_array_equal(frame[name], found[name])
        assert found["poison"].sum() == 8
        assert found["x"].shape == (40, 64)


def test_export_chooses_stage_and_repetition(run):
    content, chosen = run_file.read(run), Digits().load().row_numbers
    done("export", run, "out.npz", "--fraction", "0.12", "--repetition", "1", "--params")
    with np.load("out.npz") as found:
        assert found["poison"].sum() == 4
        np.testing.assert_array_equal(found["row"], chosen[content.split["train"][1]])
        np.testing.assert_array_equal(found["w0"], content.evaluations["none"].params[0]["w"][1, 1])
        assert set(found["row"][found["poison"] == 1]) == set(found["replaced"]) - {-1}


def test_datasets_lists_and_speaks_json():
    assert any("breast-cancer" in line for line in done("datasets"))
    listing = [strict(line) for line in done("datasets", "--json")]
    assert {"digits", "mnist", "file"} <= {row["name"] for row in listing}


def test_force_replaces(run):
    done("attack", *FLIP, "--force")
    assert json.loads(run_file.read("run.h5").run)["attack"]["name"] == "flip"
    done("export", run, "out.npz")
    done("export", run, "out.npz", "--force")
    Path("out.svg").touch()
    done("report", run, "-o", "out.svg", "--force")
    assert Path("out.svg").stat().st_size > 0


def test_method_help_lists_its_options():
    text = "\n".join(done("attack", "--method", "rmd", "--help"))
    for word in ("outer_steps = 140", "in [0, 100]", "point, batch, none", "Algorithms 1 and 2"):
        assert word in text
    assert "--learn-lambda" in "\n".join(done("attack", "--help"))


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
    "missing (NaN) in data row 61": lambda: write(rows(last=",1.5,1")),
    "infinite": lambda: write(rows(last="inf,1.5,1")),
    "too large for float32": lambda: write(rows(last="1e39,1.5,1")),
    "are all 1": lambda: write("a,label\n1,1\n2,1\n"),
    "not numeric": lambda: write("a,b,label\n1,red,0\n2,blue,1\n"),
    "name one with --target": lambda: write("a,b,c\n1,2,0\n2,3,1\n"),
    "3 classes": lambda: write("a,label\n" + "".join(f"{i},{i % 3}\n" for i in range(60))),
    "real targets": lambda: write("a,label\n" + "".join(f"{i},{i / 7}\n" for i in range(60))),
}


@pytest.mark.parametrize("says", BAD_DATA)
def test_bad_data_are_refused(says):
    refused("attack", "--dataset", BAD_DATA[says](), says=says)


def test_unknown_target_is_refused():
    refused("attack", "--dataset", write(rows()), "--target", "c", says="no column 'c'")


def test_truncated_mnist_is_refused(folder):
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        path = folder / "data" / "mnist" / f"{name}-ubyte"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\0\x08\x07 wrong magic number")
    refused("attack", "--dataset", "mnist", "--data-dir", "data", says="mnist")


def test_absent_data_folder_is_refused():
    refused("attack", "--dataset", "mnist", "--data-dir", "absent", says="no folder absent: create it")


BAD_OPTIONS = {
    "no dataset named 'imagenet'": ("--dataset", "imagenet"),
    "no attack named 'nothing'": ("--method", "nothing"),
    "no model named 'forest'": ("--model", "forest"),
    "--reg l7 is unknown": ("--reg", "l7"),
    "has no option 'steps'": ("-o", "steps=3"),
    "no kind of method named 'victim'": ("-o", "victim.rate=3"),
    "write -o name=value": ("-o", "outer_steps"),
    "outer_steps is 'many'": ("-o", "outer_steps=many"),
    "outer_rate is -1: ": ("-o", "outer_rate=-1"),
    "--fraction 0.0 is outside": ("--fraction", "0"),
    "--fraction 1.0 is outside": ("--fraction", "1"),
    "--fraction 1.5 is outside": ("--fraction", "1.5"),
    "--fraction -0.1 is outside": ("--fraction", "-0.1"),
    "--fraction nan is outside": ("--fraction", "nan"),
    "--fraction inf is outside": ("--fraction", "inf"),
    "less than one row": ("--fraction", "0.001"),
    "a batch of 201 is larger": ("-o", "batch=201"),
    "--seed -1": ("--seed", "-1"),
    "--seed 99999999999": ("--seed", "99999999999"),
    "--reps 0": ("--reps", "0"),
    "--n-train -3 is negative": ("--n-train", "-3"),
    "9148 rows were asked for": ("--n-train", "9000"),
    "add up to at most 348": ("--n-test", "9000"),
    "no class 77": ("--classes", "0,77"),
    "two or more": ("--classes", "0"),
    "3 classes": ("--classes", "0,1,2"),
    "classes is 'a,b': give whole numbers with commas": ("--classes", "a,b"),
    "has no option 'target'": ("--target", "label"),
    "--lambda -1.0": ("--lambda", "-1"),
    "--lambda nan": ("--lambda", "nan"),
    "add --learn-lambda": ("--per-layer",),
    "contradict each other": ("--force", "--resume"),
    "the folder absent does not exist": ("--out", "absent/run.h5"),
    "is a folder: name a file": ("--out", "."),
    "cannot read absent.toml": ("--config", "absent.toml"),
}


@pytest.mark.parametrize("says", BAD_OPTIONS)
def test_bad_options_are_refused(says):
    refused("attack", *BAD_OPTIONS[says], says=says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("attack", "--seed", "x"), "--seed"),
        (("attack", "--speed", "9"), "--speed"),
        (("attack", "extra"), "extra"),
        (("evaluate",), "RUNS"),
        (("nothing",), "nothing"),
    ],
)
def test_what_cannot_be_parsed_is_refused(words, says):
    result = poison(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says.lower() in result.stderr.lower()


def test_existing_output_is_kept(run):
    Path("out.npz").write_text("mine")
    Path("out.png").write_text("mine")
    refused("attack", *FLIP, says="run.h5 exists: --force replaces it, --resume goes on")
    refused("export", run, "out.npz", says="out.npz exists: --force replaces it")
    refused("report", run, "-o", "out.png", says="out.png exists: --force replaces it")


def test_checkpoint_of_another_run_is_kept(plain):
    Path("new.h5.partial").write_bytes(plain.read_bytes())
    refused("attack", *FLIP, "--out", "new.h5", "--resume", says="belongs to a run with other options")
    refused("attack", *FLIP, "--out", "new.h5", says="new.h5.partial exists")
    refused("attack", *FLIP, "--out", plain, "--resume", says="belongs to a run with other options")


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


@pytest.mark.parametrize("words", [("export", "-", "out.npz"), ("collapse", "-")], ids=" ".join)
def test_several_paths_where_one_is_read_are_refused(run, words):
    refused(*words, says="2 paths came through stdin and one is read here", stdin="run.h5\nrun.h5\n")


def test_unknown_figure_format_is_refused_before_any_work(plain):
    refused("report", plain, "-o", "out.doc", says="no format that can be drawn")


def test_parameters_of_an_untrained_victim_are_refused(plain):
    refused("export", plain, "out.npz", "--params", says="run `poison evaluate`")


@pytest.mark.parametrize("words", [("evaluate", "-"), ("report", "-"), ("export", "-", "out.npz")], ids=str)
def test_an_empty_pipe_is_refused(words):
    refused(*words, says="no path came through stdin", stdin="\n")


def full(_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "words", [("attack", *FLIP), ("defend", "plain.h5", "-d", "knn"), ("export", "plain.h5", "out.npz")]
)
def test_full_disk_exits_with_1(plain, monkeypatch, words):
    monkeypatch.setattr(os, "fsync", full)
    refused(*words, says="No space left on device): free some space there", status=1)


@pytest.mark.filterwarnings("default")
def test_full_disk_costs_no_table(plain, monkeypatch):
    before = contents()
    monkeypatch.setattr(os, "fsync", full)
    result = poison("evaluate", plain)
    assert result.exit_code == 0
    assert "20.0%" in result.stdout
    assert result.stderr.startswith("poison: the evaluation was not saved: cannot write plain.h5 (No space left")
    assert "--out" not in result.stderr
    assert contents() == before


def test_interruption_exits_with_130_and_names_the_cure(monkeypatch):
    from poisoncli.runs import stages

    def interrupted(*_, **__):
        raise Interrupted("interrupted: the same command with --resume goes on from run.h5.partial")

    monkeypatch.setattr(stages, "attack", interrupted)
    refused("attack", *FLIP, says="--resume goes on", status=130)


def test_ctrl_c_exits_with_130(monkeypatch):
    from poisoncli.runs import stages

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "attack", interrupted)
    result = poison("attack", *FLIP)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "poison: interrupted: repeat the command\n"


def test_the_unexpected_is_no_traceback_unless_asked_for(monkeypatch):
    from poisoncli.runs import stages

    def broken(*_, **__):
        raise ValueError("too bad\nfor words")

    monkeypatch.setattr(stages, "attack", broken)
    refused("attack", *FLIP, says="failed unexpectedly (too bad): --debug shows where", status=1)
    result = CliRunner().invoke(app, ["attack", "--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


# pipes and processes


def test_a_closed_pipe_is_no_failure_to_report(run):
    command = f"{sys.executable} -m poisoncli evaluate run.h5 --csv | head -c 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert len(result.stdout) == 1
    assert "Traceback" not in result.stderr


def test_in_a_pipe_there_is_no_color_and_no_bar(run):
    command = [sys.executable, "-m", "poisoncli", "evaluate", run]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stderr == ""
    assert "20.0%" in result.stdout
