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
_BY_CLASS = """
format = "prune-audit/policy/1"
id = "selftest-classes/1"
alpha = 0.05
checks = ["integrity", "accuracy", "per_class"]

[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"

[[criterion]]
claim = "per_class.recall_drop@class=*"
at_most = 10.0
unit = "points"
"""
_CLEAN, _NOISY = "accuracy.drop", "accuracy.drop@level=8/255,noise=uniform"
_CLASS = "per_class.recall_drop@class={}"


def pairs() -> tuple[Pair, ...]:
    """One good candidate and three bad ones of the same reference.

    The sabotaged one misreads one rare class: the average hides that, and the class shows it by its number.
    """
    from sample_models.roadsigns import generator

    x, y = generator.generate(0, _DRAWN)
    as_they_come = x[:_ITEMS], y[:_ITEMS]
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
            _materials("sabotaged", (x, y), _BY_CLASS),
            Expected(
                ExitCode.FAILED,
                BROKEN,
                {_CLEAN: PROVEN}
                | {
                    _CLASS.format(number): BROKEN if name == "children" else PROVEN
                    for number, name in enumerate(generator.CLASSES)
                },
            ),
        ),
    )


def _materials(candidate: str, seen: tuple[NDArray[np.uint8], NDArray[np.int64]], policy: str) -> Materials:
    from sample_models.roadsigns import generator

    reference, other = (
        resources.beside("sample_models", "roadsigns", f"{name}.onnx").read_bytes() for name in ("reference", candidate)
    )
    preprocessing = PreprocessingEntry(mean=generator.MEAN, std=generator.STD)
    return Materials(reference, other, *seen, policy, preprocessing=preprocessing)
