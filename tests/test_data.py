"""Streaming npz: what is read is what is stored, whatever the chunk; what is judged is in nobody's order."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audit.data import manifest
from audit.data.npz import NpzSource
from audit.errors import AuditError
from tests.world import Items


@pytest.mark.parametrize("chunk", [1, 7, 64, 1_000])
@pytest.mark.parametrize("compressed", [False, True])
def test_chunks_are_the_items(tmp_path: Path, chunk: int, compressed: bool) -> None:
    x, y = Items(n=100).arrays()
    x[50], x[99] = x[3], x[4]
    y[50], y[99] = y[3], y[4]
    path = tmp_path / "test.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=x, y=y)
    source = NpzSource(path)
    keep = [row for row in range(100) if row not in {50, 99}]
    batches = list(source.chunks(chunk))
    assert max(len(batch.ids) for batch in batches) <= chunk
    assert len(batches) == -(-98 // chunk)
    joined = np.concatenate([batch.x.numpy() for batch in batches])
    np.testing.assert_array_equal(joined, x[keep].transpose(0, 3, 1, 2) / np.float32(255))
    np.testing.assert_array_equal(np.concatenate([batch.y.numpy() for batch in batches]), y[keep])
    np.testing.assert_array_equal(np.concatenate([batch.ids for batch in batches]), source.manifest.ids)
    assert source.manifest.duplicates == 2


def test_content_that_changes_between_two_reads_is_refused(tmp_path: Path) -> None:
    x, y = Items(n=20).arrays()
    path = tmp_path / "test.npz"
    np.savez(path, x=x, y=y)
    source = NpzSource(path)
    assert source.manifest.digest
    x[11, 4, 4, 0] ^= 1
    np.savez(path, x=x, y=y)
    with pytest.raises(AuditError, match="changed while it was being read"):
        list(source.chunks(8))


def test_a_layout_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=np.zeros((5, 3, 8, 3), np.uint8), y=np.zeros(5, int))
    with pytest.raises(AuditError, match="where the channels are"):
        NpzSource(path)
    assert NpzSource(path, "NCHW").shape == (3, 8, 3)
    assert NpzSource(path, "NHWC").shape == (3, 3, 8)


def test_a_header_that_promises_more_than_there_is_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000, 32, 32, 3), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    labels = b"{'descr': '<i8', 'fortran_order': False, 'shape': (2000000000,), }"
    labels += b" " * (63 - (10 + len(labels)) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (("x.npy", header), ("y.npy", labels)):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 100)
    tracemalloc.start()
    with pytest.raises(AuditError, match="ends before its last item"):
        NpzSource(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


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
