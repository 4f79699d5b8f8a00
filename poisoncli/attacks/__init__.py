"""Attacks by name."""

from poisoncli.attacks.alfa import Alfa
from poisoncli.attacks.flip import Flip
from poisoncli.attacks.given import Given
from poisoncli.attacks.gradient_canceling import GradientCanceling
from poisoncli.attacks.influence import Influence, InfluenceBasic
from poisoncli.attacks.kkt import KKT
from poisoncli.attacks.minmax import MinMax, MinMaxBasic
from poisoncli.attacks.rmd import RMD
from poisoncli.attacks.statp import StatP
from poisoncli.attacks.stealthy import Stealthy

ATTACKS = {
    "rmd": RMD,
    "flip": Flip,
    "kkt": KKT,
    "minmax": MinMax,
    "minmax-basic": MinMaxBasic,
    "influence": Influence,
    "influence-basic": InfluenceBasic,
    "alfa": Alfa,
    "given": Given,
    "stealthy": Stealthy,
    "statp": StatP,
    "gradient-canceling": GradientCanceling,
}
