"""The road-sign pairs: real networks, pruned well and badly, on generated pictures."""

import numpy as np
from numpy.typing import NDArray

from audit import resources
from audit.errors import ExitCode
from audit.request import PreprocessingEntry
from audit.selftest.trial import BROKEN, PROVEN, Expected, Materials, Pair

_ITEMS = 3000
_DRAWN = 8000
"""Pictures that are drawn, so that the rarest class has about 130."""
POLICY = """
format = "prune-audit/policy/1"
id = "selftest-signs/1"
alpha = 0.05
checks = ["integrity", "accuracy", "functional", "noise"]

[settings.noise]
uniform = [8]
gaussian = []

[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"

[[criterion]]
claim = "functional.softmax_l2"
at_most = 0.12
unit = "distance"

[[criterion]]
claim = "accuracy.drop@level=8/255,noise=uniform"
at_most = 2.0
unit = "points"
"""
_BALANCED_POLICY = """
format = "prune-audit/policy/1"
id = "selftest-balanced/1"
alpha = 0.05
checks = ["integrity", "accuracy"]

[[criterion]]
claim = "accuracy.drop"
at_most = 0.5
unit = "points"
"""
_CLEAN, _NOISY = "accuracy.drop", "accuracy.drop@level=8/255,noise=uniform"


def pairs() -> tuple[Pair, ...]:
    """One good candidate and three bad ones of the same reference.

    The sabotaged one misreads one rare class; pictures as they come hide that in the average, classes alike often
    show it.
    """
    from sample_models.roadsigns import generator

    x, y = generator.generate(0, _DRAWN)
    as_they_come, alike = (x[:_ITEMS], y[:_ITEMS]), _balanced(x, y)
    accepted = Expected(ExitCode.ACCEPTED, PROVEN, {_CLEAN: PROVEN, _NOISY: PROVEN})
    return (
        Pair("road signs, pruned well", "good", _materials("well-pruned", as_they_come, POLICY), accepted),
        Pair(
            "road signs, pruned crudely",
            "bad",
            _materials("crude", as_they_come, POLICY),
            Expected(ExitCode.FAILED, BROKEN, {_CLEAN: BROKEN, _NOISY: BROKEN}),
        ),
        Pair(
            "road signs, pruned until noise blinds it",
            "bad",
            _materials("over-pruned", as_they_come, POLICY),
            Expected(ExitCode.FAILED, BROKEN, {_CLEAN: PROVEN, _NOISY: BROKEN}),
        ),
        Pair(
            "road signs, one class misread",
            "bad",
            _materials("sabotaged", alike, _BALANCED_POLICY),
            Expected(ExitCode.FAILED, BROKEN, {_CLEAN: BROKEN}),
        ),
    )


def _materials(candidate: str, seen: tuple[NDArray[np.uint8], NDArray[np.int64]], policy: str) -> Materials:
    from sample_models.roadsigns import generator

    reference, other = (
        resources.beside("sample_models", "roadsigns", f"{name}.onnx").read_bytes() for name in ("reference", candidate)
    )
    preprocessing = PreprocessingEntry(mean=generator.MEAN, std=generator.STD)
    return Materials(reference, other, *seen, policy, preprocessing=preprocessing)


def _balanced(x: NDArray[np.uint8], y: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first items of every class, equally many."""
    count = int(np.bincount(y).min())
    rows = np.sort(np.concatenate([np.flatnonzero(y == label)[:count] for label in range(int(y.max()) + 1)]))
    return x[rows], y[rows]
