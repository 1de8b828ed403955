"""What identifies a data set: its items by content, their labels, and the order in which they are judged."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.dataset import Attribute, Ids, Labels, Manifest
from audit.digest import Json, of_bytes
from audit.errors import AuditError

_FORMS = ("int64", "float32", "uint8")
"""Element types of labels, values, and digests of masks."""
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


def labels_of(targets: NDArray[Any]) -> Labels:
    """What a manifest holds of the targets of items: of masks int16 [N, H, W] their digests, else themselves."""
    return item_ids(targets) if targets.ndim > 2 else targets


def build(
    ids: Ids, labels: Labels, name: str, masked: Mapping[int, tuple[int, float]] | None = None,
    attributes: Sequence[Attribute] = (),
) -> Manifest:  # fmt: skip
    """Count exact duplicates once; raises AuditError where two copies of an item disagree on label or attributes.

    `labels` [stored] and `attributes` are those of all stored items.
    """
    _, firsts, group = np.unique(_rows(ids), return_index=True, return_inverse=True)
    first = firsts[group]
    wrong = np.flatnonzero((labels != labels[first]).reshape(len(ids), -1).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        said = "other masks" if labels.dtype == np.uint8 else f"labels {labels[first[row]]} and {labels[row]}"
        raise AuditError(
            f"{name}: items {first[row]} and {row} are the same input with {said}",
            "Correct the labels: one input has one label.",
        )
    for attribute in attributes:
        _require_one_value(attribute, first, name)
    keep = first == np.arange(len(ids))
    ids, labels, own = ids[keep], labels[keep], tuple(attribute.of(keep) for attribute in attributes)
    return Manifest(ids, labels, keep, digest_of(ids, labels), masked or {}, own)


def _require_one_value(attribute: Attribute, first: NDArray[np.intp], name: str) -> None:
    """`first` [stored] is the place of the first copy of each stored item."""
    codes = attribute.codes
    wrong = np.flatnonzero(codes != codes[first])
    if len(wrong):
        row = int(wrong[0])
        one, other = (attribute.values[codes[place]] for place in (first[row], row))
        raise AuditError(
            f"{name}: items {first[row]} and {row} are the same input, of {attribute.name} {one!r} and {other!r}",
            "Correct the attributes: one input has one value of each.",
        )


def common(one: Ids, other: Ids) -> NDArray[np.void]:
    """The digests that two sets share, each once."""
    return np.intersect1d(_rows(one), _rows(other))


def _rows(ids: Ids) -> NDArray[np.void]:
    """Each digest [N, 32] as one value [N], so that numpy compares whole digests."""
    return np.ascontiguousarray(ids).view("V32").reshape(-1)


def digest_of(ids: Ids, labels: Labels) -> str:
    """What names a data set: SHA-256 over its distinct items' ids and labels, in stored order."""
    return of_bytes(ids.tobytes() + _stored(labels).tobytes())


def _stored(labels: Labels) -> NDArray[Any]:
    return labels.astype(labels.dtype.newbyteorder("<"))


def to_json(found: Manifest) -> Json:
    """A manifest to hand to another process; `from_json` reads it back."""
    return {
        "ids": _text(found.ids),
        "labels": _text(_stored(found.labels)),
        "form": [found.labels.dtype.name, *found.labels.shape[1:]],
        "masked": [[label, *counted] for label, counted in sorted(found.masked.items())],
        "keep": _text(np.packbits(found.keep)),
        "stored": len(found.keep),
        "attributes": [[each.name, list(each.values), each.text] for each in found.attributes],
        "digest": found.digest,
    }


def from_json(value: Json) -> Manifest:
    """The manifest that `to_json` wrote; raises ValueError for one that contradicts itself."""
    match value:
        case {
            "ids": str(ids), "labels": str(labels), "form": [str(dtype), *row], "masked": list(masked),
            "keep": str(keep), "stored": int(stored), "attributes": list(attributes), "digest": str(digest),
        } if dtype in _FORMS:  # fmt: skip
            named = np.frombuffer(_bytes(labels), np.dtype(dtype).newbyteorder("<")).astype(dtype)
            found = _assembled(_bytes(ids), named, _sizes(row), _bytes(keep), stored)
        case _:
            raise ValueError("not a manifest: ids, labels, form, masked, keep, stored, attributes, digest are needed")
    if found.digest != digest:
        raise ValueError("a manifest whose digest is not that of its items")
    own = tuple(_described(each, len(found.ids)) for each in attributes)
    return replace(found, masked=dict(map(_counted, masked)), attributes=own)


def _sizes(row: Sequence[Json]) -> tuple[int, ...]:
    if len(row) > 1 or any(not isinstance(size, int) or size < 1 for size in row):
        raise ValueError(f"a manifest with labels of shape {row}")
    return tuple(size for size in row if isinstance(size, int))


def _counted(entry: Json) -> tuple[int, tuple[int, float]]:
    match entry:
        case [int(label), int(items), int(share) | float(share)]:
            return label, (items, float(share))
    raise ValueError(f"a manifest that counts {entry} of a label")


def _described(entry: Json, items: int) -> Attribute:
    match entry:
        case [str(name), list(values), str(text)]:
            found = Attribute.of_text(name, tuple(map(str, values)), text)
            if len(found.codes) == items:
                return found
    raise ValueError(f"a manifest of {items} items that is not described by {entry!r:.100}")


def _assembled(ids: bytes, values: NDArray[Any], row: tuple[int, ...], keep: bytes, stored: int) -> Manifest:
    items = len(ids) // 32
    sizes = (len(ids), len(values), len(keep))
    if not 0 < items <= stored or sizes != (32 * items, items * math.prod(row), -(-stored // 8)):
        raise ValueError(f"a manifest whose sizes differ: {sizes} of {stored} items")
    rows = np.frombuffer(ids, np.uint8).reshape(-1, 32)
    named = values.reshape(items, *row)
    bits = np.unpackbits(np.frombuffer(keep, np.uint8))
    kept = bits[:stored].astype(np.bool_)
    if bits.sum() != items or kept.sum() != items or not kept[0] or len(np.unique(_rows(rows))) != items:
        raise ValueError("a manifest that does not say which items count")
    if not row and ((named < -1).any() or len(np.unique(named < 0)) != 1):
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
