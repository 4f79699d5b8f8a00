"""What verbs read from --dataset, --target, --classes, --defense and -o."""

import pytest

from poisoncli.cli import choices
from poisoncli.core.errors import PoisonError
from poisoncli.runs.description import Choice


def test_a_data_set_takes_its_target_and_its_classes():
    assert choices.dataset("digits", None, None).options == {}
    found = choices.dataset("rows.csv", "label", "a,b")
    assert (found.name, found.options) == ("file", {"path": "rows.csv", "target": "label", "classes": "a,b"})


def test_options_reach_the_defenses_that_have_them():
    found = choices.defenses(["l2", "svd"], ["remove=0.1", "svd.remove=0.3", "share=0.2"], real=False)
    assert [choice.name for choice in found] == ["l2", "svd"]
    assert [choice.options["remove"] for choice in found] == [0.1, 0.3]
    assert found[1].options["share"] == 0.2


def test_kept_options_hold_where_none_are_given():
    kept = {"l2": Choice("l2", {"remove": 0.2, "rounds": 3})}
    assert choices.defenses(["l2"], [], real=False, kept=kept) == [kept["l2"]]
    anew = choices.defenses(["l2"], ["remove=0.1"], real=False, kept=kept)
    assert dict(anew[0].options) == {"remove": 0.1, "rounds": 1}


@pytest.mark.parametrize(
    ("names", "option", "says"),
    [
        (["l2"], "remove", "-o remove sets nothing: write -o name=value"),
        ([], "remove=0.1", "name it with --defense"),
        (["l2"], "svd.share=0.1", "add --defense svd"),
        (["l2"], "share=1", "defense l2 has no option 'share'"),
        (["l3"], "remove=0.1", "no defense named 'l3'"),
    ],
)
def test_what_no_defense_takes_is_refused(names, option, says):
    with pytest.raises(PoisonError) as error:
        choices.defenses(names, [option], real=False)
    assert says in str(error.value)
