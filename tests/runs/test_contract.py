"""What breaks the contract is told; what keeps it is in tests/test_contract.py."""

import re

import numpy as np
import pytest

from poisoncli.bilevel.initial_poison import flipped_copies
from poisoncli.core.method import method
from poisoncli.runs import contract
from poisoncli.runs.description import TABLES


@method
class Sloppy:
    """An attack that breaks what can be broken.

    wrong: in which way.
    """

    wrong: str = "box"

    def craft(self, key, problem, resume=None):
        poison = flipped_copies(key, problem, outer_steps=0)._replace(done=1, total=1)
        if self.wrong == "box":
            poison = poison._replace(x=poison.x + 2)
        elif self.wrong == "nan":
            poison = poison._replace(x=np.full_like(poison.x, np.nan))
        elif self.wrong == "twice":
            poison = poison._replace(replaced=np.zeros_like(poison.replaced))
        elif self.wrong == "key":
            poison = poison._replace(x=np.random.default_rng().random(poison.x.shape, np.float32))
        elif self.wrong == "shape":
            poison = poison._replace(y=poison.y[:, :-1])
        elif self.wrong == "open":
            poison = poison._replace(total=2)
        yield poison


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("box", "features leave the domain by"),
        ("nan", "x or y are not finite"),
        ("twice", "names a row twice"),
        ("key", "the same key gives other poison: draw with the key alone"),
        ("shape", r"y has shape \(2, 7\), and not \(2, 8\)"),
        ("open", "it ends at step 1 of 2"),
    ],
)
def test_what_breaks_the_contract_is_told(monkeypatch, wrong, says):
    monkeypatch.setitem(TABLES["attack"], "sloppy", type("Other", (Sloppy,), {"craft": _craft(wrong)}))
    breaches = [point.breach for point in contract.check("attack", "sloppy") if point.breach]
    assert any(re.search(says, breach) for breach in breaches), breaches


def _craft(wrong):
    return lambda self, key, problem, resume=None: Sloppy.craft(Sloppy(wrong), key, problem, resume)
