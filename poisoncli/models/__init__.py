"""Models by name."""

from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP

MODELS = {"logistic": Logistic, "mlp": MLP}
