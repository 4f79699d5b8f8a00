"""Run files of cells: named by what the result depends on, so that nothing stale is taken for finished."""

import re

import numpy as np
import pytest
from sweeps.small import same_bits

from poisoncli import FailedError, PoisonError
from poisoncli.runs import plugins, run_file, serialize
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


def defended(text, remove):
    return parse(f'defend = ["l2", "knn"]\ndefense.l2.remove = {remove}\n{text}', "test")


def shares(folder):
    """What l2 was told to remove, in all files of a folder."""
    found = (run_file.outline(path).defenses["l2"] for path in folder.glob("*.h5"))
    return sorted(serialize.choice_from_json(choice).options["remove"] for choice in found)


@pytest.mark.filterwarnings("ignore:.*held another sweep")
def test_other_options_of_a_defense_make_other_cells_of_the_same_poison(text, tmp_path, monkeypatch):
    folder, fresh, sweep = tmp_path / "out", tmp_path / "fresh", defended(text, 0.1)
    execute(defended(text, 0.3), fresh)
    assert statuses(sweep, folder) == ["done", "done"]
    before = {path.name: path.read_bytes() for path in folder.glob("*.h5")}
    monkeypatch.setattr("poisoncli.runs.stages.craft", lambda *_: pytest.fail("crafted again"))
    assert statuses(defended(text, 0.3), folder) == ["done", "done"]
    assert shares(folder) == [0.1, 0.1, 0.3, 0.3]
    assert before.items() <= {path.name: path.read_bytes() for path in folder.glob("*.h5")}.items()
    assert statuses(sweep, folder) == ["skipped", "skipped"]
    for name in before:
        (folder / name).unlink()
    same_bits(fresh, folder)


@pytest.mark.filterwarnings("ignore:.*held another sweep")
def test_a_defense_more_completes_the_files(text, tmp_path):
    folder = tmp_path / "out"
    execute(parse(f'defend = ["l2"]\n{text}', "test"), folder)
    names = sorted(path.name for path in folder.glob("*.h5"))
    more = parse(f'defend = ["l2", "knn"]\n{text}', "test")
    assert statuses(more, folder) == ["done", "done"]
    assert sorted(path.name for path in folder.glob("*.h5")) == names
    assert all("knn" in run_file.read(folder / name).evaluations for name in names)


@pytest.mark.filterwarnings("ignore:.*held another sweep")
def test_older_names_count_with_the_same_options_of_defenses_alone(text, tmp_path):
    folder, sweep = tmp_path / "out", defended(text, 0.1)
    execute(sweep, folder)
    for path in list(folder.glob("*.h5")):
        path.rename(folder / f"{path.name.removesuffix('.h5').rpartition('.')[0]}.00000000.h5")
    (folder / "cells.csv").unlink()
    assert statuses(sweep, folder) == ["skipped", "skipped"]
    assert statuses(defended(text, 0.3), folder) == ["done", "done"]
    assert shares(folder) == [0.1, 0.1, 0.3, 0.3]


@pytest.mark.filterwarnings("ignore:.*held another sweep")
def test_another_defender_is_judged_anew(tmp_path):
    text = """
    base.model = "svm"
    base.attack = "flip"
    base.lambda = 0.1
    base.n_train = 30
    base.n_val = 10
    base.n_test = 10
    defender.other.lambda = VALUE
    """
    folder, lambdas = tmp_path / "out", []
    for value in (0.3, 0.9):
        sweep = parse(text.replace("VALUE", str(value)), "test")
        assert statuses(sweep, folder) == ["done"]
        (cell,) = naming.indexed(sweep, folder).cells
        lambdas.append(np.exp(run_file.read(run_path(cell, folder, "other")).poison.log_lambda[0, 0, 0]) / 30)
    assert lambdas == pytest.approx([0.3, 0.9], rel=1e-5)


def test_the_code_of_a_model_of_the_users_own_counts(tmp_path):
    own = "def init(key, m, outputs): ...\ndef output(params, x): ...\nmine = init, output\n"
    names = []
    for more in ("", "# changed\n"):
        (tmp_path / "own_model.py").write_text(own + more)
        plugins.load([f"{tmp_path}/own_model.py:mine"])
        sweep = of_grid({"dataset": "digits", "model": "mine", "attack": "flip"})
        names.append(naming.named(sweep, tmp_path).cells[0].file)
    assert len(set(names)) == 2
    del plugins.MODELS["mine"]


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


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FailedError, match="make the folder writable"):
        naming.begin(of_grid({"seed": "1"}), tmp_path / "file" / "out")


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


def test_a_damaged_plan_or_index_is_replaced_and_the_plan_kept(text, tmp_path):
    folder = tmp_path / "out"
    execute(parse(text, "test"), folder)
    index = (folder / "cells.csv").read_bytes()
    (folder / "cells.csv").write_bytes(b"\xff\xfe")
    (folder / "sweep.toml").write_bytes(b"\xff")
    with pytest.warns(UserWarning, match=r"its description is kept in sweep\.1\.toml"):
        assert statuses(parse(text, "test"), folder) == ["skipped", "skipped"]
    assert (folder / "sweep.1.toml").read_bytes() == b"\xff"
    assert (folder / "sweep.toml").read_text() == text
    assert (folder / "cells.csv").read_bytes() == index
