"""A file of the user's with models, some of which are none."""

import sys

import pytest

MINE = '''
import beside
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print("imported")
pipeline = make_pipeline(StandardScaler(), LogisticRegression())

def factory(C=1.0, kind="l2"):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C))

class Plain:
    """Nothing but fit and predict; takes class numbers alone, as XGBoost does."""
    def fit(self, X, y):
        if set(np.unique(y)) != {0, 1}:
            raise ValueError(f"Expected [0 1], got {np.unique(y)}")
        print("fits")
        self.value = np.random.rand()
        return self
    def predict(self, X):
        return (X["a"] > 0).astype(int).to_numpy()[:, None]

class Mute:
    def fit(self, X, y):
        return self

class Odd(Plain):
    def __init__(self, kind="shape"):
        self.kind = kind
    def fit(self, X, y):
        return self
    def predict(self, X):
        return {"shape": np.zeros(3), "nan": np.full(len(X), np.nan), "label": np.full(len(X), "egg")}[self.kind]

number = 7
'''


@pytest.fixture
def mine(tmp_path):
    """A user's file, which imports another beside it."""
    (tmp_path / "beside.py").write_text("here = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    yield lambda name: f"{path}:{name}"
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]
    for name in [
        name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]
