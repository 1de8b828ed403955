"""Single-label classification: raw outputs are kept whole; pairs are compared on log-probabilities.

Probabilities, not raw outputs, are compared, because two networks may end differently (logits here, softmax
there), and because a softmax on top of a softmax would make any two networks look alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch
from audit.dataset import Manifest
from audit.findings import Missing
from audit.stats.scores import brier
from audit.traces import ALONE, ANY, Columns, Side
from audit.types import PAIR, OutputKind

if TYPE_CHECKING:
    from torch import Tensor

_SUM_TOLERANCE = 1e-3
_ULPS = 4
"""Units in the last place by which another order of summation moves an output, at least."""
_ROUNDED = 1 + 2.0**-20
"""More than a difference of two outputs grows when it is rounded: a row that could turn is not missed by that."""
_TINY = float(np.finfo(np.float32).tiny)
_TOGETHER = 2**18
"""Outputs of a network that are compared at once."""
Floats = NDArray[np.float64]
SCORES = ("max_softmax", "max_logit", "energy", "entropy")
"""How sure a network is of a row, higher for surer: the last two with their signs turned."""
RIGHT = ("right_reference", "right_candidate", "lost", "won")
"""Pair columns of every task that has targets."""


def outcome(reference: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> Columns:
    """The columns RIGHT from what both models get right."""
    columns = (reference, candidate, reference & ~candidate, ~reference & candidate)
    return dict(zip(RIGHT, columns, strict=True))


def most_frequent(labels: NDArray[Any]) -> float:
    """Share of the most frequent label of [N]; 0 where items have none."""
    named = labels[labels >= 0]
    return float(np.bincount(named).max() / len(labels)) if len(named) else 0.0


class Classification:
    """The task of naming one of K classes."""

    ordered: ClassVar[frozenset[str]] = frozenset(
        {"rank_reference", "rank_candidate", "also_reference", "also_candidate", "agree", *RIGHT}
    )

    def chance(self, found: Manifest, /) -> float:
        """Share of the most frequent class; 0 without labels."""
        return most_frequent(found.labels)

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns:
        """Keep the raw outputs: {"output": float32 [N, K]}."""
        return {"output": out.numpy()}

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing:
        """What the outputs are, from all that was observed; Missing where that is unclear, or declared wrongly.

        Rows that are non-negative and sum to 1 are probabilities; rows whose exponentials do are
        log-probabilities; anything else is logits.
        """
        out = columns["output"]
        kinds = {_recognise(out[block].astype(np.float64)) for block in _blocks(out)}
        observed = kinds.pop() if len(kinds) == 1 else OutputKind.LOGITS
        if (
            declared is OutputKind.AUTO
            and observed is OutputKind.LOGITS
            and ((out >= 0) & (out <= 1)).all()
            and out.any()
        ):
            return Missing(
                "ambiguous-outputs",
                "every output lies in [0, 1], but they do not sum to 1: declare outputs in the audit file",
            )
        if declared in (OutputKind.AUTO, observed):
            return observed
        if declared is OutputKind.LOGITS and observed is OutputKind.LOG_PROBABILITIES:
            return declared  # log-probabilities are valid logits: the softmax gives them back unchanged
        return Missing("wrong-output-declaration", f"outputs are declared {declared}, but look like {observed}")

    def near_ties(
        self, out: NDArray[np.float32], noise: float, labels: NDArray[Any] | None = None, /
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows [N] whose two largest outputs are closer than the runtime can move them, and rows where any two are."""
        parts = [_near_ties(out[block], noise) for block in _blocks(out)]
        near, turning = (np.concatenate(found) for found in zip(*parts, strict=True))
        return near, turning

    def compare(self, labels: NDArray[np.int64], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns [N]: flags as of every task, ranks of the label, and distances between the two softmax outputs.

        `rank_*`: classes placed before the label (0 is right); among equals the lower index comes first, as in
        argmax. `softmax_l2` in [0, √2], `softmax_linf` in [0, 1], `jensen_shannon` in bits, in [0, 1] (Lin, 1991);
        `relative_logit_error` from 0 on, infinite where the reference's logits are equal and the other's are not, NaN
        where a probability was rounded to 0. SCORES of both, NaN where they need logits and there are none.
        `named_*` is the class that is named, `brier_*` the Brier score Σ(p − y)²/2, in [0, 1], `log_loss_*` that of
        the label, in nats, and `margin_*`, in [0, 1], the largest probability less the next one: all of labelled items
        alone, as is `label`. `also_*`, ALONE unless `adverse`: another class that the runtime could put first, ANY
        for several.
        With `adverse`, outputs closer than the noise of the runtime are ordered for the reference and against the
        other, and a decision that hangs on them is no agreement.
        """
        labelled = bool((labels >= 0).all())  # without: no rank, so that no check can take -1 for a class
        parts = []
        for block in _blocks(reference.columns["output"]):
            pair = [replace(side, columns={"output": side.columns["output"][block]}) for side in (reference, other)]
            soft = [_softmax(side.columns["output"], side.kind) for side in pair]
            own = {} if not labelled else {
                **_ranks(labels[block], *pair, adverse=adverse), **_named(labels[block], pair, soft, adverse=adverse)
            }  # fmt: skip
            parts.append({**own, **self._distances(pair, soft, adverse=adverse)})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _distances(self, pair: Sequence[Side], soft: Sequence["_Softmax"], *, adverse: bool) -> Columns:
        """Agreement and distances of some rows."""
        (reference, other), (f, g), (p, q) = pair, [own.logs for own in soft], [own.p for own in soft]
        raw = [side.columns["output"] for side in (reference, other)]
        scores = [
            {f"{score}_{role}": values for score, values in _scores(side, own).items()}
            for role, side, own in zip(PAIR, pair, soft, strict=True)
        ]
        agree = raw[0].argmax(axis=1) == raw[1].argmax(axis=1)
        if adverse:
            agree &= ~(self.near_ties(raw[0], reference.noise)[0] | self.near_ties(raw[1], other.noise)[0])
        return {
            "agree": agree,
            "softmax_l2": np.linalg.norm(p - q, axis=1).clip(0.0, np.sqrt(2.0)),
            "softmax_linf": np.abs(p - q).max(axis=1).clip(0.0, 1.0),
            "jensen_shannon": _jensen_shannon(p, q),
            "relative_logit_error": np.where(_saturated(reference) | _saturated(other), np.nan, _relative_error(f, g)),
            **scores[0],
            **scores[1],
        }


def _blocks(out: NDArray[np.float32]) -> Iterator[slice]:
    """Rows that are compared together: float64 copies of all of them would take many times their memory."""
    rows = max(1, _TOGETHER // out.shape[1])
    return (slice(start, start + rows) for start in range(0, max(len(out), 1), rows))


def _scores(side: Side, soft: "_Softmax") -> Columns:
    """SCORES of rows; the logits' own only where the network gives logits."""
    own, none = side.kind is OutputKind.LOGITS, np.full(len(soft.p), np.nan)
    highest, energy = (soft.highest, soft.highest + soft.total) if own else (none, none)
    values = (soft.p.max(axis=1), highest, energy, (soft.p * soft.logs).sum(axis=1))
    return dict(zip(SCORES, values, strict=True))


def _near_ties(out: NDArray[np.float32], noise: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    columns = np.sort(out, axis=1).T.copy()  # reducing short rows costs many times what reducing long columns does
    with np.errstate(over="ignore"):  # farther apart than a float reaches is far enough
        gaps = columns[1:] - columns[:-1]
    reach = _reach(np.maximum(np.abs(columns[0]), np.abs(columns[-1])), noise)
    return gaps[-1] <= reach, gaps.min(axis=0) <= reach * _ROUNDED


def _reach(largest: NDArray[np.float32], noise: float) -> NDArray[np.float64]:
    """How far a difference of two outputs of a row can be moved by the runtime [N]: twice what one can be.

    `largest` is the largest output of the row, without its sign.
    """
    reach: NDArray[np.float64] = 2 * (noise + _ULPS * float(np.finfo(np.float32).eps) * largest.astype(np.float64))
    return reach


def _recognise(out: Floats) -> OutputKind:
    if (out >= 0).all() and (np.abs(out.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        return OutputKind.PROBABILITIES
    if (out <= 0).all() and (np.abs(np.exp(out).sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        return OutputKind.LOG_PROBABILITIES
    return OutputKind.LOGITS


def probabilities(out: NDArray[np.float32], kind: OutputKind) -> Floats:
    """Of every class, from raw outputs of a kind [N, K], normalised."""
    return np.concatenate([_softmax(out[block], kind).p for block in _blocks(out)])


@dataclass(frozen=True, slots=True)
class _Softmax:
    """Probabilities `p` of rows [N, K], their natural logarithms, and what those are made of.

    Each is a logit less the `highest` of its row and the `total` [N], the logarithm of the sum of their exponentials.
    """

    p: Floats
    logs: Floats
    highest: Floats
    total: Floats


def _softmax(raw: NDArray[np.float32], kind: OutputKind) -> _Softmax:
    """Normalised."""
    out = raw.astype(np.float64)
    if kind is OutputKind.PROBABILITIES:
        out = np.log(out.clip(min=_TINY))
    highest = out.max(axis=1)
    shifted = out - highest[:, None]
    total = np.log(np.exp(shifted).sum(axis=1))
    logs = shifted - total[:, None]
    return _Softmax(np.exp(logs), logs, highest, total)


def _ranks(labels: NDArray[np.int64], reference: Side, other: Side, *, adverse: bool) -> Columns:
    """Ranks of the label by both."""
    first, second = reference.columns["output"], other.columns["output"]
    if adverse:
        ranks = _best_rank(first, labels, reference.noise), _worst_rank(second, labels, other.noise)
    else:
        ranks = _rank(first, labels), _rank(second, labels)
    return {"rank_reference": ranks[0], "rank_candidate": ranks[1], **outcome(ranks[0] == 0, ranks[1] == 0)}


def _named(labels: NDArray[np.int64], pair: Sequence[Side], soft: Sequence[_Softmax], *, adverse: bool) -> Columns:
    """What both models name, and how good their probabilities are, beside the label."""
    found: dict[str, NDArray[Any]] = {"label": labels.astype(np.int32)}
    for role, side, each in zip(PAIR, pair, soft, strict=True):
        own = np.take_along_axis(each.logs, labels[:, None], axis=1)[:, 0]
        found[f"named_{role}"] = side.columns["output"].argmax(axis=1).astype(np.int32)
        found[f"also_{role}"] = _also(side.columns["output"], side.noise if adverse else None)
        found[f"brier_{role}"] = brier(each.p, np.exp(own))
        found[f"log_loss_{role}"] = -own
        highest = np.partition(each.p, -2, axis=1)[:, -2:]
        found[f"margin_{role}"] = highest[:, 1] - highest[:, 0]
    return found


def _also(out: NDArray[np.float32], noise: float | None) -> NDArray[np.int32]:
    """The class that the runtime's noise could put first as well [N]; ANY of several; ALONE for none, or no noise."""
    found = np.full(len(out), ALONE, np.int32)
    if noise is not None:
        near, _ = _near_ties(out, noise)
        tied = out[near]
        first, rows = tied.argmax(axis=1), np.arange(len(tied))
        within = tied >= (tied.max(axis=1) - _reach(np.abs(tied).max(axis=1, initial=0.0), noise))[:, None]
        within[rows, first] = False
        # None, where rounding the gap brought it within reach: then it could be any, for nobody says which.
        found[near] = np.where(within.sum(axis=1) == 1, within.argmax(axis=1), ANY)
    return found


def _rank(out: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes placed before the label [N]."""
    own = _own(out, labels)
    before = (out > own) | ((out == own) & (np.arange(out.shape[1]) < labels[:, None]))
    ranks: NDArray[np.int64] = before.sum(axis=1)
    return ranks


def _best_rank(out: NDArray[np.float32], labels: NDArray[np.int64], noise: float) -> NDArray[np.int64]:
    """Classes placed before the label whatever the runtime does [N]."""
    reach = _reach(np.abs(out).max(axis=1), noise)[:, None]
    ranks: NDArray[np.int64] = (out > _own(out, labels) + reach).sum(axis=1)
    return ranks


def _worst_rank(out: NDArray[np.float32], labels: NDArray[np.int64], noise: float) -> NDArray[np.int64]:
    """Classes that the runtime could place before the label [N]."""
    ranks: NDArray[np.int64] = (out >= _own(out, labels) - _reach(np.abs(out).max(axis=1), noise)[:, None]).sum(
        axis=1
    ) - 1
    return ranks


def _own(out: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The label's own output [N, 1]."""
    return np.take_along_axis(out, labels[:, None], axis=1)


def _saturated(side: Side) -> NDArray[np.bool_]:
    """Rows with a probability that was rounded to nothing: how far its logit lies below the others is lost [N]."""
    out = side.columns["output"]
    if side.kind is not OutputKind.PROBABILITIES:
        return np.zeros(len(out), np.bool_)
    lost: NDArray[np.bool_] = np.any(out < _TINY, axis=1)
    return lost


def _spread(rows: Floats) -> Floats:
    """Euclidean length of each row less its mean [N]: without a copy of them, which would cost more than the sums."""
    squares, sums = np.einsum("ij,ij->i", rows, rows), rows.sum(axis=1)
    length: Floats = np.sqrt((squares - sums**2 / rows.shape[1]).clip(min=0.0))
    return length


def _relative_error(f: Floats, g: Floats) -> Floats:
    """‖g − f‖₂ / ‖f‖₂ of log-probabilities [N, K], both centred: so it is that of centred logits [N].

    A constant added to all logits of a row changes no probability. After the error that SiPP bounds (Baykal,
    Liebenwein et al., arXiv 1910.05422).
    """
    moved, length = _spread(g - f), _spread(f)
    with np.errstate(divide="ignore", invalid="ignore"):
        error: Floats = np.where(moved == 0, 0.0, moved / length)
    return error


def _jensen_shannon(p: Floats, q: Floats) -> Floats:
    mean = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(r > 0, r * np.log2(r / mean), 0.0).sum(axis=1) for r in (p, q)]
    divergence: Floats = ((parts[0] + parts[1]) / 2).clip(0.0, 1.0)
    return divergence
