"""Signs that a network hides its gradients and only looks robust (Athalye et al., 2018; Carlini et al., 2019).

Each is about one model, and drawn from what attacks have left of the items of a sample: `traces` join the reference and
the candidate on the inputs of an attack, whose own columns say how it went.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audit.findings import Missing
from audit.stats import paired, proportions
from audit.traces import Trace
from audit.types import Role

FLAGS: Final = {
    "dead_gradients": "gradients at the start of the attack are zero, or no numbers",
    "weaker_than_transfer": "attacks made on the other model fool it more often than attacks on itself",
    "weaker_than_black_box": "an attack without gradients fools it more often than one with them",
    "not_falling": "it gets more right where attacks may go farther",
    "unbounded": "attacks without a bound leave it standing",
    "random_outputs": "it answers the same items differently",
    "no_progress": "steps of the attack gain nothing",
    "misleading_gradients": "what a step along the gradient gains is not what the gradient says",
}
"""What each sign is, by the name that claims know it by."""
ALPHA: Final = 0.05
"""A sign that is not there is seen with at most this probability."""
_FEW: Final = {"dead_gradients": 0.01, "no_progress": 0.05, "unbounded": 0.05, "misleading_gradients": 0.25}
"""Share of the items that a model gets right beyond which there is a sign: single items may be odd."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one model: by level, rising, attacks on it with and without gradients, and transfer to it.

    `clean` is the sample as it is. There is no white-box attack on a model without gradients.
    """

    role: Role
    clean: Trace
    white_box: Sequence[Trace]
    black_box: Sequence[Trace]
    transfer: Sequence[Trace]

    def right(self, trace: Trace) -> NDArray[np.bool_]:
        """Whether the model gets each item right."""
        found: NDArray[np.bool_] = trace.columns[f"right_{self.role}"]
        return found


def flags(evidence: Evidence) -> Mapping[str, str]:
    """Signs that are there, each with what shows it; none can be seen without white-box attacks."""
    return dict(_found(evidence))


def dead(trace: Trace | None) -> Missing | None:
    """Why an attack that was run as a control on a working model shows nothing; None where it broke that model.

    The same attack without a bound must fool nearly every item.
    """
    if trace is None:
        return None
    right, standing = int(trace.own["right"].sum()), int(trace.own["standing"].sum())
    if not right:
        return Missing("attack-dead", "the control attack had no item to break: the reference gets none right")
    if standing <= _FEW["unbounded"] * right:
        return None
    return Missing(
        "attack-dead", f"without a bound the attack still leaves {standing} of {right} items of the reference standing"
    )


def _found(evidence: Evidence) -> Iterator[tuple[str, str]]:
    own = evidence.white_box
    if not own:
        return
    yield from _share("dead_gradients", own, "dead", len(own))
    yield from _share("no_progress", own, "stuck", len(own))
    yield from _share("unbounded", own[-1:], "standing", 1)
    yield from _share("misleading_gradients", own[-1:], "misled", 1)
    if unsteady := int(own[-1].own["unsteady"].sum()):
        yield "random_outputs", f"{unsteady} items were answered differently the second time"
    yield from _weaker("weaker_than_transfer", evidence, evidence.transfer)
    yield from _weaker("weaker_than_black_box", evidence, evidence.black_box)
    for near, far in pairwise(own):
        lost = evidence.right(near), evidence.right(far)
        if _more(lost[1], lost[0], max(len(own) - 1, 1)):
            yield "not_falling", f"{int(lost[1].sum())} items right, {int(lost[0].sum())} of them at the level before"
            return
    if not _falls(evidence, own) and any(_falls(evidence, other) for other in (evidence.transfer, evidence.black_box)):
        yield "not_falling", "as many at the largest radius as at the smallest, while other attacks find more"


def _falls(evidence: Evidence, traces: Sequence[Trace]) -> bool:
    """Whether fewer items stand at the largest radius than at the smallest."""
    return len(traces) > 1 and _more(evidence.right(traces[0]), evidence.right(traces[-1]), 1)


def _share(flag: str, traces: Sequence[Trace], column: str, times: int) -> Iterator[tuple[str, str]]:
    """The sign that too many of the items that a model gets right have a property, at any level."""
    for trace in traces:
        has, of = int(trace.own[column].sum()), int(trace.own["right"].sum())
        if of and proportions.lower(has, of, ALPHA / times) > _FEW[flag]:
            yield flag, f"{has} of {of} items"
            return


def _weaker(flag: str, evidence: Evidence, others: Sequence[Trace]) -> Iterator[tuple[str, str]]:
    """The sign that other attacks than its own fool a model more often, at any level."""
    for own, other in zip(evidence.white_box, others, strict=False):
        mine, theirs = evidence.right(own), evidence.right(other)
        if _more(mine, theirs, len(evidence.white_box)):
            yield flag, f"{int(theirs.sum())} items stand, {int(mine.sum())} under its own white-box attack"
            return


def _more(one: NDArray[Any], other: NDArray[Any], times: int) -> bool:
    """Whether the one is true more often than the other, on the same items: proven at a level that `times` share."""
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    return b > c and paired.p_at_least(b, c, len(one), 0.0) <= ALPHA / times
