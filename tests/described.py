"""Runs as Hypothesis draws them, and what an error has to look like."""

from hypothesis import strategies as st

from poisoncli import Choice, Run
from poisoncli.datasets import DATASETS


def sentence(error) -> str:
    """The message, after checks that it is one sentence with a cure after a colon."""
    text = str(error.value)
    assert "\n" not in text
    assert ": " in text
    assert not text.endswith(".")
    return text


finite = st.floats(0.01, 1)
runs = st.builds(
    Run,
    dataset=st.sampled_from([name for name in DATASETS if name != "file"]).map(Choice)
    | st.builds(lambda path, target: Choice("file", {"path": path, "target": target}), st.text(), st.text())
    | st.lists(st.integers(0, 9), max_size=4).map(lambda found: Choice("digits", {"classes": tuple(found)})),
    model=st.just(Choice("logistic"))
    | st.builds(
        lambda hidden, leak: Choice("mlp", {"hidden": tuple(hidden), "leak": leak}),
        st.lists(st.integers(1, 99), max_size=3),
        finite,
    ),
    trainer=st.builds(
        lambda rate, epochs: Choice("sgd", {"rate": rate, "epochs": epochs}), finite, st.integers(1, 999)
    ),
    attack=st.just(Choice("flip")) | finite.map(lambda rate: Choice("rmd", {"outer_rate": rate})),
    lambda_=st.none() | st.floats(0, 1e6),
    fraction=st.floats(1e-6, 0.999),
    n_train=st.integers(0, 10**6),
    repetitions=st.integers(1, 99),
    seed=st.integers(0, 2**32 - 1),
) | st.builds(
    Run, learn_lambda=st.just(True), per_layer=st.booleans(), reg=st.sampled_from(["", "l1", "l2"]), fraction=finite
).filter(lambda run: run.fraction < 1)
