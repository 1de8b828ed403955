"""Semantic segmentation: every pixel is classified, and an item counts by shares of its pixels.

Pixels of one image are a cluster, never further items: what is decided are means over items. The mean IoU comes from
one confusion matrix over the whole data set, so that it depends on no batch size.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch
from audit.dataset import Manifest
from audit.findings import Missing
from audit.tasks.classification import RIGHT, Classification
from audit.traces import Columns, Side
from audit.types import OutputKind

if TYPE_CHECKING:
    from torch import Tensor

_PIXELS = Classification()
_TOGETHER = 2**20
"""Outputs of a network that are compared at once."""
SHARES = (*RIGHT, "agree", "softmax_l2", "softmax_linf", "jensen_shannon")
"""Columns of pixels that are averaged over those of an item that count."""
COUNTS = ("hit_reference", "hit_candidate", "named_reference", "named_candidate", "labelled")
"""Columns [N, K] that a confusion matrix is summed from: pixels of a class that were named so, or are labelled so."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The task of naming one of K classes for each pixel; pixels labelled `ignore` count for nothing.

    Outputs are float32 [N, K, H, W], labels int16 [N, H, W].
    """

    ignore: int
    ordered: ClassVar[frozenset[str]] = frozenset({"agree", *RIGHT})

    def chance(self, found: Manifest, /) -> float:
        """Share of the pixels, averaged over items, of the most frequent class; 0 without labels."""
        return max((share for _, share in found.masked.values()), default=0.0) / max(len(found.ids), 1)

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns:
        """Keep the raw outputs: {"output": float32 [N, K, H, W]}."""
        return _PIXELS.observe(out, batch)

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing:
        """As of a classifier, of all pixels."""
        return _PIXELS.settle({"output": _pixels(columns["output"])}, declared)

    def near_ties(
        self, out: NDArray[np.float32], noise: float, labels: NDArray[Any], /
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Of each item the share of the pixels that count whose two largest outputs the runtime could turn [N].

        Nothing hangs on the order of others, so that items with any such pixel are all that could turn.
        """
        parts = []
        for b in _blocks(out):
            near = _PIXELS.near_ties(_pixels(out[b]), noise)[0].reshape(len(out[b]), -1)
            counts = labels[b].reshape(near.shape) != self.ignore if labels.ndim > 1 else np.ones(near.shape, np.bool_)
            parts.append((near & counts).sum(axis=1) / counts.sum(axis=1))
        shares = np.concatenate(parts)
        return shares, shares > 0

    def compare(self, labels: NDArray[Any], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns [N]: the columns of a classifier, averaged over the pixels of an item that count.

        With labels also COUNTS, int32 [N, K]. Of items without labels all pixels count.
        """
        blocks = _blocks(reference.columns["output"])
        parts = [self._of_items(labels[b], _some(reference, b), _some(other, b), adverse=adverse) for b in blocks]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _of_items(self, masks: NDArray[Any], reference: Side, other: Side, *, adverse: bool) -> Columns:
        """The pair columns of some items, whose pixels are compared together."""
        items, labelled = len(masks), masks.ndim > 1
        pixels = prod(reference.columns["output"].shape[2:])
        flat = masks.reshape(-1).astype(np.int64) if labelled else np.full(items * pixels, -1)
        counts = flat != self.ignore if labelled else np.ones(len(flat), np.bool_)
        item, named = np.repeat(np.arange(items), pixels)[counts], flat[counts]
        pair = [
            replace(side, columns={"output": _pixels(side.columns["output"])[counts]}) for side in (reference, other)
        ]
        found = _PIXELS.compare(named, pair[0], pair[1], adverse=adverse)
        sizes = np.bincount(item, minlength=items)
        shares = {
            name: np.bincount(item, weights=found[name], minlength=items) / sizes for name in SHARES if name in found
        }
        return {**shares, **(_confusion(item, items, named, *pair) if labelled else {})}


def _confusion(item: NDArray[np.intp], items: int, labels: NDArray[np.int64], reference: Side, other: Side) -> Columns:
    """The counts of items, from the numbers of the items of their pixels."""
    classes = reference.columns["output"].shape[1]

    def count(values: NDArray[np.int64], of: NDArray[np.intp]) -> NDArray[np.int32]:
        return np.bincount(of * classes + values, minlength=items * classes).reshape(items, classes).astype(np.int32)

    first, second = (side.columns["output"].argmax(axis=1) for side in (reference, other))
    hits = [(labels[named == labels], item[named == labels]) for named in (first, second)]
    found = (*hits, (first, item), (second, item), (labels, item))
    return {name: count(*values) for name, values in zip(COUNTS, found, strict=True)}


def _some(side: Side, block: slice) -> Side:
    return replace(side, columns={"output": side.columns["output"][block]})


def _blocks(out: NDArray[np.float32]) -> list[slice]:
    """Items that are looked at together."""
    step = max(1, _TOGETHER // max(1, prod(out.shape[1:])))
    return [slice(start, start + step) for start in range(0, max(len(out), 1), step)]


def _pixels(out: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, K, H, W] → [N · H · W, K]."""
    return np.ascontiguousarray(np.moveaxis(out, 1, -1)).reshape(-1, out.shape[1])
