"""Run files of cells: named by what the result depends on, so that nothing stale is taken for finished."""

import re

import pytest

from poisoncli import PoisonError
from poisoncli.runs import run_file
from poisoncli.sweeps import naming
from poisoncli.sweeps.contents import contents
from poisoncli.sweeps.drive import execute
from poisoncli.sweeps.plan import changed, load, of_grid, parse, run_path

TEXT = """
[base]
dataset = { name = "file", path = "PATH" }
attack = "flip"
trainer = { name = "sgd", rate = 0.1, epochs = 5 }
n_train = 20
n_val = 10
n_test = 10
[grid]
fraction = [0.1, 0.2]
"""


def table(path, more=0):
    rows = [f"{i % 7},{(3 * i) % 5 + more},{int(i % 7 > 2)}" for i in range(60)]
    path.write_text("\n".join(["a,b,label", *rows]) + "\n")


@pytest.fixture
def text(tmp_path):
    table(tmp_path / "own.csv")
    return TEXT.replace("PATH", str(tmp_path / "own.csv"))


def statuses(sweep, folder):
    return [outcome.status for outcome in execute(sweep, folder)]


def test_other_data_and_other_options_make_other_cells(text, tmp_path):
    folder = tmp_path / "out"
    assert statuses(parse(text, "test"), folder) == ["done", "done"]
    first = {path.name: path.read_bytes() for path in folder.glob("*.h5")}
    assert all(re.fullmatch(r"fraction-0\.[12]\.[0-9a-f]{8}\.h5", name) for name in first)
    assert statuses(parse(text, "test"), folder) == ["skipped", "skipped"]

    table(tmp_path / "own.csv", more=1)
    assert statuses(parse(text, "test"), folder) == ["done", "done"]
    now = {path.name: path.read_bytes() for path in folder.glob("*.h5")}
    assert len(now) == 4
    assert first.items() <= now.items()  # what was there is as it was

    with pytest.warns(UserWarning, match=r"held another sweep: .*sweep.1.toml"):
        assert statuses(parse(text.replace("epochs = 5", "epochs = 6"), "test"), folder) == ["done", "done"]
    table(tmp_path / "own.csv")
    with pytest.warns(UserWarning, match="held another sweep"):
        assert statuses(parse(text, "test"), folder) == ["skipped", "skipped"]
    sweep, panels = contents(folder)
    hashes = {run_file.read(folder / name).sha256 for name in first}
    assert {run_file.read(run_path(cell, folder)).sha256 for cell in sweep.cells} == hashes
    assert panels


def test_a_grid_that_grows_keeps_what_it_has(text, tmp_path):
    execute(parse(text, "test"), tmp_path / "out")
    with pytest.warns(UserWarning, match="held another sweep"):
        assert statuses(parse(text.replace("0.2]", "0.2, 0.3]"), "test"), tmp_path / "out") == [
            "skipped", "skipped", "done",
        ]  # fmt: skip


def test_other_words_for_the_same_sweep_are_no_other_sweep(text, tmp_path):
    execute(parse(text, "test"), tmp_path / "out")
    assert statuses(parse("# once more\n" + text, "test"), tmp_path / "out") == ["skipped", "skipped"]
    assert not (tmp_path / "out" / "sweep.1.toml").exists()


@pytest.mark.parametrize("called", ["fraction-0.1", "fraction-0.1.00000000"])
def test_what_an_older_version_called_otherwise_is_read_and_completed(text, tmp_path, called):
    folder = tmp_path / "out"
    execute(parse(text, "test"), folder)
    (folder / "cells.csv").unlink()
    one, two = sorted(folder.glob("*.h5"))
    one.rename(folder / f"{called}.h5")
    two.unlink()
    before = (folder / f"{called}.h5").read_bytes()
    if called == "fraction-0.1":
        _, panels = contents(folder)
        assert len(panels) == 1
    assert statuses(parse(text, "test"), folder) == ["skipped", "done"]
    assert (folder / f"{called}.h5").read_bytes() == before
    sweep = naming.indexed(load(folder / "sweep.toml", crafted=True), folder)
    assert [run_path(cell, folder).exists() for cell in sweep.cells] == [True, True]


def test_an_older_name_with_another_run_is_left_alone(text, tmp_path):
    folder = tmp_path / "out"
    execute(parse(text.replace("n_train = 20", "n_train = 30"), "test"), folder)
    for path in list(folder.glob("*.h5")):
        path.rename(folder / f"{path.name.split('.h5')[0].rpartition('.')[0]}.h5")
    with pytest.warns(UserWarning, match="held another sweep"):
        assert statuses(parse(text, "test"), folder) == ["done", "done"]
    assert len(list(folder.glob("*.h5"))) == 4


def test_poison_of_another_tool_counts_as_data(tmp_path):
    sweep = of_grid({"dataset": "digits", "model": "svm", "lambda": "0.1", "attack": "given"})
    sweep = changed(sweep, {}, {"attack.path": str(tmp_path / "poison.csv")})
    named = []
    for content in ("1,2\n", "1,3\n"):
        (tmp_path / "poison.csv").write_text(content)
        named.append(naming.named(sweep, tmp_path).cells[0].file)
    assert len(set(named)) == 2


def test_a_cell_without_data_has_its_label_alone(tmp_path):
    sweep = parse('base.dataset = "loan"\nbase.model = "linear"\nbase.attack = "flip"\n', "test")
    assert naming.named(sweep, tmp_path, str(tmp_path)).cells[0].file == ""


def test_an_index_does_not_lead_out_of_its_folder(tmp_path):
    (tmp_path / "cells.csv").write_text("cell,file\nrun,../other.h5\n")
    assert naming.indexed(of_grid({"seed": "1"}), tmp_path).cells[0].file == ""


def test_changes_from_the_command_line_join_those_of_the_file(tmp_path):
    sweep = parse("[override]\nseed = 4\n[grid]\nfraction = [0.1, 0.2]\n", "test")
    found = changed(sweep, {"repetitions": 2}, {"fraction": "0.3", "n_train": "50,60"})
    assert [(c.run.seed, c.run.repetitions, c.run.fraction, c.run.n_train) for c in found.cells] == [
        (4, 2, 0.3, 50), (4, 2, 0.3, 60),
    ]  # fmt: skip
    with pytest.raises(PoisonError, match="both set seed"):
        changed(sweep, {}, {"seed": "1,2"})
