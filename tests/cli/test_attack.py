"""poison attack: what it prints, which options reach whom, and one sentence for each bad one."""

import json
from pathlib import Path

import pytest
from command import FLIP, TINY, contents, done, poison, refused

from poisoncli.runs import run_file

pytestmark = pytest.mark.usefixtures("folder")


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
    assert (found["attack"]["name"], found["attack"]["batch"]) == ("flip", 6)
    assert found["dataset"]["classes"] == [3, 5]


def test_method_help_lists_its_options():
    text = "\n".join(done("attack", "--method", "rmd", "--help"))
    for word in ("outer_steps = 140", "in [0, 100]", "point, batch, none", "Algorithms 1 and 2"):
        assert word in text
    assert "--learn-lambda" in "\n".join(done("attack", "--help"))


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
    "3 classes": ("--classes", "0,1,2", "--method", "kkt"),
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


def test_checkpoint_of_another_run_is_kept(plain):
    Path("new.h5.partial").write_bytes(plain.read_bytes())
    refused("attack", *FLIP, "--out", "new.h5", "--resume", says="belongs to a run with other options")
    refused("attack", *FLIP, "--out", "new.h5", says="new.h5.partial exists")
    refused("attack", *FLIP, "--out", plain, "--resume", says="belongs to a run with other options")
