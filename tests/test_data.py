"""Streaming npz: what is read is what is stored, whatever the batch; what is judged is in nobody's order."""

import os
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data import manifest, npz
from audit.data.npz import NpzSource
from audit.errors import AuditError
from audit.types import DataRole
from tests.world import Items


def all_of(source: NpzSource) -> np.ndarray:
    return np.ones(len(source.manifest.ids), np.bool_)


@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
@pytest.mark.parametrize("compressed", [False, True])
def test_batches_are_the_items(tmp_path: Path, size: int, compressed: bool) -> None:
    x, y = Items(n=100).arrays()
    x[50], x[99] = x[3], x[4]
    y[50], y[99] = y[3], y[4]
    path = tmp_path / "test.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=x, y=y)
    source = NpzSource(path)
    keep = [row for row in range(100) if row not in {50, 99}]
    batches = list(source.batches(size, all_of(source)))
    assert [batch.start for batch in batches] == list(range(0, 98, size))
    assert all(len(batch.ids) == min(size, 98 - batch.start) for batch in batches)
    joined = np.concatenate([batch.x.numpy() for batch in batches])
    np.testing.assert_array_equal(joined, x[keep].transpose(0, 3, 1, 2) / np.float32(255))
    np.testing.assert_array_equal(np.concatenate([batch.y.numpy() for batch in batches]), y[keep])
    np.testing.assert_array_equal(np.concatenate([batch.ids for batch in batches]), source.manifest.ids)
    assert source.manifest.duplicates == 2


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_wanted_items_come_alone(folder: Path, data: st.DataObject) -> None:
    source = NpzSource(folder / "copies.npz")
    wanted = np.asarray(data.draw(st.lists(st.booleans(), min_size=30, max_size=30)))
    size = data.draw(st.integers(1, 40))
    whole = next(source.batches(30, all_of(source)))
    rows: list[int] = []
    for batch in source.batches(size, wanted):
        stop = batch.start + len(batch.ids)
        assert batch.start // size == (stop - 1) // size
        np.testing.assert_array_equal(batch.x.numpy(), whole.x[batch.start : stop].numpy())
        np.testing.assert_array_equal(batch.y.numpy(), whole.y[batch.start : stop].numpy())
        rows += range(batch.start, stop)
    assert rows == np.flatnonzero(wanted).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 30 items, every one of them stored twice in a row."""
    x, y = Items(n=30).arrays()
    place = tmp_path_factory.mktemp("data")
    np.savez(place / "copies.npz", x=x.repeat(2, axis=0), y=y.repeat(2))
    return place


def test_unwanted_items_are_neither_digested_nor_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = NpzSource(saved(tmp_path / "test.npz"))
    wanted = all_of(source)
    wanted[:5] = False
    seen: list[int] = []
    digest = manifest.item_ids
    monkeypatch.setattr(manifest, "item_ids", lambda x: seen.append(len(x)) or digest(x))
    assert sum(len(batch.x) for batch in source.batches(2, wanted)) == 3
    assert sum(seen) == 3


@pytest.mark.parametrize(("size", "wanted"), [(0, np.ones(8, bool)), (4, np.ones(7, bool)), (4, np.ones(8, int))])
def test_masks_and_sizes_that_make_no_sense_are_refused(tmp_path: Path, size: int, wanted: np.ndarray) -> None:
    with pytest.raises(ValueError, match="batches of"):
        NpzSource(saved(tmp_path / "test.npz")).batches(size, wanted)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_handed_on_as_they_are(tmp_path: Path, kind: str) -> None:
    x = np.random.default_rng(0).random((8, 3, 8, 8)).astype(kind)
    source = NpzSource(saved(tmp_path / "test.npz", x=x))
    batch = next(source.batches(8, all_of(source)))
    np.testing.assert_array_equal(batch.x.numpy(), x.astype(np.float32))
    assert source.stored == x.dtype.name


def test_content_that_changes_between_two_reads_is_refused(tmp_path: Path) -> None:
    x, y = Items(n=20).arrays()
    path = tmp_path / "test.npz"
    np.savez(path, x=x, y=y)
    source = NpzSource(path)
    assert source.manifest.digest
    x[11, 4, 4, 0] ^= 1
    np.savez(path, x=x, y=y)
    with pytest.raises(AuditError, match="changed while it was being read"):
        list(source.batches(8, all_of(source)))


def test_a_scan_of_another_process_is_taken_and_every_item_still_compared_with_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "test.npz")
    scan = manifest.from_json(manifest.to_json(NpzSource(path).manifest))
    source = NpzSource(path, scanned=scan)
    assert source.manifest is scan
    assert sum(len(batch.x) for batch in source.batches(3, all_of(source))) == 8
    x, y = Items(n=8, seed=1).arrays()
    saved(path, x=x, y=Items(n=8).arrays()[1])
    with pytest.raises(AuditError, match="changed while it was being read"):
        list(NpzSource(path, scanned=scan).batches(8, all_of(source)))
    for changed in ({"y": (y + 1) % 4}, {"x": x[:7], "y": y[:7]}):
        with pytest.raises(AuditError, match="changed after it was scanned"):
            NpzSource(saved(path, **changed), scanned=scan)


UNLABELLED = (DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION)


@pytest.mark.parametrize("role", UNLABELLED)
def test_labels_may_be_absent_where_none_are_needed(tmp_path: Path, role: DataRole) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=Items(n=8).arrays()[0])
    source = NpzSource(path, role=role)
    assert set(source.manifest.labels) == {-1}
    assert [batch.y for batch in source.batches(8, all_of(source))] == [None]
    assert source.class_names(3) == ("0", "1", "2")
    for other in set(DataRole) - set(UNLABELLED):
        with pytest.raises(AuditError, match="holds no array 'y'"):
            NpzSource(path, role=other)


def test_labels_out_of_distribution_are_ignored_and_those_to_calibrate_on_are_not(tmp_path: Path) -> None:
    names = np.asarray(["a", "b", "c", "d"])
    path = saved(tmp_path / "test.npz", classes=names)
    kept = NpzSource(path, role=DataRole.CALIBRATION)
    assert next(kept.batches(8, all_of(kept))).y is not None
    saved(path, y=np.full(8, 99), classes=names)
    assert NpzSource(path, role=DataRole.OUT_OF_DISTRIBUTION).class_names(7) == tuple("0123456")
    with pytest.raises(AuditError, match="label 99 of item 0"):
        NpzSource(path, role=DataRole.CALIBRATION)


def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    peaks = []
    for items in (1_000, 20_000):
        path = tmp_path / f"{items}.npz"
        x = np.random.default_rng(0).integers(0, 256, (items, 16, 16, 3), dtype=np.uint8)
        np.savez(path, x=x, y=np.zeros(items, int))
        tracemalloc.start()
        source = NpzSource(path)
        assert sum(len(batch.x) for batch in source.batches(256, all_of(source))) == items
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # What is kept of an item, and what counting duplicates takes, is far below its 768 bytes (3,072 as float32).
    assert peaks[1] - peaks[0] < 19_000 * 200


def test_a_header_without_labels_that_promises_more_than_there_is_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header("'|u1'", "(2000000000, 32, 32, 3)") + bytes(100))
    tracemalloc.start()
    with pytest.raises(AuditError, match="ends before its last item"):
        _ = NpzSource(path, role=DataRole.OUT_OF_DISTRIBUTION).manifest
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def refusal(path: Path) -> str:
    """What a file is refused for, when opened or when its items are read."""
    with pytest.raises(AuditError) as caught:
        _ = NpzSource(path).manifest
    assert str(path) in caught.value.what
    return caught.value.what


def saved(path: Path, **changes: np.ndarray) -> Path:
    x, y = Items(n=8).arrays()
    np.savez(path, **{"x": x, "y": y, **changes})
    return path


def header(descr: str, shape: str) -> bytes:
    """The head of an array as .npy files have it."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def with_member(path: Path, name: str, content: bytes) -> Path:
    """A sound file to which one member is added, or in which it is replaced."""
    kept = members(saved(path))
    with zipfile.ZipFile(path, "w") as archive:
        for member, stored in {**kept, name: content}.items():
            archive.writestr(member, stored)
    return path


@pytest.mark.parametrize("name", ["x", "y", "classes"])
def test_bytes_beyond_an_array_are_refused(tmp_path: Path, name: str) -> None:
    stored = members(saved(tmp_path / "sound.npz", classes=np.array(list("abcd"))))[f"{name}.npy"]
    path = with_member(tmp_path / "test.npz", f"{name}.npy", stored + b"\0")
    assert f"{name} holds more bytes than its shape says" in refusal(path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "test.npz")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        archive.writestr("y.npy", archive.read("y.npy"))
    assert "holds 'y.npy' more than once" in refusal(path)


def test_a_class_name_given_twice_is_refused(tmp_path: Path) -> None:
    assert "a class name occurs twice" in refusal(saved(tmp_path / "test.npz", classes=np.array(list("abca"))))


@pytest.mark.parametrize("stored", ["<U5", ">U5", "S5"])
def test_class_names_are_read_as_they_were_stored(tmp_path: Path, stored: str) -> None:
    names = ("stop", "yield", "go", "x")
    assert NpzSource(saved(tmp_path / "test.npz", classes=np.array(names, stored))).classes == names


def test_class_names_in_utf_8_bytes_are_text(tmp_path: Path) -> None:
    names = ("Fußgänger", "止まれ")
    y = np.zeros(8, int)
    assert NpzSource(saved(tmp_path / "test.npz", classes=np.array([n.encode() for n in names]), y=y)).classes == names


@pytest.mark.parametrize("descr", ["'<U0'", "'|S0'"])
def test_class_names_of_no_length_are_refused(tmp_path: Path, descr: str) -> None:
    assert "classes is" in refusal(with_member(tmp_path / "test.npz", "classes.npy", header(descr, "(4,)")))


@pytest.mark.parametrize(
    ("descr", "name"),
    [("'<U1'", struct.pack("<I", 0x110000)), ("'<U1'", struct.pack("<I", 0xD800)), ("'|S4'", b"\xff\xfe\xfd\xfc")],
    ids=["no code point", "half a surrogate pair", "no UTF-8"],
)
def test_class_names_that_are_no_text_are_refused(tmp_path: Path, descr: str, name: bytes) -> None:
    path = with_member(tmp_path / "test.npz", "classes.npy", header(descr, "(1,)") + name)
    assert "the name of class 0 is not text" in refusal(path)


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    x, _ = Items(n=8).arrays()
    assert "array 'x' is in Fortran order" in refusal(saved(tmp_path / "test.npz", x=np.asfortranarray(x)))


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'|u1'", "(-8, 8, 8, 3)"),
        ("'|u1'", "-" * 5000 + "1"),
        ("'|u1'", "(" * 5000),
        ("('|u1',)", "(8, 8, 8, 3)"),
        ("'|u1'", "(8, 99999999999, 99999999999, 3)"),
    ],
    ids=["negative", "endless sign", "endless tuple", "no type", "larger than memory"],
)
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, descr: str, shape: str) -> None:
    refusal(with_member(tmp_path / "test.npz", "x.npy", header(descr, shape) + bytes(100)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_refused_whatever_compressed_it(tmp_path: Path, method: int, seed: int) -> None:
    path = tmp_path / "test.npz"
    kept = members(saved(path))
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, stored in kept.items():
            archive.writestr(member, stored)
        start = archive.getinfo("x.npy").header_offset + 30 + len("x.npy")
        end = start + archive.getinfo("x.npy").compress_size
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for position in rng.integers(start, end, 20):
        content[position] ^= rng.integers(1, 256)
    path.write_bytes(content)
    refusal(path)


def test_pipes_devices_and_folders_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", Path("/dev/zero"), tmp_path):
        assert "not a regular file" in refusal(path)


def test_a_name_with_nul_is_refused() -> None:
    with pytest.raises(AuditError, match="cannot be the name of a file"):
        NpzSource(Path("a\0b.npz"))


def test_large_items_are_scanned_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_SCAN_BYTES", 2**20)
    path = tmp_path / "test.npz"
    np.savez_compressed(path, x=np.zeros((600, 3, 64, 64), np.float16), y=np.zeros(600, int))
    source = NpzSource(path)
    tracemalloc.start()
    assert source.manifest.duplicates == 599
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # all items at once are 28 MiB as float32


def test_a_layout_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, x=np.zeros((5, 3, 8, 3), np.uint8), y=np.zeros(5, int))
    with pytest.raises(AuditError, match="where the channels are"):
        NpzSource(path)
    assert NpzSource(path, "NCHW").shape == (3, 8, 3)
    assert NpzSource(path, "NHWC").shape == (3, 3, 8)


def test_a_header_that_promises_more_than_there_is_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header("'|u1'", "(2000000000, 32, 32, 3)") + bytes(100))
        archive.writestr("y.npy", header("'<i8'", "(2000000000,)") + bytes(100))
    tracemalloc.start()
    with pytest.raises(AuditError, match="ends before its last item"):
        NpzSource(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
