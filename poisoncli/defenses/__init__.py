"""Defenses by name."""

from poisoncli.defenses.knn import KNN
from poisoncli.defenses.l2 import L2
from poisoncli.defenses.loss import Loss
from poisoncli.defenses.slab import Slab
from poisoncli.defenses.svd import SVD
from poisoncli.defenses.trim import Trim

SANITIZERS = {"l2": L2, "slab": Slab, "loss": Loss, "svd": SVD, "knn": KNN}
DEFENSES = {"trim": Trim, **SANITIZERS}
