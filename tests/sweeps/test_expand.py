"""Axes of a grid: lists, ranges, the names of flags and options; what makes no sense is refused."""

import pytest

from poisoncli import PoisonError
from poisoncli.sweeps import expand
from poisoncli.sweeps.plan import of_grid, parse


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0:4", ("0", "1", "2", "3")),
        ("5:0:-2", ("5", "3", "1")),
        ("0.1:0.4:0.1", ("0.1", "0.2", "0.3")),  # 0.1 + 0.1 + 0.1 is more than 0.3 as a float
        ("0:2, 7", ("0", "1", "7")),
        ("32,8;64", ("32,8", "64")),
        ("class:1,val", ("class:1", "val")),
    ],
)
def test_a_text_lists_its_values(text, values):
    assert expand.axes({"seed": text}, "test") == {"seed": values}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("--n-train", "n_train"),
        ("reps", "repetitions"),
        ("method", "attack"),
        ("target-rows", "attack.target"),
        ("target", "dataset.target"),
        ("attack.outer-rate", "attack.outer_rate"),
        ("lambda", "lambda"),
    ],
)
def test_names_are_those_of_the_command_line(name, known):
    assert expand.known_name(name) == known


def test_a_product_reaches_the_options_of_methods_and_lists_stay_lists():
    sweep = parse(
        """
        base.model = "mlp"
        base.trainer = { name = "sgd", epochs = 20 }
        [grid]
        trainer.rate = [0.01, 0.1]
        "model.hidden" = [[32, 8], [4]]
        seed = "0:2"
        reg = "none"
        """,
        "test",
    )
    assert len(sweep.cells) == 8
    last = sweep.cells[-1]
    assert last.axes == {"trainer.rate": 0.1, "model.hidden": "4", "seed": 1}  # what has one value tells nothing
    assert last.name == "rate-0.1-hidden-4-seed-1"
    assert (last.run.trainer.options["rate"], last.run.trainer.options["epochs"]) == (0.1, 20)
    assert sweep.cells[0].run.model.options["hidden"] == (32, 8)
    assert len({cell.name for cell in sweep.cells}) == 8


def test_panels_and_lines_have_each_point_of_the_grid():
    text = "[panel.a]\nseed = 1\n[panel.b]\nseed = 2\n[line.x]\n[line.y]\n[grid]\nfraction = [0.1, 0.2]\n"
    cells = parse(text, "test").cells
    assert [cell.name for cell in cells[:3]] == ["a-x-fraction-0.1", "a-x-fraction-0.2", "a-y-fraction-0.1"]
    assert (len(cells), cells[-1].run.seed, cells[-1].run.fraction) == (8, 2, 0.2)


def test_a_method_goes_before_its_options_and_a_policy_for_lambda_replaces_another():
    sweep = of_grid({"attack.outer_steps": "2", "attack": "rmd", "lambda": "0.1,clean", "reg": "l2"})
    assert [cell.name for cell in sweep.cells] == ["lambda-0.1", "lambda-clean"]
    fixed, clean = (cell.run for cell in sweep.cells)
    assert (fixed.lambda_, fixed.clean_lambda, fixed.attack.options["outer_steps"]) == (0.1, False, 2)
    assert (clean.lambda_, clean.clean_lambda) == (None, True)


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"rate": "0.1"}, "nothing named 'rate' to vary"),
        ({"trainers.rate": "0.1"}, "no kind of method named 'trainers'"),
        ({"trainer.rat": "0.1"}, "has no option 'rat'"),
        ({"seed": "one"}, "seed is 'one': give a whole number"),
        ({"seed": ["1", True]}, "seed is 'True'"),
        ({"seed": "0:1000000000"}, "1,000,000,000 cells"),
        ({"seed": "0:1:1e-300"}, "cells"),
        ({"seed": "3:0"}, "holds no number"),
        ({"seed": "0:1e999999999"}, "is no range"),
        ({"seed": "1.2.3:4"}, "no range"),
        ({"seed": "0:200", "repetitions": "1:101"}, "20,000 cells"),
        ({"seed": "1,1"}, "the same run"),
        ({"fraction": "0.1,0.10"}, "the same run"),
        ({"seed": []}, "no values"),
        ({"attack": "rmd,flip", "attack.outer_steps": "1,2"}, "attack flip has no option"),
    ],
)
def test_what_makes_no_sense_is_refused(grid, says):
    with pytest.raises(PoisonError, match=says):
        of_grid(grid)


@pytest.mark.parametrize(
    ("texts", "says"),
    [(["seed"], "names no values"), (["seed="], "names no values"), (["seed=1", "seed=2"], "twice")],
)
def test_words_of_the_command_line_are_checked(texts, says):
    with pytest.raises(PoisonError, match=says):
        expand.words(texts)


def test_a_name_in_grid_and_override_is_refused():
    with pytest.raises(PoisonError, match="both set seed"):
        parse("[grid]\nseed = [1, 2]\n[override]\nseed = 3\n", "test")
