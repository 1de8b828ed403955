"""What identifies a data set: its items by content, their labels, and the order in which they are judged."""

import base64
import hashlib

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Ids, Manifest
from audit.digest import Json, of_bytes
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
    _, firsts, group = np.unique(_rows(ids), return_index=True, return_inverse=True)
    first = firsts[group]
    wrong = np.flatnonzero(labels != labels[first])
    if len(wrong):
        row = int(wrong[0])
        raise AuditError(
            f"{name}: items {first[row]} and {row} are the same input "
            f"with labels {labels[first[row]]} and {labels[row]}",
            "Correct the labels: one input cannot belong to two classes.",
        )
    keep = first == np.arange(len(ids))
    ids, labels = ids[keep], labels[keep]
    return Manifest(ids, labels, keep, digest_of(ids, labels))


def _rows(ids: Ids) -> NDArray[np.void]:
    """Each digest [N, 32] as one value [N], so that numpy compares whole digests."""
    return np.ascontiguousarray(ids).view("V32").reshape(-1)


def digest_of(ids: Ids, labels: NDArray[np.int64]) -> str:
    """What names a data set: SHA-256 over its distinct items' ids and labels, in stored order."""
    return of_bytes(ids.tobytes() + labels.astype("<i8").tobytes())


def to_json(found: Manifest) -> Json:
    """A manifest to hand to another process; `from_json` reads it back."""
    return {
        "ids": _text(found.ids),
        "labels": _text(found.labels.astype("<i8")),
        "keep": _text(np.packbits(found.keep)),
        "stored": len(found.keep),
        "digest": found.digest,
    }


def from_json(value: Json) -> Manifest:
    """The manifest that `to_json` wrote; raises ValueError for one that contradicts itself."""
    match value:
        case {"ids": str(ids), "labels": str(labels), "keep": str(keep), "stored": int(stored), "digest": str(digest)}:
            found = _assembled(_bytes(ids), _bytes(labels), _bytes(keep), stored)
        case _:
            raise ValueError("not a manifest: ids, labels, keep, stored and digest are needed")
    if found.digest != digest:
        raise ValueError("a manifest whose digest is not that of its items")
    return found


def _assembled(ids: bytes, labels: bytes, keep: bytes, stored: int) -> Manifest:
    items = len(ids) // 32
    if not 0 < items <= stored or (len(ids), len(labels), len(keep)) != (32 * items, 8 * items, -(-stored // 8)):
        raise ValueError(f"a manifest whose sizes differ: {len(ids)}, {len(labels)}, {len(keep)} bytes, {stored} items")
    rows = np.frombuffer(ids, np.uint8).reshape(-1, 32)
    named = np.frombuffer(labels, "<i8").astype(np.int64)
    bits = np.unpackbits(np.frombuffer(keep, np.uint8))
    kept = bits[:stored].astype(np.bool_)
    if bits.sum() != items or kept.sum() != items or not kept[0] or len(np.unique(_rows(rows))) != items:
        raise ValueError("a manifest that does not say which items count")
    if (named < -1).any() or len(np.unique(named < 0)) != 1:
        raise ValueError("a manifest in which only some items have labels")
    return Manifest(rows, named, kept, digest_of(rows, named))


def _text(values: NDArray[np.generic]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def judging_order(ids: Ids) -> NDArray[np.intp]:
    """A pseudo-random order [N] of the items that nobody chooses: sorted by a digest keyed by the whole set.

    The betting test depends on the order of its data (`statistics.md` §4). The key is the digest of the
    *set* of items and the method-set version: it changes neither with the order in the file nor with any option.
    """
    rows = sorted(map(bytes, ids))
    key = hashlib.sha256(METHOD_SET.encode() + b"".join(rows)).digest()
    ranks = [hashlib.sha256(key + bytes(item)).digest() for item in ids]
    return np.asarray(sorted(range(len(ranks)), key=ranks.__getitem__), dtype=np.intp)
