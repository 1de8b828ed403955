"""What identifies a data set, in memory and on its way between processes."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from audit.data import manifest
from audit.dataset import Manifest
from audit.errors import AuditError


def a_manifest(labelled: bool = True) -> Manifest:
    """Of 21 stored items, of which two are copies."""
    x = np.random.default_rng(0).integers(0, 256, (21, 3, 4, 4), dtype=np.uint8)
    x[7], x[20] = x[2], x[2]
    y = np.arange(21) % 3 if labelled else np.full(21, -1)
    y[[7, 20]] = y[2]
    return manifest.build(manifest.item_ids(x), y, "data")


def test_the_first_copy_counts() -> None:
    found = a_manifest()
    assert np.flatnonzero(~found.keep).tolist() == [7, 20]
    assert found.duplicates == 2
    assert found.labels.tolist() == [row % 3 for row in range(21) if row not in {7, 20}]


def test_copies_with_two_labels_are_refused_by_number() -> None:
    ids = manifest.item_ids(
        np.zeros((5, 1, 2, 2), np.uint8) + np.asarray([0, 1, 2, 1, 1], np.uint8)[:, None, None, None]
    )
    with pytest.raises(AuditError, match="items 1 and 4 are the same input with labels 5 and 6"):
        manifest.build(ids, np.asarray([0, 5, 0, 5, 6]), "data")


@pytest.mark.parametrize("labelled", [True, False])
def test_a_manifest_survives_the_way_to_another_process(labelled: bool) -> None:
    found = a_manifest(labelled)
    again = manifest.from_json(json.loads(json.dumps(manifest.to_json(found))))
    for name in ("ids", "labels", "keep"):
        one, other = getattr(found, name), getattr(again, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert again.digest == found.digest


def text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def changed(**changes: object) -> dict[str, Any]:
    stored = manifest.to_json(a_manifest())
    assert isinstance(stored, dict)
    return {**stored, **changes}


FOUND = a_manifest()
PART = np.where(np.arange(19) == 4, -1, FOUND.labels)
TWICE = FOUND.ids[[0, 0, *range(2, 19)]]
REFUSED: dict[str, tuple[object, str]] = {
    "no mapping": ([], "not a manifest"),
    "a part missing": ({"ids": ""}, "not a manifest"),
    "a number for the ids": (changed(ids=3), "not a manifest"),
    "no base64": (changed(ids="€"), "ASCII"),
    "another digest": (changed(digest="0" * 64), "digest is not that of its items"),
    "another label": (changed(labels=text((FOUND.labels + 1) % 3)), "digest is not that of its items"),
    "another order": (changed(ids=text(FOUND.ids[::-1])), "digest is not that of its items"),
    "fewer ids": (changed(ids=text(FOUND.ids[:-1])), "sizes differ"),
    "half an id": (changed(ids=text(FOUND.ids.reshape(-1)[:-16])), "sizes differ"),
    "fewer labels": (changed(labels=text(FOUND.labels[:-1])), "sizes differ"),
    "no items": (changed(ids="", labels="", keep="", stored=0), "sizes differ"),
    "more stored than marked": (changed(stored=60), "sizes differ"),
    "fewer stored than items": (changed(stored=5), "sizes differ"),
    "marks beyond the end": (changed(keep=text(np.packbits(np.ones(24, bool)))), "which items count"),
    "a first item that is a copy": (changed(keep=text(np.packbits(np.roll(FOUND.keep, 1)))), "which items count"),
    "an id twice": (changed(ids=text(TWICE), digest=manifest.digest_of(TWICE, FOUND.labels)), "which items count"),
    "some labels": (changed(labels=text(PART), digest=manifest.digest_of(FOUND.ids, PART)), "only some items"),
    "labels below -1": (
        changed(labels=text(FOUND.labels - 9), digest=manifest.digest_of(FOUND.ids, FOUND.labels - 9)),
        "only some items",
    ),
}


@pytest.mark.parametrize("value, reason", REFUSED.values(), ids=REFUSED)
def test_a_manifest_that_contradicts_itself_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        manifest.from_json(value)


def test_judging_order_depends_on_the_set_alone() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 256, (200, 32), dtype=np.uint8)
    shuffle = rng.permutation(200)
    first = ids[manifest.judging_order(ids)]
    again = ids[shuffle][manifest.judging_order(ids[shuffle])]
    np.testing.assert_array_equal(first, again)
    fewer = ids[:199][manifest.judging_order(ids[:199])]
    assert not np.array_equal(fewer[:50], first[:50])


def test_id_covers_content_type_and_shape() -> None:
    x = np.zeros((1, 3, 4, 8), np.uint8)
    ids = {
        bytes(manifest.item_ids(array)[0])
        for array in (x, x.astype(np.float32), x.reshape(1, 3, 8, 4), x + np.uint8(1))
    }
    assert len(ids) == 4
