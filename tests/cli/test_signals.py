"""Ctrl-C and SIGTERM: one sentence on stderr, status 130 and 143, and what was done is kept."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import pytest
import typer
from sweeps.small import TEXT, small

import poisoncli
from poisoncli import Run
from poisoncli.cli import signals
from poisoncli.cli.common import guarded
from poisoncli.core.errors import Interrupted
from poisoncli.runs import run_file
from poisoncli.sweeps.drive import execute

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LONG = (
    *("attack", "--n-train", "60", "--n-val", "20", "--n-test", "20", "--fraction", "0.4", "--out", "run.h5"),
    *("-o", "batch=1", "-o", "outer_steps=400", "-o", "inner_steps=20", "-o", "trainer.epochs=20"),
)


@pytest.fixture(autouse=True)
def heard():
    """Signals are heard, also where this process was started to ignore them, as `nohup` and `&` start it."""
    before = {number: signal.getsignal(number) for number in STATUS}
    for number in STATUS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(*words, folder):
    command = [sys.executable, "-m", "poisoncli", *map(str, words)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def one_sentence(process, number):
    """The sentence that an interrupted process leaves."""
    out, said = process.communicate(timeout=60)
    assert process.returncode == STATUS[number], said
    assert out == ""
    assert said.count("\n") == 1, said
    assert said.startswith("poison: interrupted")
    return said


AT_IMPORT = """
import os, signal, sys, time
number, module = int(sys.argv[1]), sys.argv[2]
class Finder:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), number)
            time.sleep(5)
sys.meta_path.insert(0, Finder())
from poisoncli.__main__ import main
sys.argv[1:] = ["attack"]
main()
"""


@pytest.mark.parametrize("number", STATUS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("module", ["typer", "numpy._core.multiarray", "jax._src.core"])
def test_a_signal_while_a_module_is_imported(tmp_path, module, number):
    command = [sys.executable, "-c", AT_IMPORT, str(int(number)), module]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert one_sentence(process, number) == "poison: interrupted: repeat the command\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_during_an_attack_names_the_checkpoint(tmp_path, number):
    with start(*LONG, folder=tmp_path) as process:
        while not (tmp_path / "run.h5.partial").exists():
            time.sleep(0.05)
        process.send_signal(number)
        assert "--resume goes on from run.h5.partial" in one_sentence(process, number)
    assert os.listdir(tmp_path) == ["run.h5.partial"]
    assert run_file.read(tmp_path / "run.h5.partial", unfinished=True).poison.done


IN_COMPILED_CODE = """
import hashlib, sys
from poisoncli.cli import signals
from poisoncli.cli.common import guarded
signals.PATIENCE = float(sys.argv[1])
def verb():
    print("begun", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)  # hears nothing, as a training
guarded(verb)()
"""


@pytest.mark.parametrize("number", STATUS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_compiled_code_that_hears_no_signal_is_ended(number, again):
    command = [sys.executable, "-c", IN_COMPILED_CODE, "50" if again else "0.3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        time.sleep(1)  # until it is in there
        process.send_signal(number)
        if again:
            time.sleep(1)  # else the two are one
            process.send_signal(number)
        said = one_sentence(process, number)
    assert said == "poison: interrupted in the middle of a long computation: repeat the command\n"


def test_what_is_ignored_stays_ignored(tmp_path):
    code = (
        "import os, signal, sys\nfrom poisoncli.__main__ import main\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nos.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['poison', 'datasets']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


class Swallowing:
    """Its end raises where Python cannot raise, as a library's callback does."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def ended(verb, capsys):
    """The exit status and stderr of a verb that is run in this process."""
    before = [signal.getsignal(number) for number in STATUS]
    with pytest.raises(typer.Exit) as left:
        guarded(verb)()
    assert [signal.getsignal(number) for number in STATUS] == before
    return left.value.exit_code, capsys.readouterr().err


def test_an_interruption_that_gets_lost_comes_again(capsys):
    def verb():
        Swallowing()
        time.sleep(30)

    begun = time.monotonic()
    assert ended(verb, capsys) == (130, "poison: interrupted: repeat the command\n")
    assert time.monotonic() - begun < 20


def test_an_interruption_that_is_cleared_is_met_at_the_next_step(capsys):
    def verb():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        signals.check()
        time.sleep(30)

    assert ended(verb, capsys)[0] == 143


def test_an_interruption_that_a_library_turns_into_an_error_is_still_one(capsys):
    def verb():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            raise ImportError("numpy.core failed to import") from None

    assert ended(verb, capsys) == (130, "poison: interrupted: repeat the command\n")


def test_a_sweep_tells_each_outcome_as_it_comes_and_goes_on_after_an_interruption(tmp_path):
    plan, seen = small(), []

    def finished(outcome):
        seen.append(outcome.cell.name)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="interrupted after 2 of 3 runs: the same command goes on"):
        execute(plan, tmp_path, finished=finished)
    assert [outcome.status for outcome in execute(plan, tmp_path)] == ["skipped", "skipped", "done"]


@pytest.mark.long
def test_a_sweep_prints_each_outcome_before_the_next_begins(tmp_path):
    (tmp_path / "plan.toml").write_text(TEXT)
    with start("sweep", "--config", "plan.toml", "--out", "out", folder=tmp_path) as process:
        assert process.stdout is not None
        assert re.fullmatch(r"out/one\.[0-9a-f]{8}\.h5 done\n", process.stdout.readline())
        assert not list((tmp_path / "out").glob("three.*.h5"))
        process.communicate()


def test_an_interrupted_evaluation_keeps_what_is_done(tmp_path, monkeypatch):
    from poisoncli.runs import stage_scores

    run = Run(attack=poisoncli.Choice("flip"), n_train=30, n_val=10, n_test=10)
    path = poisoncli.attack(run, tmp_path / "run.h5")
    poisoncli.defend(path, "l2")
    original = stage_scores.behind

    def second(prepared, content, name, report):
        if name != "none":
            raise KeyboardInterrupt
        return original(prepared, content, name, report)

    monkeypatch.setattr(stage_scores, "behind", second)
    with pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
        poisoncli.evaluate(path)
    assert set(run_file.read(path).evaluations) == {"none"}
    monkeypatch.undo()
    assert set(poisoncli.evaluate(path).evaluations) == {"none", "l2"}
