"""Models by name."""

from poisoncli.models.cnn import CNN
from poisoncli.models.linear import Linear
from poisoncli.models.logistic import Logistic
from poisoncli.models.mlp import MLP
from poisoncli.models.multisvm import MultiSVM
from poisoncli.models.svm import SVM

MODELS = {"logistic": Logistic, "linear": Linear, "mlp": MLP, "cnn": CNN, "svm": SVM, "multisvm": MultiSVM}
