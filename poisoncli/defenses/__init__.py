"""Defenses by name."""

from poisoncli.defenses.trim import Trim

DEFENSES = {"trim": Trim}
