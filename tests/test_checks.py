"""What the shipped checks deliver: top-k counts, and no statement about a reference that does not work."""

from pathlib import Path

import numpy as np
import pytest

import audit
from audit.evidence import DecisionRecord, FindingRecord
from checks.functional import Functional
from tests.world import Items, Scores, World, network, ranked, weights

TOP5 = "accuracy.topk_drop@k=5"


def findings(world: World) -> dict[str, FindingRecord]:
    return {found.claim: found for found in audit.run(world.audit, pdf=False).evidence.body.findings}


def decisions(world: World) -> dict[str, DecisionRecord]:
    return {made.claim: made for made in audit.run(world.audit, pdf=False).evidence.body.decisions}


def planted(groups: list[tuple[int, int, int]], classes: int) -> Scores:
    """Scores for groups of (items, rank of the label in the reference, in the candidate); labels go round."""
    ranks = [(reference, candidate) for count, reference, candidate in groups for _ in range(count)]
    labels = np.arange(len(ranks)) % classes
    pairs = [
        (ranked(label, reference, classes), ranked(label, candidate, classes))
        for label, (reference, candidate) in zip(labels.tolist(), ranks, strict=True)
    ]
    return Scores(labels, np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs]))


def tied(scores: Scores, rows: slice, label: int) -> None:
    """Make the candidate score all classes alike: the lower index comes first, so the rank is the label."""
    scores.labels[rows], scores.candidate[rows] = label, 100
    scores.reference[rows] = ranked(label, 0, scores.classes)


def test_top_5_counts_are_those_that_were_planted(tmp_path: Path) -> None:
    # Both in the top 5 (5 items), harm (7), gain (3), harm behind two wrong first places (2), then ties.
    scores = planted([(310, 0, 0), (5, 0, 4), (7, 0, 5), (3, 6, 4), (2, 4, 5)], classes=7)
    tied(scores, slice(0, 4), label=4)  # rank 4: the last one of the top 5
    tied(scores, slice(4, 10), label=5)  # rank 5: the first one outside
    found = findings(World(tmp_path / "w", scores))
    assert found[TOP5].statistic == {"kind": "paired-difference", "b": 7 + 2 + 6, "c": 3, "n": 327}
    assert found["accuracy.drop"].statistic == {"kind": "paired-difference", "b": 5 + 7 + 4 + 6, "c": 0, "n": 327}
    assert found["reference.accuracy"].statistic == {"kind": "proportion", "k": 322, "n": 327}
    assert found["candidate.accuracy"].statistic == {"kind": "proportion", "k": 300, "n": 327}


@pytest.mark.parametrize(("classes", "measured"), [(5, False), (6, True)])
def test_top_5_is_measured_where_it_can_be_missed(tmp_path: Path, classes: int, measured: bool) -> None:
    found = findings(World(tmp_path / "w", planted([(30, 0, 0), (3, 0, classes - 1)], classes)))
    assert (TOP5 in found) is measured
    if measured:
        assert found[TOP5].statistic == {"kind": "paired-difference", "b": 3, "c": 0, "n": 33}


@pytest.mark.parametrize(("epsilon", "verdict"), [("0.1", "FAIL"), ("0.5", "PASS")])
def test_logits_that_moved_are_counted_at_each_epsilon(tmp_path: Path, epsilon: str, verdict: str) -> None:
    """The candidate's logits are those of the reference, less a third."""
    claim = f"functional.relative_logit_error@epsilon={epsilon}"
    world = only(tmp_path / "w", Items(n=400), claim, 5.0, "%")
    network(world.candidate, weights(10.0 * 2 / 3))
    assert decisions(world)[claim].verdict == verdict
    assert findings(world)[claim].statistic["k"] == (400 if verdict == "FAIL" else 0)


def test_the_error_that_one_item_in_a_hundred_exceeds_has_a_distribution_free_bound(tmp_path: Path) -> None:
    claim = "functional.relative_logit_error_q99"
    world = only(tmp_path / "w", Items(n=400), claim, 0.4, "distance")
    network(world.candidate, weights(10.0 * 2 / 3))
    assert decisions(world)[claim].verdict == "PASS"
    found = findings(world)[claim]
    assert (found.estimate, found.upper) == (pytest.approx(1 / 3, abs=1e-6), pytest.approx(1 / 3, abs=1e-6))


@pytest.mark.parametrize(("items", "bound"), [(298, 1.0002), (299, 0.9969)])
def test_no_failure_in_299_items_proves_one_in_a_hundred(tmp_path: Path, items: int, bound: float) -> None:
    """ "With 95 % confidence at most 1 % of inputs have a relative error above ε", as SiPP states it."""
    claim = "functional.relative_logit_error@epsilon=0.5"
    world = only(tmp_path / "w", Items(n=items, errors=2), claim, 1.0, "%")
    network(world.candidate, weights(10.0 * 2 / 3))
    assert decisions(world)[claim].verdict == ("PASS" if bound <= 1 else "CONDITIONAL PASS")
    assert findings(world)[claim].upper == pytest.approx(bound, abs=1e-4)


def test_equal_logits_of_the_reference_have_no_relative_error(tmp_path: Path) -> None:
    claim = "functional.relative_logit_error_q99"
    world = only(tmp_path / "w", Items(n=400), claim, 0.4, "distance")
    network(world.reference, weights(0.0))
    assert decisions(world)[claim].reason == "no-length"


def test_saturated_probabilities_prove_nothing_about_logits(tmp_path: Path) -> None:
    claim = "functional.relative_logit_error@epsilon=0.1"
    world = only(tmp_path / "w", Items(n=400), claim, 5.0, "%")
    network(world.reference, weights(120.0), softmax=True)
    network(world.candidate, weights(480.0), softmax=True)
    made = decisions(world)
    assert (made[claim].verdict, made[claim].reason) == ("NOT EVALUATED", "saturated-outputs")
    assert findings(world)["functional.agreement"].estimate == 100


@pytest.mark.parametrize("epsilon", [(0.1, 0.1), (0.1000004,)])
def test_an_epsilon_is_what_it_is_called(epsilon: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must differ, and have six digits"):
        Functional(epsilon)


PRESUPPOSING = [
    ("accuracy.drop", 5.0, "points"),
    ("functional.excess_disagreement", 5.0, "points"),
    ("functional.negative_flips", 5.0, "%"),
]


def only(folder: Path, items: Items | Scores, claim: str, limit: float, unit: str) -> World:
    """A world whose policy has this criterion, besides the standing ones, and no other."""
    world = World(folder, items)
    head, _, _ = world.policy.read_text().partition("[[criterion]]")
    world.policy.write_text(head)
    world.require(claim, limit, unit)
    return world


@pytest.mark.parametrize(("claim", "limit", "unit"), PRESUPPOSING)
def test_a_dead_reference_decides_nothing(tmp_path: Path, claim: str, limit: float, unit: str) -> None:
    # The reference is right on 2 %, and the candidate follows it everywhere: every number keeps its limit.
    made = decisions(only(tmp_path / "w", Items(n=400, errors=392), claim, limit, unit))
    assert made["reference.accuracy"].verdict == "FAIL"
    assert (made[claim].verdict, made[claim].reason) == ("NOT EVALUATED", "reference-floor")


@pytest.mark.parametrize(("claim", "limit", "unit"), PRESUPPOSING)
def test_a_working_reference_is_decided_on(tmp_path: Path, claim: str, limit: float, unit: str) -> None:
    made = decisions(only(tmp_path / "w", Items(n=400, errors=8), claim, limit, unit))
    assert (made[claim].verdict, made[claim].reason) == ("PASS", "proven-within-limit")


@pytest.mark.parametrize(("rank", "verdict"), [(1, "NOT EVALUATED"), (0, "PASS")])
def test_top_5_presupposes_a_reference_that_is_right_at_first_place(tmp_path: Path, rank: int, verdict: str) -> None:
    made = decisions(only(tmp_path / "w", planted([(400, rank, rank)], classes=6), TOP5, 5.0, "points"))
    assert made[TOP5].verdict == verdict
    assert (made[TOP5].reason == "reference-floor") is (rank == 1)
