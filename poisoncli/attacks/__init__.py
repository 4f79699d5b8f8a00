"""Attacks by name."""

from poisoncli.attacks.flip import Flip
from poisoncli.attacks.rmd import RMD
from poisoncli.attacks.statp import StatP
from poisoncli.attacks.stealthy import Stealthy

ATTACKS = {"rmd": RMD, "flip": Flip, "stealthy": Stealthy, "statp": StatP}
