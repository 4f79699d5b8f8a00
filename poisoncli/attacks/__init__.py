"""Attacks by name."""

from poisoncli.attacks.flip import Flip
from poisoncli.attacks.kkt import KKT
from poisoncli.attacks.minmax import MinMax, MinMaxBasic
from poisoncli.attacks.rmd import RMD

ATTACKS = {"rmd": RMD, "flip": Flip, "kkt": KKT, "minmax": MinMax, "minmax-basic": MinMaxBasic}
