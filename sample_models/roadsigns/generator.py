"""Road signs as a camera in a car sees them: any number of i.i.d. items, each a function of (stream, index).

Counter-based randomness (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): item i
of a stream owns the i-th block of that stream's Philox sequence, so order and batching cannot change it. Only
+ − × ÷ √ and table lookups lead to the pixels: IEEE 754 rounds these correctly, hence equal bits everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sample_models.roadsigns.scene import PARAMETERS, TEXTURE, Draws, render
from sample_models.roadsigns.signs import SIGNS

CLASSES: tuple[str, ...] = tuple(sign.name for sign in SIGNS)
FREQUENCIES: tuple[float, ...] = tuple(sign.frequency for sign in SIGNS)
STREAMS: tuple[str, ...] = ("train", "validation", "test")
SIDE = 32

MEAN: tuple[float, float, float] = (0.34, 0.32, 0.32)
"""The networks expect (x / 255 − MEAN) / STD per channel: red, green, blue."""
STD: tuple[float, float, float] = (0.18, 0.17, 0.17)

_LAST = 2**48
_RENDERED_AT_ONCE = 128  # what fits into the second-level cache

_WORDS = 4  # 64-bit words per step of Philox's counter
_NOISE = 3 * SIDE * SIDE
_STEPS = (PARAMETERS + TEXTURE // 8 + _NOISE // 2) // _WORDS


def generate(start: int, count: int, stream: str = "test") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Items `start` … `start + count − 1` of `stream`: images [count, 32, 32, 3] (RGB) and labels [count].

    Labels index `CLASSES` and follow `FREQUENCIES`; items are independent and identically distributed.
    ValueError for an unknown stream, a negative start or count, or an index beyond 2^48.
    """
    if stream not in STREAMS:
        raise ValueError(f"unknown stream {stream!r}; there are {', '.join(STREAMS)}")
    if start < 0 or count < 0 or start + count > _LAST:
        raise ValueError(f"items {start} … {start + count} are outside 0 … 2^48")
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for part in _parts(count):
        draws = _draws(start + part.start, part.stop - part.start, stream)
        labels[part] = _classes(draws.parameters[:, 0])
        images[part] = render(labels[part], draws).transpose(0, 2, 3, 1)
    return images, labels


def _parts(count: int) -> Iterator[slice]:
    for first in range(0, count, _RENDERED_AT_ONCE):
        yield slice(first, min(first + _RENDERED_AT_ONCE, count))


def _draws(start: int, count: int, stream: str) -> Draws:
    """The blocks of `count` items from `start`, cut into uniforms, background texture and sensor noise."""
    key = int.from_bytes(hashlib.sha256(f"roadsigns/1/{stream}".encode()).digest()[:16], "little")
    words = np.random.Philox(key=key, counter=start * _STEPS).random_raw(count * _STEPS * _WORDS)
    block = words.reshape(count, _STEPS * _WORDS)
    octets = block[:, PARAMETERS:].astype("<u8").view(np.uint8)
    noise = octets[:, TEXTURE:].reshape(count, 4, 3, SIDE, SIDE)
    return Draws(
        parameters=(block[:, :PARAMETERS] >> np.uint64(40)).astype(np.float32) / np.float32(2**24),
        texture=octets[:, :TEXTURE],
        noise=noise,
    )


def _classes(u: NDArray[np.float32]) -> NDArray[np.int64]:
    edges = np.cumsum(FREQUENCIES)[:-1]
    return np.searchsorted(edges, u.astype(np.float64), side="right").astype(np.int64)
