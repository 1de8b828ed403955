"""A sample of a data set: fewer items, the same everything else."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch
from audit.data.manifest import digest_of, judging_order
from audit.data.spans import spans
from audit.dataset import DataSource, Manifest
from audit.models.adapter import Features
from audit.types import DataRole


class Sample:
    """The first `items` of a data set in its judging order, which nobody chooses; streamed in stored order.

    It has a digest of its own: what is observed on a sample is never taken for an observation of the whole set.
    """

    def __init__(self, whole: DataSource, items: int) -> None:
        self._whole = whole
        self._places = np.sort(judging_order(whole.manifest.ids)[:items])

    @property
    def role(self) -> DataRole:
        return self._whole.role

    @property
    def name(self) -> str:
        return self._whole.name

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._whole.shape

    @property
    def stored(self) -> str:
        return self._whole.stored

    @property
    def features(self) -> Features | None:
        return self._whole.features

    @cached_property
    def manifest(self) -> Manifest:
        """The items of the sample, with their share of the superfluous copies."""
        found = self._whole.manifest
        ids, labels = found.ids[self._places], found.labels[self._places]
        copies = round(found.duplicates * len(ids) / len(found.ids))
        keep = np.arange(len(ids) + copies) < len(ids)
        part = len(ids) / len(found.ids)
        masked = {label: (count, share * part) for label, (count, share) in found.masked.items()}
        own = tuple(attribute.of(self._places) for attribute in found.attributes)
        return Manifest(ids, labels, keep, digest_of(ids, labels), masked, own)

    def class_names(self, outputs: int, /) -> tuple[str, ...]:
        return self._whole.class_names(outputs)

    def batches(self, size: int, wanted: NDArray[np.bool_], /) -> Iterator[Batch]:
        """As of any source: consecutive items of the sample, never over a multiple of `size`."""
        asked = spans(size, wanted, len(self._places))
        marked = np.zeros(len(self._whole.manifest.ids), np.bool_)
        marked[self._places[wanted]] = True
        items = self._one_by_one(size, marked)
        for start, stop in asked:
            yield _joined(start, list(islice(items, stop - start)))

    def verify_unchanged(self) -> None:
        self._whole.verify_unchanged()

    def _one_by_one(self, size: int, marked: NDArray[np.bool_]) -> Iterator[Batch]:
        for batch in self._whole.batches(size, marked):
            for row in range(len(batch.ids)):
                own = slice(row, row + 1)
                yield Batch(batch.ids[own], batch.x[own], None if batch.y is None else batch.y[own])


def _joined(start: int, items: Sequence[Batch]) -> Batch:
    import torch

    labels = [item.y for item in items if item.y is not None]
    ids, x = np.concatenate([item.ids for item in items]), torch.cat([item.x for item in items])
    return Batch(ids, x, torch.cat(labels) if labels else None, start)
