"""Semantic segmentation: every pixel is classified, and an item counts by shares of its pixels.

Pixels of one image are a cluster, never further items: what is decided are means over items. The mean IoU comes from
one confusion matrix over the whole data set, so that it depends on no batch size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch, Columns, Side
from audit.dataset import Manifest
from audit.findings import Missing
from audit.tasks.classification import RIGHT, Classification
from audit.types import OutputKind

if TYPE_CHECKING:
    from torch import Tensor

_PIXELS = Classification()
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

    def near_ties(self, out: NDArray[np.float32], noise: float, /) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Items [N] with a pixel whose two largest outputs are closer than the runtime can move them.

        Nothing hangs on the order of others, so that the second answer is the first.
        """
        near = [_PIXELS.near_ties(_pixels(item), noise)[0].any() for item in _each(out)]
        return np.asarray(near, np.bool_), np.asarray(near, np.bool_)

    def compare(self, labels: NDArray[Any], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns [N]: the columns of a classifier, averaged over the pixels of an item that count.

        With labels also COUNTS, int32 [N, K]. Of items without labels all pixels count.
        """
        rows = [self._of_item(labels[i], _item(reference, i), _item(other, i), adverse) for i in range(len(labels))]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _of_item(self, mask: NDArray[Any], reference: Side, other: Side, adverse: bool) -> Columns:
        labelled = mask.ndim > 0
        first = _pixels(reference.columns["output"])
        flat = mask.reshape(-1).astype(np.int64) if labelled else np.full(len(first), -1)
        counts = flat != self.ignore if labelled else np.ones(len(first), np.bool_)
        named = np.where(counts, flat, 0) if labelled else flat
        pair = [
            replace(side, columns={"output": _pixels(side.columns["output"])[counts]}) for side in (reference, other)
        ]
        found = _PIXELS.compare(named[counts], pair[0], pair[1], adverse=adverse)
        shares = {name: np.asarray(found[name].mean()) for name in SHARES if name in found}
        return {**shares, **(_confusion(named[counts], *pair) if labelled else {})}


def _confusion(labels: NDArray[np.int64], reference: Side, other: Side) -> Columns:
    """The counts of one item."""
    classes = reference.columns["output"].shape[1]

    def count(values: NDArray[np.int64]) -> NDArray[np.int32]:
        return np.bincount(values, minlength=classes).astype(np.int32)

    first, second = (side.columns["output"].argmax(axis=1) for side in (reference, other))
    found = (labels[first == labels], labels[second == labels], first, second, labels)
    return dict(zip(COUNTS, map(count, found), strict=True))


def _item(side: Side, place: int) -> Side:
    return replace(side, columns={"output": side.columns["output"][place : place + 1]})


def _each(out: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (out[place : place + 1] for place in range(len(out)))


def _pixels(out: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, K, H, W] → [N · H · W, K]."""
    return np.ascontiguousarray(np.moveaxis(out, 1, -1)).reshape(-1, out.shape[1])
