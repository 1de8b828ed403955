"""What a data set is: items that stream, and the manifest that they are held to."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit import digest
from audit.types import DataRole, scope_value

if TYPE_CHECKING:
    from torch import Tensor

    from audit.contracts import Batch
    from audit.models.adapter import Features

Ids = NDArray[np.uint8]
"""Item ids: [N, 32], the SHA-256 digests of the items' contents."""

Labels = NDArray[Any]
"""What is known of the targets of items, in the form of `Manifest.labels`."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """What somebody says of every item, such as the weather in it: item i has `values[codes[i]]`.

    `values` are distinct and sorted; `codes` uint16 [N] are in stored order.
    """

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.uint16]

    @property
    def counts(self) -> tuple[int, ...]:
        """Items of each value."""
        return tuple(np.bincount(self.codes, minlength=len(self.values)).tolist())

    def has(self, value: str) -> NDArray[np.bool_]:
        """Which items have a value, written as in a scope [N]; raises ValueError for one that none has."""
        found: NDArray[np.bool_] = self.codes == list(map(scope_value, self.values)).index(value)
        return found

    def of(self, rows: NDArray[Any]) -> "Attribute":
        """The same of some of the items."""
        return replace(self, codes=self.codes[rows])

    @property
    def text(self) -> str:
        """The codes, to be written down; `of_text` reads them back."""
        return base64.b64encode(self.codes.astype("<u2").tobytes()).decode()

    @classmethod
    def of_text(cls, name: str, values: tuple[str, ...], text: str) -> "Attribute":
        """An attribute that was written down; raises ValueError where that names values that there are not."""
        codes = np.frombuffer(base64.b64decode(text, validate=True), "<u2").astype(np.uint16)
        if (codes >= len(values)).any():
            raise ValueError(f"{name!r}: codes beyond {len(values)} values")
        return cls(name, values, codes)

    def known(self, data: str, sha256: str) -> "Attribute":
        """Itself, of a data set; raises ValueError where its digest is another."""
        if self.sha256(data) != sha256:
            raise ValueError(f"{self.name!r}: was altered")
        return self

    def sha256(self, data: str) -> str:
        """What names it: SHA-256 over the digest of the data set, name, values, and which item has which."""
        return digest.of_json({"data": data, "name": self.name, "values": self.values, "codes": self.text})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set, item by item, in stored order; duplicates beyond the first copy do not count.

    `ids` [N, 32] and `labels` hold the distinct items: labels int64 [N], -1 where the set has none, values float32
    [N, D], or digests uint8 [N, 32] of masks; `keep` bool [stored] marks them among all stored ones; `digest` is over
    ids and labels in stored order. Of masks, `masked` says by label how many items hold it and, summed over all items,
    on what share of their pixels that count. `attributes`, by name, are those of the distinct items.
    """

    ids: Ids
    labels: Labels
    keep: NDArray[np.bool_]
    digest: str
    masked: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()

    @property
    def duplicates(self) -> int:
        return int(self.keep.size - self.keep.sum())


class DataSource(Protocol):
    """A data set that streams; every item is digested again whenever it is read.

    `manifest` is computed by one scan over all items, or is what `quarantine` handed over from such a scan.
    """

    @property
    def role(self) -> DataRole: ...

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def stored(self) -> str: ...

    @property
    def features(self) -> "Features | None":
        """Shape and bounds of items that are no images; None for images."""
        ...

    @property
    def manifest(self) -> Manifest: ...

    def class_names(self, outputs: int, /) -> tuple[str, ...]:
        """Names of the classes of models with this many outputs, () where the targets are values.

        Raises AuditError where data and models disagree.
        """
        ...

    def batches(self, size: int, wanted: NDArray[np.bool_], /) -> "Iterator[Batch]":
        """The distinct items marked in `wanted` bool [N], in stored order.

        A batch holds consecutive distinct items, at most `size`, and never reaches over a multiple of `size`:
        where all are wanted, batch i starts at item i · size. Raises AuditError where an item is not what
        the manifest says.
        """
        ...

    def verify_unchanged(self) -> None: ...


def first_items(source: DataSource, batch: int, count: int) -> "Tensor":
    """The first items [count, C, H, W] of a data set, or all where it has fewer; read `batch` at a time."""
    import torch

    wanted = np.arange(len(source.manifest.ids)) < count
    return torch.cat([each.x for each in source.batches(batch, wanted)])
