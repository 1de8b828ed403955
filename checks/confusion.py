"""Two models class by class: what each names the items of a class, and which others it names so."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.findings import BoundedMean, Exact, Missing, PairedDifference, Presupposition, Proportion
from audit.traces import ALONE, ANY, Trace
from audit.types import PAIR, Role
from checks.accuracy import working
from checks.methods import paired, share

Bools = NDArray[np.bool_]
Share = Proportion | BoundedMean
Change = PairedDifference | BoundedMean
_COLUMNS = ("label", "right_reference", "right_candidate", "lost", "won",
            *(f"{what}_{role}" for what in ("named", "also") for role in PAIR))  # fmt: skip


@dataclass(frozen=True, slots=True)
class ByClass:
    """A labelled trace by classes, and the trace of the clean set; `names` are those of the classes.

    Where near ties count against the candidate, it also names what rounding could put first, and the reference does not
    name what rounding could take from there.
    """

    trace: Trace
    clean: Trace
    names: Sequence[str]

    def recall(self, number: int, role: Role) -> Share | Missing:
        """Of the items of a class, those that the model names so."""
        own = self._items(number)
        return own if isinstance(own, Missing) else share(own, own.columns[f"right_{role}"])

    def precision(self, number: int, role: Role) -> Share | Missing:
        """Of the items that the model names so, those of the class; of a trace in which every item is seen once."""
        named = named_so(self.trace, number, role)
        if not named.any():
            return Missing("never-named", f"the {role} names no item {self.names[number]!r}")
        own = self.trace.of_rows(named, "label")
        return share(own, own.columns["label"] == number)

    def accuracy(self, number: int, role: Role) -> Share:
        """Of all items, those of which the model says rightly whether they are of the class."""
        return share(self.trace, named_so(self.trace, number, role) == self._of(number))

    def recall_drop(self, number: int) -> Change | Missing:
        """Recall of the reference minus that of the candidate."""
        own = self._items(number)
        if isinstance(own, Missing):
            return own
        return paired(own, own.columns["right_reference"], own.columns["right_candidate"])

    def accuracy_drop(self, number: int) -> Change:
        """Accuracy of the reference, one against the rest, minus that of the candidate."""
        right = [named_so(self.trace, number, role) == self._of(number) for role in PAIR]
        return paired(self.trace, *right)

    def precision_drop(self, number: int) -> Exact | Missing:
        """Precision of the reference minus that of the candidate."""
        found = {role: self.precision(number, role) for role in PAIR}
        reference, candidate = found[Role.REFERENCE], found[Role.CANDIDATE]
        if isinstance(reference, Missing):
            return reference
        if isinstance(candidate, Missing):
            return candidate
        return Exact(reference.estimate - candidate.estimate, len(self.trace))

    def false_naming_increase(self, number: int) -> Change | Missing:
        """Of the items of other classes, those that the candidate names so, less those that the reference does."""
        others = ~self._of(number)
        if not others.any():
            return Missing("empty-class", f"all items are of class {self.names[number]!r}")
        return _more_named(self.trace.of_rows(others, *_COLUMNS), number)

    def negative_flips(self, number: int) -> Share | Missing:
        """Of the items of a class, those that the reference alone names so."""
        own = self._items(number)
        return own if isinstance(own, Missing) else share(own, own.columns["lost"])

    def positive_flips(self, number: int) -> Share | Missing:
        """Of the items of a class, those that the candidate alone names so."""
        own = self._items(number)
        return own if isinstance(own, Missing) else share(own, own.columns["won"])

    def confusion(self, number: int, named: int) -> Share | Missing:
        """Of the items of a class, those that the candidate takes for another."""
        own = self._items(number)
        return own if isinstance(own, Missing) else share(own, named_so(own, named, Role.CANDIDATE))

    def confusion_increase(self, number: int, named: int) -> Change | Missing:
        """The same, less those that the reference takes for it."""
        own = self._items(number)
        return own if isinstance(own, Missing) else _more_named(own, named)

    def worst_recall_drop(self) -> Exact | Missing:
        """The largest of the estimates; Missing where a class has no items."""
        found = [self.recall_drop(number) for number in range(len(self.names))]
        empty = next((drop for drop in found if isinstance(drop, Missing)), None)
        return empty or Exact(max(drop.estimate for drop in found if not isinstance(drop, Missing)), len(self.trace))

    def distance(self) -> Exact:
        """Total variation between the joint distributions of label and named class, in [0, 1]."""
        reference, candidate = (confusion_matrix(self.trace, role, len(self.names)) for role in PAIR)
        moved = int(np.abs(reference - candidate).sum())
        return Exact(moved / (2 * int(reference.sum())), len(self.trace))

    def recalling(self, number: int) -> tuple[Presupposition, ...]:
        """That the reference recalls a class, to a share of its clean accuracy: what it never finds nobody loses."""
        recall = self.recall(number, Role.REFERENCE)
        if isinstance(recall, Missing):
            return ()
        return (Presupposition(recall, working(self.clean).accuracy, what=f"recall of class {self.names[number]!r}"),)

    def _of(self, number: int) -> Bools:
        own: Bools = self.trace.columns["label"] == number
        return own

    def _items(self, number: int) -> Trace | Missing:
        """The items of a class."""
        own = self._of(number)
        if not own.any():
            return Missing("empty-class", f"there is no item of class {self.names[number]!r}")
        return self.trace.of_rows(own, *_COLUMNS)


def named_so(trace: Trace, number: int, role: Role) -> Bools:
    """Whether a model names each row so, near ties against the candidate where the trace counts them.

    Of an item of the class that is against naming it so; of another item it is for it.
    """
    named, also = trace.columns[f"named_{role}"], trace.columns[f"also_{role}"]
    if role is Role.REFERENCE:
        falsely = (named == number) & (also == ALONE)
    else:
        falsely = (named == number) | (also == number) | (also == ANY)
    so: Bools = np.where(trace.columns["label"] == number, trace.columns[f"right_{role}"], falsely)
    return so


def confusion_matrix(trace: Trace, role: Role, classes: int) -> NDArray[np.int64]:
    """Rows by label and named class [K, K], as they fell."""
    cells = trace.columns["label"].astype(np.int64) * classes + trace.columns[f"named_{role}"]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def _more_named(trace: Trace, number: int) -> Change:
    return paired(trace, named_so(trace, number, Role.CANDIDATE), named_so(trace, number, Role.REFERENCE))
