"""Random numbers that belong to the data and the probe, never to the order in which things are computed.

One Philox stream (Salmon et al., SC 2011) per (methods, family of probes, item, draw): its key is a digest of all
four, where an item is its content. The other items of the set, their order and their labels, batch size, chunks and
workers change no bit. The numbers are drawn by numpy on the processor, whatever runs the networks.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit import digest
from audit.contracts import Batch
from audit.digest import Json

if TYPE_CHECKING:
    from numpy.random._philox import _PhiloxInternal  # numpy names these types nowhere else
    from torch import Tensor

Floats = NDArray[np.float32]
_ROOM = 2**25
"""Bytes of numbers that are remembered for the other levels of a family."""


@dataclass
class PhiloxRng:
    """Streams of one family of probes; the levels of one noise are a family and share their numbers.

    Sharing makes a curve over levels compare like with like, and draws the numbers once for all of them: those of
    the last batch are remembered, as far as there is room.
    """

    seed: bytes
    _last: dict[tuple[str, int, tuple[int, ...]], Floats] = field(default_factory=dict, repr=False)
    _spare: dict[tuple[str, int, tuple[int, ...]], Floats] = field(default_factory=dict, repr=False)
    _items: bytes = b""

    @classmethod
    def of(cls, family: Json) -> "PhiloxRng":
        """Bound to what `family` states: version of the methods, family of probes."""
        return cls(bytes.fromhex(digest.of_json(family)))

    def uniform(self, batch: Batch, /, shape: tuple[int, ...] | None = None, stream: str = "") -> "Tensor":
        """See `Rng`."""
        return self._drawn("uniform" + stream, batch, shape, lambda g, out: g.random(out=out, dtype=np.float32))

    def normal(self, batch: Batch, /, shape: tuple[int, ...] | None = None, stream: str = "") -> "Tensor":
        """See `Rng`."""
        return self._drawn("normal" + stream, batch, shape, lambda g, out: g.standard_normal(out=out, dtype=np.float32))

    def _drawn(
        self, kind: str, batch: Batch, shape: tuple[int, ...] | None,
        draw: Callable[[np.random.Generator, Floats], object],
    ) -> "Tensor":  # fmt: skip
        import torch

        items = batch.ids.tobytes()
        if self._items != items:
            self._items, self._spare, self._last = items, {**self._spare, **self._last}, {}
            if sum(spare.nbytes for spare in self._spare.values()) > _ROOM:
                self._spare = {}
        full = (len(batch.ids), *(batch.x.shape[1:] if shape is None else shape))
        asked = (kind, batch.draw, full)
        if asked not in self._last:
            # A new array costs more, in pages that the system must clear, than the numbers do.
            out = self._spare.pop(asked, None)
            out = np.empty(full, np.float32) if out is None else out
            streams = np.random.Philox(0)
            generator, start = np.random.Generator(streams), streams.state
            for row, item in zip(out.reshape(len(out), -1), batch.ids, strict=True):
                start["state"] = self._start(kind, bytes(item), batch.draw)
                streams.state = start
                draw(generator, row)
            if sum(kept.nbytes for kept in self._last.values()) + out.nbytes > _ROOM:
                return torch.from_numpy(out)
            self._last[asked] = out
        return torch.from_numpy(self._last[asked].copy())

    def _start(self, kind: str, item: bytes, draw: int) -> "_PhiloxInternal":
        """The start of the stream of one item and draw."""
        key = hashlib.sha256(self.seed + kind.encode() + draw.to_bytes(8, "little") + item).digest()[:16]
        return {"counter": np.zeros(4, np.uint64), "key": np.frombuffer(key, "<u8")}
