"""Which preprocessing is recognised, and what is never called recognised."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audit import trials
from audit.data.npz import NpzSource
from audit.models import files
from audit.models import onnx as onnx_models
from audit.models.adapter import Preprocessing, Slot
from audit.request import PreprocessingEntry
from audit.trials import Choice, Layout, Sample, Trial
from audit.types import Role
from tests.greys import LEVELS, PIXELS, TRAINED, Grey, linear
from tests.world import SIDE


def tried(grey: Grey, *paths: Path, layout: Layout = "NCHW") -> Choice:
    """What the trials say of a reference and a candidate, without the file."""
    sample = Sample(NpzSource(grey.data))
    networks = {
        (role, layout): onnx_models.load(files.read(path, role), Slot(role, (3, SIDE, SIDE), Preprocessing(layout)))
        for role, path in zip((Role.REFERENCE, Role.CANDIDATE), paths, strict=False)
    }
    return Choice(trials.attempt(networks, trials.options(sample), sample), sample.labels, LEVELS)


def trial(name: str, right: list[int] | NDArray[np.bool_], **entry: object) -> Trial:
    return Trial(name, PreprocessingEntry.model_validate(entry), np.asarray(right, np.bool_))


@pytest.mark.parametrize("name", [*TRAINED, "own"])
def test_the_preprocessing_is_recognised(tmp_path: Path, name: str) -> None:
    grey = Grey(tmp_path)
    expected = TRAINED.get(name) or grey.own()
    choice = tried(grey, grey.network("a.onnx", expected))
    found = choice.of(Role.REFERENCE)
    assert choice.found
    assert found.entry == expected
    assert found.accuracy == 1.0
    assert max(trial.accuracy for trial in choice.trials[Role.REFERENCE] if trial is not found) < 0.9
    assert choice.alike == ()


def test_a_constant_answer_on_unequal_classes_is_guessing() -> None:
    labels = np.asarray([0] * 80 + [1] * 20)
    constant = Choice({Role.REFERENCE: (trial("a", labels == 0),)}, labels, 2)
    assert constant.chance == 0.8
    assert not constant.found
    assert Choice({Role.REFERENCE: (trial("a", np.ones(100, np.bool_)),)}, labels, 2).found


def test_of_equals_the_simplest_is_taken() -> None:
    right = np.ones(100, np.bool_)
    worse = right.copy()
    worse[:30] = False
    trials_of = (trial("worse", worse), trial("first", right, range=(-1.0, 1.0)), trial("second", right))
    choice = Choice({Role.REFERENCE: trials_of}, np.arange(100) % 4, 4)
    assert choice.of(Role.REFERENCE).name == "first"
    assert [each.name for each in choice.alike] == ["second"]


def test_a_candidate_that_is_better_by_chance_is_no_warning() -> None:
    right = np.ones(100, np.bool_)
    few, many = right.copy(), right.copy()
    few[:3], many[:30] = False, False
    options = {"a": (right, few), "b": (right, many)}
    for name, clear in (("a", False), ("b", True)):
        best, used = options[name]
        reference = (trial("used", right), trial("other", ~right, range=(-1.0, 1.0)))
        candidate = (trial("used", used), trial("other", best, range=(-1.0, 1.0)))
        choice = Choice({Role.REFERENCE: reference, Role.CANDIDATE: candidate}, np.arange(100) % 4, 4)
        assert (choice.better(Role.CANDIDATE) is not None) == clear
        assert choice.better(Role.REFERENCE) is None


def test_scores_that_are_no_numbers_are_wrong_answers(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    np.savez(grey.data, x=grey.x, y=np.zeros(grey.n, np.int64))
    path = linear(
        tmp_path / "nan.onnx", np.zeros((PIXELS, LEVELS), np.float32), np.full(LEVELS, np.nan), (3, SIDE, SIDE)
    )
    choice = tried(grey, path)
    assert {each.correct for each in choice.trials[Role.REFERENCE]} == {0}


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 1000, 5120])
def test_the_sample_is_spread_evenly(tmp_path: Path, n: int) -> None:
    x = np.zeros((n, 1, 2, 2), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(n) % 10)
    sample = Sample(NpzSource(tmp_path / "x.npz"))
    picked = np.flatnonzero(sample.wanted)
    parts = min(n, trials.ITEMS)
    assert np.array_equal(
        np.unique(np.searchsorted(np.arange(parts + 1) * n // parts, picked, "right")), 1 + np.arange(parts)
    )
    assert sum(map(len, sample.groups())) == len(sample.labels) == parts
    if n == 5120:  # every tenth item has the same class
        assert np.bincount(sample.labels, minlength=10).min() > 20


def test_moments_are_those_of_the_items(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    own = grey.own()
    assert Sample(NpzSource(grey.data)).moments() == (own.mean, own.std)


def test_constant_channels_have_no_std_to_divide_by(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, SIDE, SIDE, 1), np.uint8), y=np.zeros(1, np.int64))
    names = [name for name, _ in trials.options(Sample(NpzSource(tmp_path / "x.npz")))]
    assert names == ["pixels in [0, 1]", "pixels in [-1, 1]", "pixels in [0, 255]"]
