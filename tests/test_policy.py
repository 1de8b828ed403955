"""The reference floor: every part of it can raise it, and what lies under it is not decided."""

from pathlib import Path

import numpy as np
import pytest

import audit
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body
from audit.policy.entries import ReferenceFloor
from audit.portion import Portion
from tests.world import Scores, World, ranked


@pytest.mark.parametrize(
    ("floor", "classes", "declared", "percent"),
    [
        (ReferenceFloor(clean=70), 10, None, 70),
        (ReferenceFloor(clean=20, times_chance=3), 10, None, 30),
        (ReferenceFloor(clean=40, times_chance=3), 10, None, 40),
        (ReferenceFloor(clean=20, times_chance=3), 100, None, 20),
        (ReferenceFloor(clean=50, times_chance=2), 2, None, 75),
        (ReferenceFloor(clean=70, below_declared=2), 10, 95, 93),
        (ReferenceFloor(clean=70, below_declared=2), 10, 60, 70),
        (ReferenceFloor(clean=20, times_chance=3, below_declared=2), 10, 31, 30),
        (ReferenceFloor(clean=20, times_chance=3, below_declared=2), 10, 33, 31),
    ],
)
def test_the_floor_is_the_largest_of_its_parts(
    floor: ReferenceFloor, classes: int, declared: float | None, percent: float
) -> None:
    assert floor.resolve(_of(classes), declared) == pytest.approx(percent / 100)


@pytest.mark.parametrize(("chance", "percent"), [(0.6, 70), (0.9, 90)])
def test_a_reference_must_be_better_than_always_the_same_answer(chance: float, percent: float) -> None:
    assert ReferenceFloor().resolve(_of(2, chance), None) == pytest.approx(percent / 100)
    with pytest.raises(AuditError, match="one and the same answer is right for every item"):
        ReferenceFloor().resolve(_of(2, 1.0), None)


def _of(classes: int, chance: float = 0.0) -> Context:
    return Context(tuple(map(str, range(classes))), chance=chance)


@pytest.mark.parametrize(
    ("floor", "declared"),
    [(ReferenceFloor(below_declared=0), 100.0)],
    ids=["declared without error"],
)
def test_a_floor_that_no_reference_can_exceed_is_refused(floor: ReferenceFloor, declared: float | None) -> None:
    with pytest.raises(AuditError, match="no reference can exceed"):
        floor.resolve(_of(2), declared)


def body(world: World) -> Body:
    return audit.run(world.audit, pdf=False).evidence.body


def under_the_floor(found: Body, percent: float) -> bool:
    """Whether the drop was left undecided under a floor of so much."""
    drop = next(made for made in found.decisions if made.claim == "accuracy.drop")
    own = next(made for made in found.decisions if made.claim == "reference.accuracy")
    assert found.policy.reference_floor == pytest.approx(percent)
    assert own.limit == pytest.approx(percent)
    assert (own.verdict == "PASS") is (drop.reason != "reference-floor")
    return (drop.verdict, drop.reason) == ("NOT EVALUATED", "reference-floor")


def declare(world: World, accuracy: float) -> None:
    text = world.audit.read_text()
    world.audit.write_text(text.replace("[reference]\n", f"[reference]\ndeclared_accuracy = {accuracy}\n"))


def test_a_reference_that_is_not_what_was_declared_decides_nothing(world: World) -> None:
    declare(world, 99.0)  # it is right on 98 %: not proven to reach 99 % - 1 %
    assert under_the_floor(body(world), 98.0)


def test_a_reference_that_is_what_was_declared_is_decided_on(world: World) -> None:
    declare(world, 96.0)
    found = body(world)
    assert not under_the_floor(found, 95.0)
    assert found.verdict.overall == "PASS"


def test_another_policy_keeps_the_declared_accuracy(world: World) -> None:
    declare(world, 99.0)
    body(world)
    lenient = world.folder / "lenient.toml"
    lenient.write_text(world.policy.read_text().replace("at_most = 2.0", "at_most = 5.0"))
    assert under_the_floor(audit.judge(world.out, policy_name=str(lenient), pdf=False).evidence.body, 98.0)


def of_three_classes(right: int, n: int) -> Scores:
    """Both networks give the same answers, right on so many items."""
    labels = np.arange(n) % 3
    scores = np.stack([ranked(int(label), int(row >= right), 3) for row, label in enumerate(labels)])
    return Scores(labels, scores, scores)


@pytest.mark.parametrize(("right", "undecided"), [(240, True), (300, False)])
def test_twice_chance_is_a_floor_of_the_screening_policy(tmp_path: Path, right: int, undecided: bool) -> None:
    # 60 % of 400 items is proven to be over the clean floor of 50 %, but under twice the chance of three classes.
    world = World(tmp_path / "w", of_three_classes(right, 400))
    world.audit.write_text(world.audit.read_text().replace('"policy.toml"', '"screening"'))
    found = audit.run(world.audit, portion=Portion(only=("accuracy",)), pdf=False).evidence.body
    assert under_the_floor(found, 200 / 3) is undecided
