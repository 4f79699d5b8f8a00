"""Attacks by name."""

from poisoncli.attacks.flip import Flip
from poisoncli.attacks.rmd import RMD

ATTACKS = {"rmd": RMD, "flip": Flip}
