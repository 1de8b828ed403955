"""What is counted of outputs before they are let go."""

import numpy as np
import pytest

from audit.comparisons import Census, Settled, census, compared, flags, pair_columns
from audit.contracts import Side
from audit.findings import Missing
from audit.tasks.classification import Classification
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


def test_an_unclear_kind_leaves_the_flags() -> None:
    unclear = Settled(Missing("ambiguous-outputs", ""), 0.0)
    stored = compared(TASK, LABELS, (OUT[0], OUT[1]), (LOGITS, unclear))
    assert pair_columns(stored, adverse=False) == {}
    assert census(stored, Role.CANDIDATE).rows == 40
