"""Figures of run files: what can be drawn, and one style for a policy everywhere."""

import copy
import dataclasses

import pytest
from typer.testing import CliRunner

from poisoncli import PoisonError
from poisoncli.cli import app
from poisoncli.reports import figures
from poisoncli.reports.figures import Layout


@pytest.mark.parametrize(
    ("names", "draw"),
    [
        pytest.param(["none", "fixed"], "test_error,log_lambda,norm,consistency,decrease", marks=pytest.mark.long),
        (["none", "fixed"], "histogram"),
        (["fixed"], "log_lambda+norm"),
        (["layers"], "layer_norm,log_lambda"),
    ],
)
def test_figures_are_drawn(folder, tmp_path, names, draw):
    files = [str(folder / f"{name}.h5") for name in names]
    out = tmp_path / "figure.png"
    result = CliRunner().invoke(app, ["report", *files, "--draw", draw, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("names", "draw"), [(["none"], "beauty"), (["none"], "decrease"), (["layers"], "consistency")]
)
def test_what_cannot_be_drawn_is_refused(content, tmp_path, names, draw):
    with pytest.raises(PoisonError, match="draw"):
        figures.figure([content(name) for name in names], tmp_path / "figure.png", [draw])
    assert not list(tmp_path.iterdir())


def test_a_policy_has_one_style_in_every_figure(content):
    one = figures._styles({"": {"a": content("none"), "b": content("fixed"), "c": content("layers")}})
    other = figures._styles({"left": {"x": content("layers")}, "right": {"y": content("fixed")}})
    assert one["c"] == other["x"]
    assert one["b"] == other["y"]
    again = figures._styles({"": {"a": content("fixed"), "b": content("fixed")}})
    assert again["a"] == one["b"]
    assert len(set(again.values())) == 2
    colors, _, markers = zip(*figures.STYLES, strict=True)
    assert len(set(colors)) == len(set(markers)) == len(figures.STYLES)


def test_panels_of_the_same_data_have_one_scale(monkeypatch, content, tmp_path):
    """And panels of other data, or of other quantities, their own."""
    high = copy.deepcopy(content("fixed"))
    high.evaluations["none"].test_error[:] += 0.3
    other = dataclasses.replace(content("fixed"), run=high.run.replace('"digits"', '"moons"'))
    monkeypatch.setattr(figures, "image", lambda drawing, _: drawings.append(drawing) or b"")
    drawings = []
    panels = {"low": {"a": content("fixed")}, "high": {"a": high}, "other": {"a": other}}
    figures.grid(panels, Layout(("test_error", "norm")), "title", tmp_path / "a.png")
    errors = [axis.get_ylim() for axis in drawings[0].axes[:3]]
    norms = [axis.get_ylim() for axis in drawings[0].axes[3:]]
    assert errors[0] == errors[1] != norms[0]
    assert errors[0][1] >= 100 * high.evaluations["none"].test_error.max()
    assert errors[2] != errors[0]
