"""What the page of an audit says: its tables, sentences and figure speak of the same numbers."""

import dataclasses

import numpy as np
import pytest

from poisoncli import Choice, Run, Victim
from poisoncli.reports import audit as page
from poisoncli.reports import summary
from poisoncli.runs.audit import audit


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """An audit of digits with two defenses and a victim."""
    rmd = Choice("rmd", {"outer_steps": 4, "inner_steps": 6, "batch": 4})
    run = Run(attack=rmd, trainer=Choice("sgd", {"epochs": 20}), n_train=40, n_val=20, n_test=40, repetitions=2)
    folder = tmp_path_factory.mktemp("audit")
    tree = Victim("sklearn.tree:DecisionTreeClassifier", {"max_depth": 2})
    return audit(run, folder, defenses=["l2", "knn"], outside=[tree])


def test_answers_come_best_first_with_what_they_cost(found):
    every = page.helps(found)
    assert {one["what"] for one in every} == {page.NOTHING, page.LEARNED, "l2", "knn"}
    values = [one["poisoned"]["value"] for one in every]
    assert values == sorted(values)
    behind = next(one for one in every if one["what"] == "l2")
    evaluation = found.attack.evaluations["l2"].test_error
    assert behind["clean"]["value"] == pytest.approx(evaluation[:, 0].mean())
    assert behind["poisoned"]["value"] == pytest.approx(evaluation[:, -1].mean())
    victim = found.attack.victims[0].measures["l2"]["error"]
    assert behind["victims"]["DecisionTreeClassifier"]["value"] == pytest.approx(victim[:, -1].mean())
    backwards = [one["poisoned"]["value"] for one in page.helps(found, "auc")]
    assert backwards == sorted(backwards, reverse=True)


def test_tables_have_a_line_for_each_fraction_and_each_answer(found):
    damage, helps = page.tables(found)
    assert damage.columns == [
        "poison", "rows", "logistic (surrogate)", "DecisionTreeClassifier", page.FLIPS,
    ]  # fmt: skip
    assert [row[1] for row in damage.rows] == ["0", "4"]
    assert len(helps.rows) == 4
    assert all(len(row) == len(helps.columns) for row in helps.rows)
    assert helps.columns[3] == "DecisionTreeClassifier"
    learned = next(row for row in helps.rows if row[0] == page.LEARNED)
    assert learned[3] == ""  # victims of one's own have no lambda to learn


def test_the_sentences_name_damage_flips_and_the_best_answer(found):
    first, *_, second = page.says(found)
    bare = summary.rows(found.attack)
    assert first.startswith("10.0% poison takes the test error from ")
    assert f"{100 * bare[-1]['value']:.1f}" in first
    assert page.FLIPS in first
    assert "that of DecisionTreeClassifier from" in first
    best = page.helps(found)[0]["what"]
    assert (
        second == "nothing of what was tried helps"
        if best == page.NOTHING
        else second.startswith(f"what helps most is {best}: ")
    )


@pytest.mark.parametrize(("metric", "worse"), [("", 0.4), ("auc", -0.4)])
def test_where_flips_do_more_it_is_said(found, metric, worse):
    rate = found.flips.evaluations["none"]
    for change in (worse, -worse):
        metrics = {**rate.metrics, "auc": found.attack.evaluations["none"].metrics["auc"] + change}
        error = found.attack.evaluations["none"].test_error + change
        flips = dataclasses.replace(rate, test_error=error, metrics=metrics)
        other = dataclasses.replace(found, flips=dataclasses.replace(found.flips, evaluations={"none": flips}))
        said = [text for text in page.says(other, metric) if text.startswith("flips do more")]
        assert len(said) == (change == worse)


def test_where_nothing_helps_it_is_said(found):
    poor = {
        name: dataclasses.replace(one, test_error=one.test_error + (name != "none"))
        for name, one in found.attack.evaluations.items()
    }
    worse = dataclasses.replace(found, attack=dataclasses.replace(found.attack, evaluations=poor), learned=None)
    assert page.says(worse)[-1] == "nothing of what was tried helps"


def test_the_figure_is_drawn(found, tmp_path):
    path = page.draw(found, tmp_path / "audit.png")
    assert path.stat().st_size > 10_000
    assert np.any(found.attack.poison.counts > 0)
