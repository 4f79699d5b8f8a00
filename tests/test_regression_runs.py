import csv
import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import poisoncli
from poisoncli import Choice, PoisonError, Run
from poisoncli.cli import app
from poisoncli.reports import summary
from poisoncli.runs import audit, description, prepare, run_file
from poisoncli.runs.problem import counts_of
from poisoncli.runs.problem import problem as problem_of
from poisoncli.sweeps import grid

SMALL = {"outer_steps": 4, "inner_steps": 20, "batch": 9}
RUN = Run(dataset=Choice("diabetes"), attack=Choice("stealthy", SMALL), repetitions=2, n_train=60, fraction=0.3)


def crafted(tmp_path, run=RUN, name="run.h5", **changes):
    options = {**run.attack.options, **changes}
    return poisoncli.attack(
        poisoncli.Run(**{**run.__dict__, "attack": Choice(run.attack.name, options)}), tmp_path / name
    )


def test_names_follow_the_task():
    run = description.resolve(Run(dataset=Choice("boston")))
    assert (run.model.name, run.attack.name, run.fraction) == ("linear", "stealthy", 0.45)
    found = {name: run.attack.options[name] for name in ("outer_steps", "outer_rate", "inner_steps", "batch")}
    assert found == {"outer_steps": 100, "outer_rate": 0.9, "inner_steps": 40, "batch": 19}  # SPR Table II
    deep = description.resolve(Run(dataset=Choice("heart"), model=Choice("mlp")))
    assert (deep.attack.options["outer_steps"], deep.trainer.options["epochs"]) == (80, 100)
    assert deep.model.options["hidden"] == (32, 8)


@pytest.mark.parametrize(
    ("dataset", "n", "batch"),
    [("loan", 3361, 252), ("heart", 1599, 120), ("boston", 253, 19), ("appliances", 9868, 740)],
)
def test_the_papers_batches_make_seven_fractions(dataset, n, batch):
    run = description.resolve(Run(dataset=Choice(dataset)))
    counts = counts_of(Run(**{**run.__dict__, "n_train": n}), "real")
    assert counts == tuple(range(0, 6 * batch + 1, batch))


@pytest.mark.parametrize("n", [4, 10, 60, 86, 100, 142, 253, 300, 1000, 5000])
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.193, 0.2, 0.3, 0.35, 0.45, 0.9, 0.9999])
@pytest.mark.parametrize("dataset", ["line", "breast-cancer"])
@pytest.mark.parametrize("batch", [0, 3])
def test_the_fraction_is_reached_to_the_row(dataset, n, fraction, batch):
    run = description.resolve(Run(dataset=Choice(dataset), fraction=fraction))
    run.attack.options["batch"] = batch
    run = dataclasses.replace(run, n_train=n)
    task = "real" if dataset == "line" else "binary"
    if n * fraction < 1:
        with pytest.raises(PoisonError, match="less than one row"):
            counts_of(run, task)
        return
    counts = counts_of(run, task)
    assert counts[-1] <= n - 1
    assert abs(counts[-1] - min(fraction * n, n - 1)) < 1
    *sizes, last = np.diff(counts)
    assert len(set(sizes)) <= 1
    assert 0 < last <= min([*sizes, last])
    assert batch == 0 or max(np.diff(counts)) <= batch


def test_rows_are_standardized_by_the_clean_training_rows():
    prepared = prepare.prepare(description.resolve(RUN))
    for part in (prepared.split.train.x, prepared.split.train.y):
        np.testing.assert_allclose(part.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(part.std(1), 1, atol=1e-5)
    raw = description.build(Choice("diabetes"), "dataset").load()
    x = prepared.split.val.x * prepared.scale[:, None] + prepared.shift[:, None]
    np.testing.assert_allclose(x, raw.x[prepared.rows["val"]], atol=1e-6)
    y = prepared.split.test.y * prepared.y_scale[:, None] + prepared.y_shift[:, None]
    np.testing.assert_allclose(y, raw.y[prepared.rows["test"]], rtol=1e-5)


def test_the_attack_hurts_more_than_its_baselines_and_alpha_trades(tmp_path):
    damage = {}
    for name, run, changes in (
        ("full", RUN, {"outer_steps": 12}),
        ("half", RUN, {"outer_steps": 12, "alpha": 0.1}),
        ("flip", Run(**{**RUN.__dict__, "attack": Choice("flip", {"batch": 9})}), {}),
    ):
        content = poisoncli.evaluate(crafted(tmp_path, run, f"{name}.h5", **changes))
        damage[name] = content.evaluations["none"].test_error.mean(0)
        assert np.all(np.isfinite(damage[name]))
    assert damage["full"][-1] > damage["flip"][-1]
    assert damage["full"][-1] > damage["half"][-1] > damage["full"][0]


def test_nmse_is_equation_7(tmp_path):
    path = crafted(tmp_path)
    content = poisoncli.evaluate(path)
    prepared = prepare.restore(content)
    params, (x, y, _) = content.evaluations["none"].params[0], prepared.split.test
    for r in range(2):
        output = x[r] @ params["w"][r, -1, 0] + params["b"][r, -1, 0]
        nmse = np.mean((output - y[r]) ** 2) / np.mean(y[r] ** 2)
        assert content.evaluations["none"].test_error[r, -1] == pytest.approx(float(nmse), rel=1e-4)
    assert summary.rows(content)[0]["measure"] == "test NMSE"


@pytest.mark.parametrize("method", ["stealthy", "flip", "statp"])
def test_poison_stays_in_the_box_and_batches_are_frozen(tmp_path, method):
    options = SMALL if method == "stealthy" else {"batch": 9}
    content = run_file.read(crafted(tmp_path, Run(**{**RUN.__dict__, "attack": Choice(method, options)})))
    train = prepare.restore(content).split.train
    poison, slack = content.poison, 1e-5
    assert np.all(poison.x >= train.x.min(1)[:, None] - slack)
    assert np.all(poison.x <= train.x.max(1)[:, None] + slack)
    assert np.all((poison.y >= train.y.min(1)[:, None] - slack) & (poison.y <= train.y.max(1)[:, None] + slack))
    np.testing.assert_array_equal(poison.counts, [0, 9, 18])


def test_a_later_batch_leaves_the_earlier_ones_alone(tmp_path):
    one = run_file.read(crafted(tmp_path, Run(**{**RUN.__dict__, "fraction": 0.15}), "one.h5"))
    two = run_file.read(crafted(tmp_path))
    np.testing.assert_allclose(one.poison.x, two.poison.x[:, :9], atol=1e-5)
    np.testing.assert_allclose(one.poison.y, two.poison.y[:, :9], atol=1e-5)


@pytest.mark.parametrize("stop", [3, 8, 11])
def test_an_interrupted_attack_goes_on_to_the_same_bits(stop):
    prepared = prepare.prepare(
        description.resolve(Run(**{**RUN.__dict__, "attack": Choice("stealthy", {**SMALL, "alpha": 0.3})}))
    )
    method, problem = description.build(prepared.run.attack, "attack"), problem_of(prepared)

    def copied(poison):
        return poison._replace(
            **{k: np.array(getattr(poison, k)) for k in ("x", "y", "loss", "scales", "trail", "log_lambda")}
        )

    states = [copied(state) for state in method.craft(jax.random.key(0), problem)]
    assert states[-1].done == states[-1].total == len(states) * (states[0].done)
    begun = copied(states[min(stop, len(states)) - 2])
    *_, last = method.craft(jax.random.key(0), problem, begun)
    for name in ("x", "y", "loss", "scales", "trail"):
        np.testing.assert_array_equal(getattr(last, name), getattr(states[-1], name))


def test_classes_and_real_targets_are_not_mixed_up():
    for run, word in (
        (Run(dataset=Choice("diabetes"), model=Choice("logistic")), "--model linear"),
        (Run(dataset=Choice("diabetes"), attack=Choice("rmd")), "--method .*stealthy"),
        (Run(model=Choice("linear")), "two classes"),
    ):
        with pytest.raises(PoisonError, match=word):
            prepare.prepare(description.resolve(run))


def test_all_defenses_through_the_command_line(tmp_path):
    path, out, figure = crafted(tmp_path), tmp_path / "clean.csv", tmp_path / "gain.png"
    result = CliRunner().invoke(app, ["defend", str(path), "-d", "all", "-q"])
    assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(app, ["evaluate", str(path), "--csv", "-q"])
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert {row["defense"] for row in rows} == {"none", *description.defenses(["all"], real=True)}
    assert {row["knows"] for row in rows if row["defense"] == "bayesclean"} == {"nothing"}
    for row in rows:
        if row["defense"] == "trim":
            assert float(row["removed"]) == 0.4
    result = CliRunner().invoke(app, ["defend", str(path), "-d", "trim", "--export", str(out), "-q"])
    assert result.exit_code == 0, result.output
    kept = np.genfromtxt(out, delimiter=",", names=True)
    assert len(kept) == 36
    clean, raw = kept[kept["poison"] == 0], description.build(Choice("diabetes"), "dataset").load()
    np.testing.assert_allclose(clean["y"], raw.y[clean["row"].astype(int)], rtol=1e-4)
    assert CliRunner().invoke(app, ["report", str(path), "-o", str(figure), "-q"]).exit_code == 0
    assert figure.stat().st_size > 10_000


@pytest.fixture
def prices(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 3)) * [1, 10, 100]
    y = 1000 + x @ [50, 5, 0.5] + 5 * rng.standard_normal(150)
    y[:5] += 4000
    path = tmp_path / "mine.csv"
    lines = ["a,b,c,price"] + [",".join(f"{v:.3f}" for v in (*row, t)) for row, t in zip(x, y, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("defense", ["trim", "huber", "sever", "proda", "bayesclean"])
def test_ones_own_rows_are_screened_without_an_attack(prices, defense):
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", defense, "--csv"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 150
    assert {int(row["row"]) for row in rows[:5]} == {1, 2, 3, 4, 5} or defense == "sever"
    if defense == "bayesclean":
        first = rows[0]
        assert float(first["residual"]) == pytest.approx(float(first["target"]) - float(first["mean"]), abs=0.1)
        assert 800 < np.median([float(row["mean"]) for row in rows]) < 1500


def test_screening_writes_the_rows_kept_and_a_figure(prices, tmp_path):
    out, figure = tmp_path / "kept.csv", tmp_path / "why.svg"
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", "bayesclean", "-o", "rule=interval"]
    words += ["-o", "c1=2", "--export", str(out), "--figure", str(figure)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "it was told nothing" in " ".join(result.stdout.split())
    given, kept = prices.read_text().splitlines(), out.read_text().splitlines()
    assert kept[0] == given[0]
    assert set(kept) < set(given)
    assert not set(given[1:6]) & set(kept)
    assert figure.stat().st_size > 1000


def test_duti_takes_trusted_rows_from_a_file(prices, tmp_path):
    clean = tmp_path / "trusted.csv"
    lines = prices.read_text().splitlines()
    clean.write_text("\n".join([lines[0], *lines[-30:]]))
    words = ["defend", "--dataset", str(prices), "--target", "price", "-d", "duti", "--json"]
    assert CliRunner().invoke(app, words).exit_code == 2
    result = CliRunner().invoke(app, [*words, "--trusted", str(clean)])
    assert result.exit_code == 0, result.output
    assert "trusted rows" in json.loads(result.stdout)["knows"]


def test_screening_refuses_what_makes_no_sense(prices, tmp_path):
    flat = tmp_path / "flat.csv"
    flat.write_text("a,y\n" + "\n".join(f"{i},1" for i in range(30)))
    with pytest.raises(PoisonError, match="all 1"):
        audit.audit(Choice("file", {"path": str(flat)}), "trim")
    assert CliRunner().invoke(app, ["defend", "-d", "trim"]).exit_code == 2


def test_loan_reads_a_file_of_jagielskis_shape(tmp_path):
    folder = tmp_path / "loan"
    folder.mkdir()
    rng = np.random.default_rng(0)
    values = rng.random((40, 89)).round(4)
    header = ",".join(["InterestRate", *(f"f{i}" for i in range(88))])
    np.savetxt(folder / "loan-processed.csv", values, delimiter=",", header=header, comments="", fmt="%.4f")
    data = description.build(Choice("loan"), "dataset").load(str(tmp_path))
    np.testing.assert_allclose(data.y, values[:, 0], rtol=1e-5)
    assert data.x.shape == (40, 88)
    (folder / "loan-processed.csv").write_text("a,b\n1,x\n")
    with pytest.raises(PoisonError, match="get it anew"):
        description.build(Choice("loan"), "dataset").load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("boston", (506, 13)),
        ("heart", (3198, 28)),
        ("appliances", (19735, 16)),
        ("house", (1460, 274)),
        ("pharm", (4683, 204)),
    ],
)
def test_files_of_the_papers(name, shape):
    from poisoncli.tables import locate

    dataset = description.DATASETS[name]
    if locate.find(dataset.file) is None:
        pytest.skip(f"{dataset.file} is not in POISON_DATA_DIR")
    data = dataset().load()
    assert data.x.shape == shape
    assert data.task == "real"


def test_generated_line_is_the_papers():
    data = description.build(Choice("line"), "dataset").load()
    slope, level = np.polyfit(data.x[:, 0], data.y, 1)
    assert (slope, level) == (pytest.approx(0.8, abs=0.02), pytest.approx(0, abs=0.06))
    assert np.std(data.y - 0.8 * data.x[:, 0]) == pytest.approx(1.2, rel=0.03)


@pytest.mark.parametrize("name", [name for name in grid.presets() if name.startswith("spr")])
def test_presets_of_the_paper_are_complete(name):
    plan = grid.preset(name)
    assert plan.title.startswith(f"SPR Fig. {name.removeprefix('spr-fig')}:")
    assert {cell.run.model.name for cell in plan.cells} <= {"linear", "mlp"}
    assert set(plan.defend) <= set(description.DEFENSES)


def test_a_sweep_defends_and_draws_every_run(tmp_path):
    text = """
    title = "two"
    defend = ["trim", "bayesclean"]
    [base]
    dataset = "line"
    n_train = 40
    fraction = 0.2
    [line."alpha = 1"]
    attack = { name = "stealthy", outer_steps = 3, inner_steps = 10, batch = 8 }
    """
    plan, folder = grid.parse(text, "here"), tmp_path / "out"
    assert [outcome.status for outcome in grid.execute(plan, folder)] == ["done"]
    assert [outcome.status for outcome in grid.execute(plan, folder)] == ["skipped"]
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "alpha-1.png").stat().st_size > 10_000
