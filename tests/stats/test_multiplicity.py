"""Holm's adjustment: statsmodels, its laws, and the exact family-wise error of two tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from audit.stats.multiplicity import holm

families = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)


@settings(max_examples=15)  # one call of theirs takes 70 ms
@given(families)
def test_agrees_with_statsmodels(p_values: list[float]) -> None:
    theirs = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), theirs, rtol=1e-12, atol=0.0)


@given(families, st.randoms(use_true_random=False))
def test_order_of_the_family_does_not_matter(p_values: list[float], random) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)
    np.testing.assert_array_equal(holm([p_values[i] for i in order]), holm(p_values)[order])


@given(families)
def test_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    p = np.array(p_values)
    assert (holm(p) >= p).all()
    assert (holm(p) <= np.minimum(1.0, p.size * p)).all()


def test_family_wise_error_of_two_true_hypotheses() -> None:
    """Uniform independent p-values on a lattice of cell centres: 1 − (1 − α/2)² = 0.049375."""
    cells = (np.arange(120) + 0.5) / 120
    errors = [min(holm([a, b])) <= 0.05 for a in cells for b in cells]
    assert np.mean(errors) == pytest.approx(1.0 - 0.975**2, abs=1e-12)


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([], "not empty"),
        ([0.1, 1.2], r"p-value must lie in \[0, 1\], got 1.2"),
        ([-0.1], "got -0.1"),
        ([0.1, float("nan")], "NaN at position 1"),
    ],
)
def test_values_outside_their_domain_are_refused(p_values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        holm(p_values)
