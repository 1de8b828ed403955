"""Figures of confidence, against published examples, tables worked by hand, other implementations and laws."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from checks import reliability
from checks.reliability import Answers, Bins

Floats = NDArray[np.float64]


def answers(confidence: list[float], right: list[int]) -> Answers:
    return Answers(np.array(confidence, np.float64), np.array(right, np.bool_))


def fixed(given: Answers, bins: int = reliability.BINS) -> Bins:
    return reliability.binned(given, reliability.equal_width(bins))


def mass(given: Answers, bins: int = reliability.BINS) -> Bins:
    return reliability.binned(given, reliability.equal_mass(given.confidence, bins))


CONFIDENCES = st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1)
ANSWERS = st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=30).map(
    lambda rows: answers([sure for sure, _ in rows], [right for _, right in rows])
)

PUBLISHED = answers([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1])
"""The example in the documentation of BinaryCalibrationError of torchmetrics, which takes two bins."""
TABLE = answers([0.3] * 4 + [0.9] * 5 + [1.0], [1, 0, 0, 0, 1, 1, 1, 0, 0, 1])
"""Three groups: 4 items at 0.3, 1 right; 5 at 0.9, 3 right; 1 at 1.0, right."""


def test_the_published_calibration_error() -> None:
    # 0.4·|0.25 − 0| + 0.6·|(0.55 + 0.75 + 0.75)/3 − 1| = 0.1 + 0.19; torchmetrics prints 0.2900, and 0.2918 for the
    # root of the mean of squares.
    assert reliability.ece(fixed(PUBLISHED, 2)) == pytest.approx(0.29)
    assert np.sqrt(reliability.murphy(fixed(PUBLISHED, 2))[0]) == pytest.approx(0.2918, abs=5e-5)


def test_the_calibration_error_of_a_table() -> None:
    # Of equal width: 0.3 in the 5th bin, 0.9 in the 14th, 1.0 in the 15th.
    # (4·|0.3 − 0.25| + 5·|0.9 − 0.6| + 1·|1 − 1|)/10 = (0.2 + 1.5 + 0)/10
    bins = fixed(TABLE)
    assert {place + 1: int(count) for place, count in enumerate(bins.count) if count} == {5: 4, 14: 5, 15: 1}
    assert reliability.ece(bins) == pytest.approx(0.17)
    # In two bins of equal mass, the lower one up to the fifth value, 0.9, with all that equal it: 9 items with
    # confidences 1.2 + 4.5 and 4 right, and one. (|5.7 − 4| + |1 − 1|)/10
    halves = mass(TABLE, 2)
    assert halves.count.tolist() == [9, 1]
    assert reliability.ece(halves) == pytest.approx(0.17)


def test_a_value_on_an_edge_lies_below_it() -> None:
    at = [0.0, 1 / 15, np.nextafter(1 / 15, 1), 14 / 15, np.nextafter(14 / 15, 1), 1.0]
    assert np.repeat(np.arange(15), fixed(answers(at, [1] * 6)).count).tolist() == [0, 0, 1, 13, 14, 14]


def test_the_decomposition_of_a_table() -> None:
    # Overall 5 of 10 are right. Reliability (4·0.05² + 5·0.3² + 1·0²)/10, resolution (4·0.25² + 5·0.1² + 1·0.5²)/10,
    # uncertainty 0.5·0.5; the Brier score is (1·0.49 + 3·0.09 + 3·0.01 + 2·0.81 + 0)/10 = 0.241.
    loss, gain = reliability.murphy(fixed(TABLE))
    assert (loss, gain) == (pytest.approx(0.046), pytest.approx(0.055))
    assert loss - gain + 0.25 == pytest.approx(0.241)


@given(ANSWERS)
def test_the_brier_score_is_reliability_less_resolution_plus_uncertainty(given: Answers) -> None:
    edges = reliability.equal_width()
    bins, places = fixed(given), np.searchsorted(edges, given.confidence)
    told = (bins.confidence / np.maximum(bins.count, 1))[places]
    loss, gain = reliability.murphy(bins)
    overall = given.right.mean()
    assert loss - gain + overall * (1 - overall) == pytest.approx(float(((told - given.right) ** 2).mean()))


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_the_items_changes_no_figure(given: Answers, random: object) -> None:
    order = np.arange(len(given))
    random.shuffle(order)  # type: ignore[attr-defined]
    turned = Answers(given.confidence[order], given.right[order])
    for figure in FIGURES:
        assert figure(turned) == pytest.approx(figure(given), abs=1e-12)


def square(given: Answers) -> float:
    return reliability.classwise(given.confidence[:, None], given.right.astype(int) - 1)


FIGURES: list[Callable[[Answers], float]] = [
    lambda given: reliability.ece(fixed(given)),
    lambda given: reliability.ece(mass(given)),
    lambda given: reliability.murphy(fixed(given))[0],
    lambda given: reliability.murphy(fixed(given))[1],
    reliability.aurc,
    square,
]


@given(ANSWERS)
def test_figures_keep_within_their_range(given: Answers) -> None:
    assert all(0 <= figure(given) <= 1 for figure in FIGURES)
    assert reliability.murphy(fixed(given))[1] <= 0.25 + 1e-12


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(0, 8)), min_size=1, max_size=9, unique=True))
def test_who_is_as_sure_as_right_has_no_calibration_error(groups: list[tuple[int, int]]) -> None:
    """Groups of so many items, of which so many are right, each at just that confidence."""
    rows = [(min(right, n) / n, place < right) for n, right in groups for place in range(n)]
    given = answers([sure for sure, _ in rows], [right for _, right in rows])
    assert [reliability.ece(bins) for bins in (fixed(given), mass(given))] == [0, 0]


@given(st.lists(st.floats(0, 1), min_size=30, max_size=30, unique=True))
def test_bins_of_equal_mass_hold_equally_many(values: list[float]) -> None:
    assert mass(answers(values, [1] * 30)).count.tolist() == [2] * 15


@given(ANSWERS)
def test_equal_values_share_a_bin_of_equal_mass(given: Answers) -> None:
    places = np.searchsorted(reliability.equal_mass(given.confidence), given.confidence)
    pairs = {*zip(given.confidence.tolist(), places.tolist(), strict=True)}
    assert len(pairs) == len(set(given.confidence.tolist()))


def test_the_error_by_class_of_a_table() -> None:
    # Two classes and 30 items: at (0.2, 0.8) 15 items, 6 of the first class; at (0.6, 0.4) 15, 9 of the first class.
    # First class: (0.2 − 0.4)² − 0.24/14 at 0.2 and (0.6 − 0.6)² − 0.24/14 at 0.6; the second is its mirror image.
    # Mean of squares: (0.04 + 0)/2 − 0.24/14 = 0.02 − 0.0171429 = 0.0028571.
    probabilities = np.array([[0.2, 0.8]] * 15 + [[0.6, 0.4]] * 15)
    labels = np.array([0] * 6 + [1] * 9 + [0] * 9 + [1] * 6)
    assert reliability.classwise(probabilities, labels) == pytest.approx(np.sqrt(0.02 - 0.24 / 14))
    assert reliability.classwise(probabilities[15:], labels[15:]) == 0  # −0.24/14, which has no root


def test_the_error_by_class_is_that_of_its_authors() -> None:
    """As in the library of Kumar, Liang & Ma: sorted, cut into equal parts, debiased, the mean of squares rooted."""
    rng = np.random.default_rng(4)
    probabilities, labels = rng.dirichlet(np.ones(3), 300), rng.integers(0, 3, 300)
    squares = []
    for k in range(3):
        rows = sorted(zip(probabilities[:, k].tolist(), (labels == k).tolist(), strict=True))
        total = 0.0
        for part in np.array_split(np.array(rows), 15):
            sure, share = part.mean(axis=0)
            total += len(part) / 300 * ((sure - share) ** 2 - share * (1 - share) / (len(part) - 1))
        squares.append(total)
    assert reliability.classwise(probabilities, labels) == pytest.approx(np.sqrt(np.mean(squares)))


def test_debiased_squares_of_a_calibrated_model_are_nothing_on_average() -> None:
    rng = np.random.default_rng(6)
    plain, debiased = [], []
    for _ in range(300):
        sure = rng.random(150)
        given = Answers(sure, rng.random(150) < sure)
        plain.append(reliability.murphy(mass(given))[0])
        debiased.append(reliability._debiased(given))
    assert np.mean(plain) > 0.01
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(300)


def test_the_risk_of_a_list() -> None:
    # Most confident first: right, wrong, right, wrong. Errors among the first i: 0, 1/2, 1/3, 2/4; their mean is 1/3.
    given = answers([0.7, 0.9, 0.6, 0.8], [1, 1, 0, 0])
    assert reliability.risks(given).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert reliability.aurc(given) == pytest.approx(1 / 3)


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7]), st.booleans()), min_size=1, max_size=6))
def test_the_area_is_the_mean_over_all_orders_of_equal_ones(rows: list[tuple[float, bool]]) -> None:
    areas = []
    for order in permutations(rows):
        if [sure for sure, _ in order] == sorted((sure for sure, _ in rows), reverse=True):
            wrong = np.cumsum([not right for _, right in order])
            areas.append(float((wrong / np.arange(1, len(rows) + 1)).mean()))
    given = answers([sure for sure, _ in rows], [right for _, right in rows])
    assert reliability.aurc(given) == pytest.approx(np.mean(areas))
    assert reliability.risks(given)[-1] == pytest.approx(float((~given.right).mean()))


def sample(rng: np.random.Generator, n: int = 400) -> Answers:
    """A calibrated model: right as often as it is sure."""
    sure = rng.uniform(0.25, 1.0, n)
    return Answers(sure, rng.random(n) < sure)


def test_the_bound_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(1)
    reference, candidate = sample(rng), sample(rng)
    parts = []
    for i in range(400):
        own = [int(np.ceil(each.confidence[i] * 15)) for each in (reference, candidate)]
        past = [j for j in range(i) if np.ceil(reference.confidence[j] * 15) == own[0]]
        like = [j for j in range(400) if np.ceil(candidate.confidence[j] * 15) == own[1]]
        before = sum(reference.confidence[j] - reference.right[j] for j in past)
        among = sum(candidate.confidence[j] - candidate.right[j] for j in like)
        low = (-1 if before < 0 else 1) * (reference.confidence[i] - reference.right[i])
        parts.append((-1 if among < 0 else 1) * (candidate.confidence[i] - candidate.right[i]) - low)
    expected = np.mean(parts) + 1.6448536 * np.std(parts, ddof=1) / 20
    assert reliability.ece_increase_bound(reference, candidate) == pytest.approx(expected)


def test_the_bound_is_missed_by_one_in_twenty_where_it_is_tight() -> None:
    """A calibrated reference, and a candidate that is sure and right: the error of both is 0, and no bias helps.

    With the signs that all other items give, it is missed by more than one in ten.
    """
    rng = np.random.default_rng(2)
    sure = Answers(np.ones(400), np.ones(400, np.bool_))
    missed = np.mean([reliability.ece_increase_bound(sample(rng), sure) < 0 for _ in range(2000)])
    assert missed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@given(st.integers(0, 2**32))
def test_the_bound_lies_above_what_is_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, candidate = sample(rng), sample(rng)
    counted = reliability.ece(fixed(candidate)) - reliability.ece(fixed(reference))
    assert reliability.ece_increase_bound(reference, candidate) >= counted


def test_the_bound_says_no_more_than_there_can_be() -> None:
    sure, unsure = answers([1.0] * 200, [0] * 200), answers([0.5] * 200, [1, 0] * 100)
    assert reliability.ece_increase_bound(unsure, sure) == 1.0


def test_a_few_or_other_items_have_no_bound() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((199, 199), (200, 201)):
        with pytest.raises(ValueError, match="have no bound"):
            reliability.ece_increase_bound(sample(rng, n), sample(rng, m))


@pytest.mark.parametrize("confidence", [[], [np.nan], [-0.1], [1.1], [np.inf], [0.5, 0.5]])
def test_no_answers_without_numbers(confidence: list[float]) -> None:
    with pytest.raises(ValueError, match="no answers" if len(confidence) != 1 else "no number within"):
        answers(confidence, [1] * min(len(confidence), 1))


@pytest.mark.parametrize("probabilities", [np.empty((0, 3)), np.full((2, 3), np.nan)])
def test_no_error_by_class_without_numbers(probabilities: Floats) -> None:
    with pytest.raises(ValueError, match=r"no answers|no number"):
        reliability.classwise(probabilities, np.zeros(len(probabilities), int))
