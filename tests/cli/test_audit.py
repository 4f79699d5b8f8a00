"""`poison audit`: one command, one page."""

import json
from pathlib import Path

import pytest
from command import done, poison, strict

SMALL = (
    "audit", "digits", "--n-train", "40", "--n-val", "20", "--n-test", "20", "-d", "l2", "-o", "outer_steps=4",
    "-o", "inner_steps=6", "-o", "batch=4", "-o", "trainer.epochs=20",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("folder")


def test_it_prints_damage_and_help_and_leaves_files_for_other_verbs():
    lines = done(*SMALL)
    text = "\n".join(lines)
    for word in ("How much damage", "What helps at 10.0% poison", "random label flips", "learned lambda", "l2"):
        assert word in text
    assert lines[-2].startswith("10.0% poison takes the test error from ")
    assert lines[-1].endswith(".")
    assert Path("audit/audit.png").stat().st_size > 10_000
    assert "l2" in "\n".join(done("evaluate", "audit/attack.h5", "-q"))


def test_json_has_the_same_numbers():
    found = strict("\n".join(done(*SMALL, "--json", "-q", "--out", "mine")))
    assert {one["what"] for one in found["helps"]} == {"nothing", "learned lambda", "l2"}
    rows = json.loads("\n".join(done("evaluate", "mine/attack.h5", "--json", "-q")))["rows"]
    bare = [row["value"] for row in rows if row["defense"] == "none"]
    assert [row["value"] for row in found["damage"]["logistic"]] == bare


def test_a_users_file_and_a_victim_by_name():
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]},{int(i % 7 + i % 3 > 4)}" for i in range(120))
    Path("mine.csv").write_text(f"size,kind,label\n{rows}\n")
    Path("mine.py").write_text("from sklearn.tree import DecisionTreeClassifier as Tree\n\n"
                               "from sklearn.pipeline import make_pipeline as line\n"
                               "from sklearn.preprocessing import OrdinalEncoder\n\n\n"
                               "def pipeline():\n    return line(OrdinalEncoder(), Tree())\n")  # fmt: skip
    words = ("audit", "mine.csv", "--target", "label", "--victim", "mine.py:pipeline", "-o", "outer_steps=2")
    text = "\n".join(done(*words, "-d", "l2", "--frozen", "kind"))
    assert "pipeline" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("audit",), "DATA"),
        (("audit", "no.csv"), "no.csv"),
        (("audit", "digits", "-d", "no-such", "--n-train", "40"), "no-such"),
        (("audit", "digits", "--fraction", "2"), "--fraction"),
        (("audit", "digits", "--victim", "no:x", "--n-train", "40"), "no"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(words, says):
    result = poison(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not Path("audit/attack.h5").exists()


def test_a_file_in_the_place_of_the_folder_is_left_alone():
    Path("audit").write_text("mine")
    result = poison(*SMALL)
    assert result.exit_code == 2
    assert "name a folder with --out" in result.stderr
    assert Path("audit").read_text() == "mine"
