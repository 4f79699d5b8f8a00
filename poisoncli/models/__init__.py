"""Models by name."""

from poisoncli.models.linear import Linear
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP

MODELS = {"logistic": Logistic, "linear": Linear, "mlp": MLP}
