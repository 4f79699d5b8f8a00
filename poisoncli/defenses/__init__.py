"""Defenses by name."""

from poisoncli.defenses.bayesclean import BayesClean
from poisoncli.defenses.duti import Duti
from poisoncli.defenses.huber import Huber
from poisoncli.defenses.proda import Proda
from poisoncli.defenses.sever import Sever
from poisoncli.defenses.trim import Trim

DEFENSES = {"trim": Trim, "huber": Huber, "sever": Sever, "proda": Proda, "duti": Duti, "bayesclean": BayesClean}
