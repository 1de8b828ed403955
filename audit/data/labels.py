"""Labels and class names: what they may be, and whether data and models mean the same classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.data import values
from audit.dataset import Manifest
from audit.errors import AuditError
from audit.types import DataRole

UNLABELLED = -1
MAY_LACK = frozenset({DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION})
"""Roles whose items need no labels; those of the first have none, whatever the data say."""


def check(labels: NDArray[np.int64], classes: int, name: str) -> None:
    """Raise AuditError for a label of [stored] that is negative or, where `classes` is not 0, beyond the last one."""
    bad = (labels < 0) | ((labels >= classes) if classes else False)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        known = f"0 … {classes - 1}" if classes else "0 and above"
        raise AuditError(f"{name}: label {labels[row]} of item {row} is not in {known}", "Correct the labels.")


def check_names(names: Sequence[str], name: str) -> tuple[str, ...]:
    """The names; raises AuditError where one occurs twice, or is empty."""
    if "" in names:
        raise AuditError(f"{name}: class {list(names).index('')} has an empty name", "Give every class a name.")
    if len(set(names)) < len(names):
        raise AuditError(f"{name}: a class name occurs twice", "Give every class its own name.")
    return tuple(names)


def names_for(outputs: int, own: tuple[str, ...], found: Manifest, name: str) -> tuple[str, ...]:
    """Names for the classes of models with this many outputs: the data's `own`, or their numbers.

    Raises AuditError where the data name another number of classes, or hold labels beyond the outputs.
    """
    if own and len(own) != outputs:
        raise AuditError(
            f"{name}: names {len(own)} classes, but the models have {outputs} outputs",
            "Use the data set that belongs to these models.",
        )
    if labelled(found) and found.labels.ndim == 1:
        stored = np.zeros(len(found.keep), np.int64)  # a copy that does not count has the label of the first
        stored[found.keep] = found.labels
        check(stored, outputs, name)
    return own or tuple(map(str, range(outputs)))


def labelled(found: Manifest) -> bool:
    """Whether its items have labels: all have, or none."""
    return bool(len(found.labels)) and (found.labels.ndim > 1 or bool(found.labels[0] != UNLABELLED))


def number(value: object, where: str) -> int:
    """A label that is one integer, of Python, numpy or torch; raises AuditError for anything else."""
    if getattr(value, "shape", None) == ():
        value = getattr(value, "item", lambda: value)()
    if not isinstance(value, int) or isinstance(value, bool):
        said = f"{value!r}" if isinstance(value, (str, float, bool)) else f"a {type(value).__name__}"
        raise AuditError(f"{where}: its label is {said}", "An item needs one integer label, 0 for the first class.")
    if not 0 <= value < 2**31:
        raise AuditError(f"{where}: its label is {value}", "Labels are 0 for the first class, 1 for the second, ….")
    return value


def of_scores(target: object, classes: int, where: str) -> int:
    """The class with the largest of the scores [classes] (one-hot, or probabilities).

    `classes` is 0 where it is not known. Raises AuditError where no single class stands out.
    """
    found = np.asarray(target)
    if found.ndim != 1 or found.dtype.kind not in "iufb" or len(found) != (classes or len(found)) or not len(found):
        raise AuditError(
            f"{where}: its target is {found.dtype.name} of shape {found.shape}",
            f"A target has one value per class{f', {classes} of them' if classes else ''}.",
        )
    scores = found.astype(np.float64)
    best = int(scores.argmax())
    if values.outside(scores[None]) or np.count_nonzero(scores == scores[best]) > 1:
        raise AuditError(f"{where}: its target names no single class", "Use one-hot targets or probabilities.")
    return best
