"""The check on labelled sets from other conditions."""

from pathlib import Path

import pytest

import audit
from audit.errors import AuditError
from audit.evidence import Body
from tests.world import CRITERION, Items, World, network, weights

DROP = "accuracy.drop@shift=shifted"


def shifted(world: World, items: Items, policy: str = "") -> Body:
    """The audit with a shifted set of these items."""
    items.save(world.folder / "shifted.npz")
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "shift"]') + policy)
    world.audit.write_text(world.audit.read_text() + '\n[data.shifted]\npath = "shifted.npz"\n')
    return audit.run(world.audit, pdf=False).evidence.body


def limit(claim: str = DROP, more: str = "") -> str:
    return CRITERION.format(claim=claim, limit=2.0, unit="points") + more


def test_the_drop_is_counted_on_the_shifted_items(world: World) -> None:
    body = shifted(world, Items(n=300, errors=6, harm=30, gain=2, seed=1), limit())
    found = {finding.claim: finding for finding in body.findings}
    assert found[DROP].statistic == {"kind": "paired-difference", "b": 30, "c": 2, "n": 300}
    assert found["accuracy.drop"].statistic == {"kind": "paired-difference", "b": 0, "c": 0, "n": 400}
    decided = {part.claim: part.verdict for part in body.decisions}
    assert (decided["accuracy.drop"], decided[DROP], body.verdict.overall) == ("PASS", "FAIL", "FAIL")


def test_what_holds_there_passes(world: World) -> None:
    assert shifted(world, Items(n=400, errors=6, seed=1), limit()).verdict.overall == "PASS"


def test_a_reference_that_fails_there_shows_nothing(world: World) -> None:
    body = shifted(world, Items(n=300, errors=200, harm=0, seed=1), limit())
    part = next(part for part in body.decisions if part.claim == DROP)
    assert (part.verdict, part.reason, part.applicable) == ("NOT EVALUATED", "reference-floor", True)


def test_without_a_shifted_set_nothing_is_promised(world: World) -> None:
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "shift"]'))
    body = audit.run(world.audit, pdf=False).evidence.body
    assert not [finding for finding in body.findings if "shift=" in finding.claim]


def test_a_limit_where_possible_is_left_out_by_name(world: World) -> None:
    policy = world.policy.read_text().replace('"integrity"]', '"integrity", "shift"]')
    world.policy.write_text(policy + limit("accuracy.drop@shift=*", "where_possible = true\n"))
    body = audit.run(world.audit, pdf=False).evidence.body
    assert body.policy.left_out == ("accuracy.drop@shift=*",)
    assert "accuracy.drop@shift=*: limited by the policy, and not possible with the data given" in body.not_covered


def test_a_limit_where_possible_must_name_a_known_metric(world: World) -> None:
    policy = world.policy.read_text().replace('"integrity"]', '"integrity", "shift"]')
    world.policy.write_text(policy + limit("accuracy.drip@shift=*", "where_possible = true\n"))
    with pytest.raises(AuditError, match=r"accuracy\.drip"):
        audit.run(world.audit, pdf=False)


@pytest.mark.parametrize(
    "claim",
    [
        "accuracy.drop@corrupton=fog,severity=*",
        "accuracy.drop@corruption=fgo,severity=*",
        "accuracy.drop@corruption=fog,severity=6",
        "accuracy.drop@noise=uniform,level=3/255",
        "accuracy.drop@shift=night,severity=1",
    ],
)
def test_a_limit_where_possible_must_be_possible_somewhere(world: World, claim: str) -> None:
    policy = world.policy.read_text().replace('"integrity"]', '"integrity", "shift", "corruption", "noise"]')
    world.policy.write_text(policy + limit(claim, "where_possible = true\n"))
    with pytest.raises(AuditError, match="no claim of this audit"):
        audit.run(world.audit, pdf=False)


def test_a_limit_where_possible_needs_its_check(world: World) -> None:
    world.policy.write_text(world.policy.read_text() + limit("accuracy.drop@shift=*", "where_possible = true\n"))
    with pytest.raises(AuditError, match="no claim of this audit"):
        audit.run(world.audit, pdf=False)


def test_of_a_limit_that_holds_in_part_the_rest_is_named(world: World) -> None:
    policy = world.policy.read_text().replace('"integrity"]', '"integrity", "corruption"]')
    settings, at, criteria = policy.partition("\n[[criterion]]")
    settings += "\n[settings.corruption]\nseverities = [1, 4]\n"
    more = limit("accuracy.drop@corruption=zoom_blur,severity=*", "where_possible = true\n")
    world.policy.write_text(settings + at + criteria + more)
    body = audit.run(world.audit, pdf=False).evidence.body
    assert body.policy.left_out == ("accuracy.drop@corruption=zoom_blur,severity=1",)
    assert "accuracy.drop@corruption=zoom_blur,severity=4" in {part.claim for part in body.policy.criteria}


def test_shifted_items_may_not_be_test_items(world: World) -> None:
    world.audit.write_text(world.audit.read_text() + '\n[data.shifted]\npath = "test.npz"\n')
    with pytest.raises(AuditError, match="are items of the test set"):
        audit.run(world.audit, pdf=False)


def test_a_policy_all_of_whose_limits_are_left_out_passes_nothing(world: World) -> None:
    policy = world.policy.read_text().partition("\n[[criterion]]")[0].replace('"integrity"]', '"integrity", "shift"]')
    world.policy.write_text(policy + limit("accuracy.drop@shift=*", "where_possible = true\n"))
    body = audit.run(world.audit, pdf=False).evidence.body
    assert (body.verdict.overall, body.verdict.reason) == ("NOT EVALUATED", "no-required-criterion")


def test_items_of_another_size_are_refused(world: World, tmp_path: Path) -> None:
    network(world.candidate, weights())
    import numpy as np

    np.savez(world.folder / "shifted.npz", x=np.zeros((5, 9, 9, 3), np.uint8), y=np.zeros(5, np.int64))
    world.audit.write_text(world.audit.read_text() + '\n[data.shifted]\npath = "shifted.npz"\n')
    with pytest.raises(AuditError, match=r"shifted\.npz"):
        audit.run(world.audit, pdf=False)
