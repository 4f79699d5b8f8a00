"""Models by name."""

from poisoncli.models.linear import Linear
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.models.multisvm import MultiSVM
from poisoncli.models.svm import SVM

MODELS = {"logistic": Logistic, "linear": Linear, "mlp": MLP, "svm": SVM, "multisvm": MultiSVM}
