"""What identifies a data set: its items by content, their labels, and the order in which they are judged."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Ids, Manifest
from audit.digest import of_bytes
from audit.errors import AuditError

METHOD_SET = "1"
"""Version of the methods; it enters the judging order, so that no edit of a limit can re-roll it."""


def item_ids(x: NDArray[np.generic]) -> Ids:
    """Content digests [N, 32] of items [N, C, H, W] (uint8, or float32 in native order)."""
    rows = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    start = hashlib.sha256(f"{x.dtype.name}{tuple(x.shape[1:])}".encode())
    digests = bytearray()
    for row in rows:
        state = start.copy()
        state.update(row.data)
        digests += state.digest()
    return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, 32)


def build(ids: Ids, labels: NDArray[np.int64], name: str) -> Manifest:
    """Count exact duplicates once; raises AuditError where two copies of an item disagree on the label."""
    seen: dict[bytes, int] = {}
    keep = np.ones(len(ids), dtype=np.bool_)
    for row, (item, label) in enumerate(zip(map(bytes, ids), labels.tolist(), strict=True)):
        first = seen.setdefault(item, row)
        if first != row:
            keep[row] = False
            if labels[first] != label:
                raise AuditError(
                    f"{name}: items {first} and {row} are the same input with labels {labels[first]} and {label}",
                    "Correct the labels: one input cannot belong to two classes.",
                )
    ids, labels = ids[keep], labels[keep]
    return Manifest(ids, labels, keep, digest_of(ids, labels))


def digest_of(ids: Ids, labels: NDArray[np.int64]) -> str:
    """What names a data set: SHA-256 over its distinct items' ids and labels, in stored order."""
    return of_bytes(ids.tobytes() + labels.astype("<i8").tobytes())


def judging_order(ids: Ids) -> NDArray[np.intp]:
    """A pseudo-random order [N] of the items that nobody chooses: sorted by a digest keyed by the whole set.

    The betting test depends on the order of its data (`statistics.md` §4). The key is the digest of the
    *set* of items and the method-set version: it changes neither with the order in the file nor with any option.
    """
    rows = sorted(map(bytes, ids))
    key = hashlib.sha256(METHOD_SET.encode() + b"".join(rows)).digest()
    ranks = [hashlib.sha256(key + bytes(item)).digest() for item in ids]
    return np.asarray(sorted(range(len(ranks)), key=ranks.__getitem__), dtype=np.intp)
