"""Defenses by name."""

from poisoncli.defenses.bayesclean import BayesClean
from poisoncli.defenses.duti import Duti
from poisoncli.defenses.huber import Huber
from poisoncli.defenses.knn import KNN
from poisoncli.defenses.l2 import L2
from poisoncli.defenses.loss import Loss
from poisoncli.defenses.proda import Proda
from poisoncli.defenses.sever import Sever
from poisoncli.defenses.slab import Slab
from poisoncli.defenses.svd import SVD
from poisoncli.defenses.trim import Trim

DEFENSES = {
    "trim": Trim,
    "huber": Huber,
    "sever": Sever,
    "proda": Proda,
    "duti": Duti,
    "bayesclean": BayesClean,
    "l2": L2,
    "slab": Slab,
    "loss": Loss,
    "svd": SVD,
    "knn": KNN,
}
