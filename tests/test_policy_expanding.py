"""Wildcards and named lists: which claims a criterion sets a limit on."""

from pathlib import Path

import pytest

from audit import policy
from audit.errors import AuditError
from audit.evidence import CriterionRecord
from tests.policies import NOISE, Plan, criterion, noisy, written

LISTS = '\n[lists]\nmild = ["4/255", "2/255"]\n'


def limits(folder: Path, *parts: str) -> dict[str, CriterionRecord]:
    record = policy.bind(written(folder, *parts), Plan().asked(), None)
    return {found.claim: found for found in record.criteria if not found.standing}


def refusal(folder: Path, *parts: str) -> str:
    with pytest.raises(AuditError) as caught:
        limits(folder, *parts)
    return str(caught.value)


def test_a_star_stands_for_every_value_in_the_order_of_the_plan(tmp_path: Path) -> None:
    assert list(limits(tmp_path, criterion("accuracy.drop@noise=*,level=*"))) == [noisy(*cell) for cell in NOISE]
    mild = [noisy(*cell) for cell in NOISE if cell[1] == "4/255"]
    assert list(limits(tmp_path, criterion("accuracy.drop@noise=*,level=4/255"))) == mild


def test_a_list_stands_for_its_values_in_its_order(tmp_path: Path) -> None:
    found = limits(tmp_path, criterion("accuracy.drop@noise=uniform,level=$mild"), LISTS)
    assert list(found) == [noisy("uniform", "4/255"), noisy("uniform", "2/255")]


def test_a_wildcard_means_its_own_keys_only(tmp_path: Path) -> None:
    assert "names no claim" not in refusal(tmp_path, criterion("accuracy.drop@noise=*"))
    assert "matches no claim" in refusal(tmp_path, criterion("accuracy.drop@noise=*"))
    assert list(limits(tmp_path, criterion("accuracy.drop"))) == ["accuracy.drop"]


def test_all_that_an_entry_says_holds_for_each_of_its_claims(tmp_path: Path) -> None:
    more = 'required = false\nonly_where_reference_holds = true\nwhy = "first"\n'
    for found in limits(tmp_path, criterion("accuracy.drop@noise=*,level=*", 3.0, more)).values():
        assert (found.limit, found.required, found.only_where_reference_holds, found.why) == (3.0, False, True, "first")


@pytest.mark.parametrize("pattern", ["accuracy.drop@noise=*,level=*", "accuracy.drop@noise=uniform,level=$mild"])
@pytest.mark.parametrize("explicit_first", [True, False])
def test_a_claim_written_out_overrides(tmp_path: Path, pattern: str, explicit_first: bool) -> None:
    own = noisy("uniform", "4/255")
    parts = [criterion(own, 5.0), criterion(pattern, 3.0)]
    found = limits(tmp_path, *(parts if explicit_first else reversed(parts)), LISTS if "$" in pattern else "")
    assert found.pop(own).limit == 5.0
    assert found
    assert {other.limit for other in found.values()} == {3.0}


def test_two_wildcards_for_one_claim_are_refused(tmp_path: Path) -> None:
    parts = [criterion("accuracy.drop@noise=uniform,level=*"), criterion("accuracy.drop@noise=*,level=16/255")]
    message = refusal(tmp_path, *parts)
    assert f"policy.toml:6, policy.toml:11: {noisy('uniform', '16/255')} has two limits of the same kind" in message


def test_a_claim_written_out_twice_is_refused(tmp_path: Path) -> None:
    same = "accuracy.drop@noise=uniform,level=2/255"
    assert "has two limits" in refusal(tmp_path, criterion(same), criterion(noisy("uniform", "2/255"), 3.0))


def test_a_wildcard_without_effect_is_refused(tmp_path: Path) -> None:
    cells = [criterion(noisy(*cell)) for cell in NOISE[:3]]
    message = refusal(tmp_path, *cells, criterion("accuracy.drop@noise=uniform,level=*"))
    assert "policy.toml:21: every claim of criterion" in message


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([criterion("accuracy.drop@noise=salt,level=*")], ("policy.toml:6", "matches no claim", "Did you mean")),
        ([criterion("accuracy.drop@noise=*,level=3/255")], ("policy.toml:6", "matches no claim")),
        ([criterion("accuracy.dorp")], ("policy.toml:6", "names no claim", "Did you mean 'accuracy.drop'")),
        ([criterion("accuracy.drop@noise=uniform,level=$mlid"), LISTS], ("policy.toml:6", "no list $mlid", "'mild'")),
        ([criterion("accuracy.drop@noise=uniform,level=$mild")], ("policy.toml:6", "no list $mild", "Write [lists]")),
        ([criterion("accuracy.drop"), LISTS], ("policy.toml:11", "no criterion uses the list 'mild'")),
        (
            [criterion("accuracy.drop@noise=*,level=$odd"), '\n[lists]\nodd = ["2/255", "3/255"]\n'],
            ("policy.toml:6", "reads 'accuracy.drop@level=3/255,noise=*'", "names no claim"),
        ),
        ([criterion("accuracy.drop@noise=uni*,level=2/255")], ("policy.toml:6", "whole value")),
        ([criterion("accuracy.drop@noise=$,level=2/255")], ("policy.toml:6", "name of a list")),
        ([criterion("accuracy.drop@noise=a$b,level=2/255")], ("policy.toml:6", "name of a list")),
        ([criterion("accuracy.*")], ("policy.toml:6", "only a value of the scope")),
        ([criterion("accuracy.drop@*=uniform")], ("policy.toml:6", "only a value of the scope")),
        ([criterion("accuracy.drop"), "\n[lists]\nmild = []\n"], ("policy.toml:11", "mild")),
        ([criterion("accuracy.drop"), '\n[lists]\nmild = ["*"]\n'], ("mild", "plain values")),
        ([criterion("accuracy.drop"), '\n[lists]\nmild = ["a", "a"]\n'], ("mild", "twice")),
    ],
)
def test_what_names_nothing_is_refused_with_its_line(tmp_path: Path, parts: list[str], words: tuple[str, ...]) -> None:
    message = refusal(tmp_path, *parts)
    for word in words:
        assert word in message


def test_every_pair_of_two_lists_must_be_there(tmp_path: Path) -> None:
    # accuracy.drop under gaussian noise is promised at 2, 4 and 16; "8/255" of neither noise is.
    lists = '\n[lists]\nkinds = ["gaussian", "uniform"]\nlevels = ["2/255", "8/255"]\n'
    assert "level=8/255,noise=gaussian" in refusal(
        tmp_path, criterion("accuracy.drop@noise=$kinds,level=$levels"), lists
    )
    found = limits(tmp_path, criterion("accuracy.drop@noise=$kinds,level=$levels"), lists.replace("8/", "16/"))
    assert list(found) == [noisy(kind, level) for level in ("2/255", "16/255") for kind in ("gaussian", "uniform")]


def test_the_meaning_of_a_wildcard_is_that_of_its_claims_written_out(tmp_path: Path) -> None:
    wild = written(tmp_path, criterion("accuracy.drop@noise=*,level=*"))
    plain = written(tmp_path, *(criterion(noisy(*cell)) for cell in reversed(NOISE)))
    asked = Plan().asked()
    assert policy.bind(wild, asked, None).sha256 == policy.bind(plain, asked, None).sha256
