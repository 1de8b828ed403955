"""Whether a network is a function of the item, and how far its runtime's own noise reaches.

A network that answers from memory, by chance or by its neighbours in the batch ends the audit without a certificate:
every figure on one is about independent items, and would mean nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Model
from audit.dataset import DataSource
from audit.errors import AuditError
from audit.parity import TOLERANCE, Parity

if TYPE_CHECKING:
    from torch import Tensor

FEW = 16
"""Items of a smaller batch."""
SOME = 32
"""Items that come again, in reverse order, and after another load: each costs a pass in every audit."""
_STATE = "A network that draws random numbers, or remembers earlier batches, cannot be audited: export it without that."
_NEIGHBOURS = "its outputs for an item depend on the other items of the batch"
_HINT = (
    "Give a network in evaluation mode, all of which is in its file, or in its weights and its architecture; use "
    "another --out, without --reuse."
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a network answered to the first items before the run, and how far apart such answers were."""

    answers: Floats
    parity: Parity


def ends(source: DataSource, batch: int) -> tuple["Tensor", ...]:
    """The first and the last batch of the items [N ≤ batch, C, H, W] that networks are tried on; one if it is all."""
    count = len(source.manifest.ids)
    starts = sorted({0, (count - 1) // batch * batch})
    places = np.arange(count)
    return tuple(next(source.batches(batch, (start <= places) & (places < start + batch))).x for start in starts)


def require_function(model: Model, first: "Tensor") -> Beginning:
    """Raise AuditError for a network that answers the first items of the first batch differently.

    They come twice; in reverse order; a few, and the first alone; and once more after a second load, which must give
    the same bits wherever the runtime promises that. A borderline network could else be run until it passes.
    """
    x = first[:SOME]
    whole = _answers(model, x)
    if not np.array_equal(whole, _answers(model, x), equal_nan=True):
        raise AuditError(f"{model.role}: gives different outputs for the same items", _STATE)
    others = [_answers(model, x.flip(0))[::-1], *(_answers(model, x[:few]) for few in (FEW, 1))]
    batch = _apart(whole, others, f"{model.role}: {_NEIGHBOURS}")
    again, text = _answers(model.reopen(), x), f"{model.role}: gives other outputs when it is loaded once more"
    reload = _apart(whole, [again], text, exact=_promises_bits(model))
    largest = _largest(whole)
    parity = Parity(max(batch, reload), _part(batch, largest), _part(reload, largest), _sound(whole))
    return Beginning(whole, parity)


def require_same(
    model: Model, tried: Sequence["Tensor"], begun: Beginning, observed: Sequence[Floats], *, lent: bool
) -> Parity:
    """Raise AuditError for a network that answers otherwise than before the run, or than it was observed to.

    `observed` is what the ledger holds of the batches in `tried`, the `ends` of the items: of the first one, of both,
    or of none, where the first items must do. So a state is found that took effect late; with the last batch also one
    that took effect in an earlier part of a run that was resumed. What was `lent` may have been observed elsewhere: it
    need be the same up to the tolerance only.
    """
    if not observed and not np.array_equal(_answers(model, tried[0][:SOME]), begun.answers, equal_nan=True):
        raise AuditError(f"{model.role}: gives other outputs for the same items after the audit than before it", _STATE)
    parity = begun.parity
    for stored, x in zip(observed, tried, strict=False):
        text = (
            "gives other outputs after the audit than it was observed to, or the ledger holds those of another network"
        )
        again, exact = _answers(model, x), _promises_bits(model) and not lent
        apart = _apart(stored, [again], f"{model.role}: {text}", exact=exact)
        parity = parity.merged(Parity(apart, reload=_part(apart, _largest(stored))))
    if observed:  # the first items, once as they were tried and once in a whole batch
        apart = _apart(observed[0], [begun.answers], f"{model.role}: {_NEIGHBOURS}")
        parity = parity.merged(Parity(apart, batch=_part(apart, _largest(observed[0]))))
    return parity


def _promises_bits(model: Model) -> bool:
    """Whether the same batch always gives the same bits: torch says where it knows operations that do not."""
    return model.runtime.get("deterministic", "all") == "all"


def _apart(whole: Floats, others: Sequence[Floats], text: str, *, exact: bool = False) -> float:
    """Largest difference of any of `others` from the beginning of `whole`.

    Raises AuditError with this text beyond the tolerance, which is nothing where it must be `exact`.
    """
    apart = max(_difference(whole[: len(other)], other) for other in others)
    if apart > (0.0 if exact else TOLERANCE * _largest(whole)):
        raise AuditError(text, _HINT)
    return apart


def _difference(one: Floats, other: Floats) -> float:
    """Largest difference of an output; infinite where only one is a number, or they are infinite otherwise."""
    both = np.isfinite(one) & np.isfinite(other)
    if not np.array_equal(one[~both], other[~both], equal_nan=True):
        return float("inf")
    return float(np.abs(one[both].astype(np.float64) - other[both]).max(initial=0.0))


def _largest(out: Floats) -> float:
    """The largest output without its sign, of those that are finite."""
    return float(np.abs(out[np.isfinite(out)]).max(initial=0.0))


def _part(apart: float, largest: float) -> float:
    return min(apart / largest, TOLERANCE) if apart else 0.0


def _sound(out: Floats) -> int:
    """Items all of whose outputs are finite."""
    return int(np.isfinite(out).reshape(len(out), -1).all(axis=1).sum())


def _answers(model: Model, x: "Tensor") -> Floats:
    answers: Floats = model(x.contiguous()).numpy()
    return answers
