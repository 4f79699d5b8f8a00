"""The small bilevel problem of `cases`, in strict float64."""

import cases
import pytest


@pytest.fixture
def case(strict):
    """Makes a `cases.Case`: a model, a penalty, and the number of lambdas."""
    return cases.make
