"""The processed Enron mails, where they are at hand."""

import os
from pathlib import Path

import pytest
from mails import FILTERS

from poisoncli.runs import replay, stages
from poisoncli.runs.description import Choice, Run, resolve_defense

DATA_DIR = Path(os.environ.get("POISON_DATA_DIR", "data"))


needs_enron = pytest.mark.skipif(
    not (DATA_DIR / "enron" / "enron_data.mat").is_file(), reason="the processed Enron file is not at hand"
)


@needs_enron
def test_the_clean_victim_on_enron():
    content = replay.with_given_poison(Choice("enron"), "", data_dir=str(DATA_DIR))
    judged = replay.reevaluate(content, [resolve_defense(Choice("l2"))], bias="penalized", data_dir=str(DATA_DIR))
    assert judged.evaluations["none"].test_error[0, 0] == pytest.approx(0.029, abs=0.003)


@needs_enron
@pytest.mark.slow
def test_kkt_breaks_every_defense_on_enron(tmp_path):
    wanted = Run(
        dataset="enron", model=Choice("svm", {"bias": "penalized"}), lambda_=0.09, fraction=0.03, attack="kkt"
    )  # type: ignore[arg-type]
    path = stages.attack(wanted, tmp_path / "a.h5", data_dir=str(DATA_DIR))
    for name in FILTERS:
        stages.defend(path, name, data_dir=str(DATA_DIR))
    content = stages.evaluate(path, data_dir=str(DATA_DIR))
    assert min(content.evaluations[name].test_error[0, 1] for name in FILTERS) >= 0.20
