"""Strict numerics for the core's tests; the product itself, and all other tests, run in float32."""
# ruff: noqa: E402  (JAX reads the environment when it is imported)

import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".jax_cache"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# Nearly all of the suite's time is compilation of small programs: it is done without costly optimizations. In the
# environment, before JAX is imported, so that commands which tests start compile to the same bits.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# What was compiled is kept for the next run of the tests, by JAX under keys of its version, flags and device;
# for each worker apart, since nothing keeps one from reading what another has half written.
if Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", FOLDER / "")).is_relative_to(FOLDER):  # a worker inherits one
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(FOLDER / (WORKER or "alone"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if WORKER:  # one process a core, one thread a process
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import cases
import jax
import numpy as np
import pytest
import scipy.io
from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=40)  # a busy machine is no failure
settings.load_profile("suite")


@pytest.fixture
def strict():
    """Float64, and an error wherever types or ranks are promoted silently."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def standard(strict):
    """`strict`, but for Optax, which promotes types silently."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def wide_tables(monkeypatch):
    """Tables stand in one piece, unless a test says how wide its terminal is."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def no_data_at_hand(monkeypatch):
    """Tests bring their data: what lies on this machine must not decide what they see."""
    monkeypatch.delenv("POISON_DATA_DIR", raising=False)


@pytest.fixture(autouse=True, scope="module")
def forgotten_programs():
    """Compiled programs hold memory maps, and a process that uses up those it may have (65,530) crashes."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def case(strict):
    """Makes a `cases.Case`, in strict float64: a model, a penalty, and the number of lambdas."""
    return cases.make


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A data folder with a small file in the form of the processed Enron mails: 220 and 80 mails, 40 words."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.35, 1, -1)
    rates = rng.gamma(0.4, 1.0, (2, 40))
    x = rng.poisson(rates[(y > 0).astype(int)] * 0.7 + 0.05).astype(float)
    arrays = {"X_train": x[:220], "X_test": x[220:], "y_train": y[:220, None], "y_test": y[220:, None]}
    (folder / "enron").mkdir()
    scipy.io.savemat(folder / "enron" / "enron_data.mat", arrays)
    return str(folder)


LONG = (  # beginnings of the ids of tests that `make test` leaves out and `make check` runs; others of a kind stay
    "test_reproduction.py::test_spr_trim_on_a_line",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[collinear-stealthy",
    "runs/test_rounding.py::test_every_poison_row_could_be_real[rmd-learned",
    "bilevel/test_unrolled.py::test_reverse_equals_forward_mode[cnn",
    "attacks/test_additive.py::test_a_sweep_draws_bars_and_time",
    "attacks/test_minmax.py::test_several_classes_with_the_whole_learner_and_every_decoy",
    "runs/test_rounding.py::test_every_poison_row_could_be_real[rmd-restarts",
    "attacks/test_rmd.py::test_restarts_find_stronger_points[model0",
    "attacks/test_several_classes.py::test_bilevel_poison_beats_flips[mlp",
    "attacks/test_rmd.py::test_the_attackers_trainer_may_be_another_than_the_victims",
    "runs/test_rounding.py::test_every_poison_row_could_be_real[stealthy",
    "test_reproduction.py::test_spr_boston",
    "bilevel/test_reverse.py::test_reverse_goes_through_adam",
    "bilevel/test_hypergradient.py::test_reverse_approaches_the_implicit_hypergradients",
    "bilevel/test_objective.py::test_rows_of_the_learner_change_the_hypergradient_of_lambda_alone[trainer1",
    "attacks/test_rmd.py::test_a_rule_goes_on_from_any_step_to_the_same_bits[adam",
    "attacks/test_rmd.py::test_a_rule_goes_on_from_any_step_to_the_same_bits[optimistic",
    "attacks/test_rmd.py::test_restarts_find_a_better_lambda_for_the_clean_rows",
    "attacks/test_rmd.py::test_restarts_find_stronger_points[model1",
    "attacks/test_rmd.py::test_restarts_go_on_from_any_step_to_the_same_bits",
    "bilevel/test_stage.py::test_together_is_as_alone[model1",
    "training/test_minibatches.py::test_training_and_hypergradients_are_those_of_masked_steps[mlp",
    "training/test_minibatches.py::test_training_and_hypergradients_are_those_of_masked_steps[logistic-l2-1-trainer1",
    "training/test_minibatches.py::test_training_and_hypergradients_are_those_of_masked_steps[logistic-l2-1-trainer2",
    "training/test_minibatches.py::test_training_and_hypergradients_are_those_of_masked_steps[logistic-l2-1-trainer3",
    "training/test_trainers.py::test_reverse_is_forward_and_the_difference_quotient[False-trainer3",
    "training/test_trainers.py::test_reverse_is_forward_and_the_difference_quotient[True-trainer0",
    "attacks/test_kkt.py::test_several_repetitions_go_on_from_a_checkpoint",
    "cli/test_hypergradient_option.py::test_benchmark_measures_and_fits",
    "fuzz/test_fuzz.py::test_the_harness_sees_what_it_looks_for",
    "reports/test_point_map.py::test_the_preset_draws_its_figure",
    "sweeps/test_drive.py::test_a_preset_runs_to_its_figure_and_is_not_run_again[spr-fig14",
    "sweeps/test_drive.py::test_a_preset_runs_to_its_figure_and_is_not_run_again[spr-fig3",
    "sweeps/test_presets.py::test_a_preset_runs_and_is_drawn_as_in_the_paper[hlp-fig4",
    "sweeps/test_presets.py::test_a_preset_runs_and_is_drawn_as_in_the_paper[rch-fig2",
    "sweeps/test_presets.py::test_a_preset_runs_and_is_drawn_as_in_the_paper[rch-fig3",
    "attacks/test_rmd.py::test_points_are_added_to_rows_that_all_stay",
    "bilevel/test_hypergradient.py::test_reverse_equals_forward[mlp-Adam",
    "bilevel/test_hypergradient.py::test_reverse_equals_forward[mlp-Momentum",
    "bilevel/test_reverse.py::test_reverse_equals_forward_mode[mlp-l1",
    "bilevel/test_reverse.py::test_reverse_equals_forward_mode[mlp-l2-1",
    "bilevel/test_reverse.py::test_reverse_equals_forward_mode[mlp-none",
    "bilevel/test_reverse.py::test_reverse_equals_forward_mode[mlp3",
    "bilevel/test_stealth.py::test_a_step_climbs_the_whole_objective_by_its_finite_differences[mlp",
    "bilevel/test_stealth.py::test_hypergradients_of_features_and_targets_are_finite_differences[none-mlp",
    "bilevel/test_unrolled.py::test_reverse_agrees_with_finite_differences[cnn, two classes",
    "bilevel/test_unrolled.py::test_rows_as_they_are_give_what_products_give[mlp3",
    "bilevel/test_unrolled.py::test_segments_go_through_adam",
    "cli/test_signals.py::test_a_signal_during_an_attack_names_the_checkpoint[sigterm",
    "models/test_cnn.py::test_poison_against_a_cnn",
    "reports/test_figures.py::test_figures_are_drawn[names0-test_error,log_lambda,norm,consistency,decrease",
    "reports/test_point_map.py::test_one_row_does_harm_in_some_places_and_a_penalty_takes_it_away",
    "runs/test_own_table.py::test_an_export_has_the_columns_of_the_table_and_is_read_as_the_same[bought-.csv",
    "runs/test_own_table.py::test_an_export_has_the_columns_of_the_table_and_is_read_as_the_same[spent-.csv",
    "runs/test_targets.py::test_a_targeted_attack_raises_the_rate_of_its_label[True",
    "sweeps/test_batched.py::test_an_interrupted_sweep_ends_in_the_same_bits",
    "sweeps/test_batched.py::test_each_file_is_that_of_its_own_run[no-penalty",
    "training/test_trainers.py::test_reverse_is_forward_and_the_difference_quotient[True-trainer2",
    "training/test_trainers.py::test_training_is_that_of_the_formula[trainer3",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[collinear-statp",
    "test_contract.py::test_a_model_starts_by_key_and_gives_a_logit_a_row[cnn",
    "test_api.py::test_a_type_checker_knows_the_names",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[repeated rows-stealthy",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[constant-stealthy",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[nearly constant-stealthy",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[huge and tiny-stealthy",
    "test_awkward.py::test_attack_defenses_and_evaluation_stay_finite[more columns than rows",
    "test_examples.py::test_own_data",
    "test_examples.py::test_pipeline",
)


ONE_OF = (  # tests of many variants, of which `make test` runs the first and `make check` all
    "attacks/test_additive.py::test_poison_is_whole_within_its_box_counted_and_the_same_again",
    "attacks/test_easy_data.py::test_minmax_on_small_data_of_several_classes",
    "bilevel/test_hypergradient.py::test_reverse_equals_forward",
    "bilevel/test_objective.py::test_rows_of_the_learner_change_the_hypergradient_of_lambda_alone",
    "bilevel/test_reverse.py::test_layouts_agree",
    "bilevel/test_reverse.py::test_reverse_agrees_with_finite_differences",
    "bilevel/test_reverse.py::test_reverse_equals_forward_mode",
    "bilevel/test_stage.py::test_together_may_differ_in_rates_penalties_and_targets",
    "bilevel/test_stealth.py::test_hypergradients_of_features_and_targets_are_finite_differences",
    "bilevel/test_unrolled.py::test_rows_as_they_are_give_what_products_give",
    "bilevel/test_unrolled.py::test_segments_change_no_result",
    "cli/test_hypergradient_option.py::test_every_method_attacks",
    "cli/test_signals.py::test_a_signal_during_an_attack_names_the_checkpoint",
    "defenses/test_regression.py::test_awkward_columns_give_an_answer_and_never_nan",
    "defenses/test_regression.py::test_works_for_a_network_too",
    "runs/test_own_table.py::test_an_export_has_the_columns_of_the_table_and_is_read_as_the_same",
    "runs/test_own_table.py::test_the_clean_error_is_that_of_scikit_learn",
    "runs/test_replay.py::test_poison_of_a_stranger_is_judged",
    "runs/test_rounding.py::test_every_poison_row_could_be_real",
    "runs/test_targets.py::test_a_targeted_attack_raises_the_rate_of_its_label",
    "training/test_minibatches.py::test_training_and_hypergradients_are_those_of_masked_steps",
    "training/test_minibatches.py::test_truncation_within_a_pass",
    "training/test_trainers.py::test_reverse_is_forward_and_the_difference_quotient",
    "training/test_trainers.py::test_training_is_that_of_the_formula",
)


def pytest_collection_modifyitems(items):
    """Mark what is long."""
    seen = set()
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        family = name.partition("[")[0]
        if name.startswith(LONG) or (family in ONE_OF and family in seen):
            item.add_marker(pytest.mark.long)
        else:
            seen.add(family)
