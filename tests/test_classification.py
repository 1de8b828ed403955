"""What is made of two networks' outputs, against hand-computed values and scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from audit.findings import Missing
from audit.tasks.classification import Classification
from audit.traces import Side
from audit.types import OutputKind

TASK = Classification()
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 7)).astype(np.float32) * 3
OTHER = RNG.normal(size=(50, 7)).astype(np.float32) * 3
LABELS = RNG.integers(0, 7, 50)


def compare(
    a: np.ndarray, b: np.ndarray, kind_a: OutputKind = OutputKind.LOGITS, kind_b: OutputKind = OutputKind.LOGITS
) -> dict[str, np.ndarray]:
    return dict(TASK.compare(LABELS[: len(a)] % a.shape[1], Side({"output": a}, kind_a), Side({"output": b}, kind_b)))


def test_distances_against_scipy() -> None:
    p, q = softmax(LOGITS.astype(float), axis=1), softmax(OTHER.astype(float), axis=1)
    columns = compare(LOGITS, OTHER)
    np.testing.assert_allclose(columns["softmax_l2"], np.sqrt(((p - q) ** 2).sum(1)), atol=1e-12)
    np.testing.assert_allclose(columns["softmax_linf"], np.abs(p - q).max(1), atol=1e-12)
    np.testing.assert_allclose(columns["jensen_shannon"], jensenshannon(p, q, axis=1, base=2) ** 2, atol=1e-12)
    assert (columns["agree"] == (p.argmax(1) == q.argmax(1))).all()


@pytest.mark.parametrize("kind", [OutputKind.PROBABILITIES, OutputKind.LOG_PROBABILITIES])
def test_the_way_a_network_ends_changes_no_distance(kind: OutputKind) -> None:
    ended = softmax(OTHER, axis=1) if kind is OutputKind.PROBABILITIES else log_softmax(OTHER, axis=1)
    assert TASK.settle({"output": ended}, OutputKind.AUTO) is kind
    assert TASK.settle({"output": OTHER}, OutputKind.AUTO) is OutputKind.LOGITS
    plain, same = compare(LOGITS, OTHER), compare(LOGITS, ended, kind_b=kind)
    for name, values in plain.items():
        if name in {"max_logit_candidate", "energy_candidate"}:  # scores of logits, of which there are none
            assert np.isnan(same[name]).all()
        else:
            np.testing.assert_allclose(same[name], values, atol=1e-6)


def test_the_relative_error_is_that_of_centred_logits() -> None:
    f, g = (out.astype(float) - out.mean(axis=1, keepdims=True, dtype=float) for out in (LOGITS, OTHER))
    expected = np.sqrt(((g - f) ** 2).sum(1)) / np.sqrt((f**2).sum(1))
    np.testing.assert_allclose(compare(LOGITS, OTHER)["relative_logit_error"], expected, rtol=1e-6)
    doubled = compare(LOGITS, 2 * LOGITS + 1)["relative_logit_error"]
    np.testing.assert_allclose(doubled, 1.0, rtol=1e-5)
    flat = np.zeros((2, 3), np.float32)
    assert compare(flat, np.eye(2, 3, dtype=np.float32))["relative_logit_error"].tolist() == [np.inf, np.inf]
    assert compare(flat, flat + 1)["relative_logit_error"].tolist() == [0, 0]


def test_declarations_are_checked() -> None:
    probabilities = {"output": softmax(LOGITS, axis=1)}
    assert isinstance(TASK.settle(probabilities, OutputKind.LOGITS), Missing)
    assert isinstance(TASK.settle({"output": LOGITS}, OutputKind.PROBABILITIES), Missing)
    logs = {"output": log_softmax(LOGITS, axis=1)}
    assert TASK.settle(logs, OutputKind.LOGITS) is OutputKind.LOGITS


def test_rank_breaks_ties_like_argmax() -> None:
    tied = np.zeros((3, 4), np.float32)
    tied[2, 3] = 1
    side = Side({"output": tied}, OutputKind.LOGITS)
    columns = TASK.compare(np.asarray([0, 2, 3]), side, side)
    assert columns["rank_reference"].tolist() == [0, 2, 0]
    assert ((columns["rank_reference"] == 0) == (tied.argmax(1) == [0, 2, 3])).all()


def test_extreme_outputs_stay_in_range() -> None:
    huge = np.asarray([[3e38, -3e38], [0, 0], [1e-30, 0]], np.float32)
    columns = compare(huge, huge[:, ::-1].copy())
    assert columns["softmax_l2"][0] == pytest.approx(np.sqrt(2))
    assert columns["jensen_shannon"][0] == pytest.approx(1.0)
    assert np.isfinite(np.concatenate([values.astype(float) for values in columns.values()])).all()


def test_near_ties_reach_as_far_as_the_noise() -> None:
    rows = np.asarray([[1, 1 - 1e-3, 0], [1, 1 - 1e-7, 0], [1000, 1000 - 1e-4, 0], [1, 1, 1], [0, 0, 0]], np.float32)
    assert TASK.near_ties(rows, 0.0)[0].tolist() == [False, True, True, True, True]
    assert TASK.near_ties(rows, 1e-3)[0].tolist() == [True] * 5


def test_near_ties_are_ordered_for_the_reference_and_against_the_other() -> None:
    tied = np.asarray([[1, 1, 0], [1, 1, 0], [2, 1, 0], [0, 0, 0]], np.float32)
    labels = np.asarray([0, 1, 0, 2])
    side = Side({"output": tied}, OutputKind.LOGITS)
    nominal, adverse = (TASK.compare(labels, side, side, adverse=adverse) for adverse in (False, True))
    assert nominal["rank_candidate"].tolist() == [0, 1, 0, 2]
    assert adverse["rank_reference"].tolist() == [0, 0, 0, 0]
    assert adverse["rank_candidate"].tolist() == [1, 1, 0, 2]
    assert nominal["agree"].tolist() == [True] * 4
    assert adverse["agree"].tolist() == [False, False, True, False]
