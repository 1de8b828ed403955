"""What is counted of outputs before they are let go."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audit.comparisons import Census, Settled, census, compared, flags, pair_columns
from audit.contracts import Task
from audit.findings import Missing
from audit.tasks.classification import Classification
from audit.tasks.control import Control
from audit.tasks.regression import Regression, Tolerance
from audit.tasks.segmentation import Segmentation
from audit.traces import Side
from audit.types import OutputKind, Role

TASK = Classification()
RNG = np.random.default_rng(0)
OUT = (RNG.normal(size=(2, 40, 5)) * 3).astype(np.float32)
LABELS = RNG.integers(0, 5, 40)
LOGITS = Settled(OutputKind.LOGITS, 0.0)


def test_one_row_that_may_turn_is_enough() -> None:
    out = OUT[0].copy()
    assert Census.of_flags(flags(TASK, out, 0.0, LABELS)) == Census(40, 0, 0, False)
    out[7] = [9, 1, 1, 0, -1]
    assert Census.of_flags(flags(TASK, out, 0.0, LABELS)) == Census(40, 0, 0, True)
    out[8] = [9, 9, 1, 0, -1]
    assert Census.of_flags(flags(TASK, out, 0.0, LABELS)) == Census(40, 0, 1, True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ties_beside_a_row_that_is_not_finite_mean_nothing(bad: float) -> None:
    out = OUT[0].copy()
    out[7], out[8, 2] = 1, bad
    assert Census.of_flags(flags(TASK, out, 0.0, LABELS)) == Census(40, 1, 0, False)


@pytest.mark.parametrize("adverse", [False, True])
def test_what_is_stored_gives_the_pair_columns_back(adverse: bool) -> None:
    outputs = (OUT[0], OUT[1])
    noisy = Settled(OutputKind.LOGITS, 0.5)
    stored = compared(TASK, LABELS, outputs, (noisy, noisy))
    sides = [Side({"output": out}, OutputKind.LOGITS, 0.5) for out in outputs]
    expected = TASK.compare(LABELS, *sides, adverse=adverse)
    found = pair_columns(stored, adverse=adverse)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    for role, out in zip((Role.REFERENCE, Role.BASELINE), outputs, strict=True):
        assert census(stored, role) == Census.of_flags(flags(TASK, out, 0.5, LABELS))


MASKS = RNG.integers(0, 3, (20, 4, 4)).astype(np.int16)
TASKS: list[tuple[Task, OutputKind, NDArray[Any], tuple[int, ...]]] = [
    (TASK, OutputKind.LOGITS, LABELS, (40, 5)),
    (Segmentation(255), OutputKind.LOGITS, MASKS, (20, 3, 4, 4)),
    (Control("argmin", Tolerance(0.1, 0.0)), OutputKind.VALUES, LABELS, (40, 5)),
    (Regression(Tolerance(1.0, 0.0)), OutputKind.VALUES, np.zeros((40, 2), np.float32), (40, 2)),
]


@pytest.mark.parametrize(("task", "kind", "labels", "shape"), TASKS, ids=lambda each: type(each).__name__)
@given(noise=st.floats(0.0, 1.0), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_near_ties_change_what_is_ordered_of_rows_that_may_turn_and_those_can_be_compared_alone(
    task: Task, kind: OutputKind, labels: NDArray[Any], shape: tuple[int, ...], noise: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    outputs = [np.round(rng.normal(size=shape) * 3, 1).astype(np.float32) for _ in range(2)]
    sides = [Side({"output": out}, kind, noise) for out in outputs]
    plain, adverse = (task.compare(labels, *sides, adverse=each) for each in (False, True))
    turning = np.logical_or(*(flags(task, out, noise, labels)["turning"] for out in outputs))
    alone = [Side({"output": out[turning]}, kind, noise) for out in outputs]
    some = task.compare(labels[turning], *alone, adverse=True) if turning.any() else {}
    for name, values in plain.items():
        kept = ~turning if name in task.ordered else np.ones(len(turning), np.bool_)
        np.testing.assert_array_equal(adverse[name][kept], values[kept])
        if name in task.ordered and some:
            np.testing.assert_array_equal(some[name], adverse[name][turning])


def test_a_gap_that_rounding_lifts_over_the_reach_may_turn_all_the_same() -> None:
    out = np.array([[1.0, -(2.0**-24) - 2.0**-26, -5.0]], np.float32)  # the first two lie 1 + 2⁻²⁴ + 2⁻²⁶ apart
    reach = 1.0 + 2.0**-24 + 2.0**-25
    noise = reach / 2.0 - 4 * float(np.finfo(np.float32).eps) * 5.0
    assert float(out[0, 0] - out[0, 1]) > reach
    assert flags(TASK, out, noise, np.array([0]))["turning"].all()
    side = Side({"output": out}, OutputKind.LOGITS, noise)
    assert TASK.compare(np.array([0]), side, side, adverse=True)["rank_candidate"] == 1


def test_an_unclear_kind_leaves_the_flags() -> None:
    unclear = Settled(Missing("ambiguous-outputs", ""), 0.0)
    stored = compared(TASK, LABELS, (OUT[0], OUT[1]), (LOGITS, unclear))
    assert pair_columns(stored, adverse=False) == {}
    assert census(stored, Role.CANDIDATE).rows == 40
