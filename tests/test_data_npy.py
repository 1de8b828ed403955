"""Items in `.npy` files: streamed, held against their header, and refused by name where they are not sound."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit.data.npy import NpySource
from audit.data.sources import open_source
from audit.dataset import DataSource
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.types import DataRole
from tests import fuzzing
from tests.test_data import header
from tests.world import Items

X, Y = Items(n=40).arrays()


def saved(folder: Path, x: np.ndarray = X, y: np.ndarray | None = Y) -> DataEntry:
    np.save(folder / "x.npy", x)
    if y is None:
        return DataEntry(path=folder / "x.npy")
    np.save(folder / "y.npy", y)
    return DataEntry(path=folder / "x.npy", labels=folder / "y.npy")


def opened(entry: DataEntry, role: DataRole = DataRole.SHIFTED) -> DataSource:
    return open_source(entry, Path(), role)


def everything(source: DataSource) -> np.ndarray:
    wanted = np.ones(len(source.manifest.ids), np.bool_)
    return np.concatenate([batch.x.numpy() for batch in source.batches(16, wanted)])


def refusal(entry: DataEntry, role: DataRole = DataRole.SHIFTED) -> str:
    with pytest.raises(AuditError) as caught:
        _ = opened(entry, role).manifest
    return caught.value.what


def test_items_and_labels_are_those_of_an_npz(tmp_path: Path) -> None:
    mine = opened(saved(tmp_path))
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    theirs = opened(DataEntry(path=tmp_path / "set.npz"))
    assert mine.manifest.digest == theirs.manifest.digest
    assert (mine.shape, mine.stored, mine.name) == ((3, 8, 8), "uint8", "x.npy")
    assert np.array_equal(everything(mine), everything(theirs))
    assert np.array_equal(next(mine.batches(40, np.ones(40, np.bool_))).y.numpy(), Y)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    saved(tmp_path)
    for name in ("data.npz", "data", "data.csv"):
        (tmp_path / name).write_bytes((tmp_path / "x.npy").read_bytes())
        assert isinstance(opened(DataEntry(path=tmp_path / name, labels=tmp_path / "y.npy")), NpySource)
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    (tmp_path / "set.npz").rename(tmp_path / "set.npy")
    assert len(opened(DataEntry(path=tmp_path / "set.npy")).manifest.ids) == 40


@pytest.mark.parametrize("role", [DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION])
def test_labels_may_be_absent_where_none_are_needed(tmp_path: Path, role: DataRole) -> None:
    source = opened(saved(tmp_path, y=None), role)
    assert set(source.manifest.labels) == {-1}
    assert next(source.batches(8, np.ones(40, np.bool_))).y is None


@pytest.mark.parametrize("role", [DataRole.TEST, DataRole.SHIFTED])
def test_labels_may_not_be_absent_where_they_are_needed(tmp_path: Path, role: DataRole) -> None:
    assert refusal(saved(tmp_path, y=None), role) == f"{tmp_path / 'x.npy'}: has no labels"


def test_grey_images_need_no_axis_for_their_channel(tmp_path: Path) -> None:
    source = opened(saved(tmp_path, X[..., 0]))
    assert source.shape == (1, 8, 8)
    assert np.array_equal(everything(source)[:, 0], X[..., 0].astype(np.float32) / 255)


def test_items_that_are_no_images_have_bounds(tmp_path: Path) -> None:
    entry = saved(tmp_path, np.linspace(0, 8, 40 * 6).reshape(40, 2, 3)).model_copy(update={"low": 0.0, "high": 8.0})
    source = opened(entry)
    assert (source.shape, source.features and source.features.item) == ((6, 1, 1), (2, 3))


def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    peaks = []
    for items in (1_000, 20_000):
        x = np.random.default_rng(0).integers(0, 256, (items, 16, 16, 3), dtype=np.uint8)
        entry = saved(tmp_path, x, np.zeros(items, int))
        del x
        tracemalloc.start()
        source = opened(entry)
        wanted = np.ones(len(source.manifest.ids), np.bool_)
        assert sum(len(batch.x) for batch in source.batches(256, wanted)) == items
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 19_000 * 200


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _promising(path: Path) -> None:
    path.write_bytes(header("'|u1'", "(2000000000, 32, 32, 3)") + bytes(100))


def _negative(path: Path) -> None:
    path.write_bytes(header("'|u1'", "(-1, 8, 8, 3)") + bytes(192))


def _more(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _blank(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("no array at all")


def _headless(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'")


def _pickle(path: Path) -> None:
    np.save(path, np.array([{}] * 40, object), allow_pickle=True)


def _single(path: Path) -> None:
    np.save(path, np.uint8(3))


def _of(x: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, x)


def _with(value: float) -> np.ndarray:
    x = X.astype(np.float32) / 255
    x[7, 3, 3, 1] = value
    return x


UNSOUND: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (_cut, "holds 7679 bytes of values, but its header says 7680"),
    "promises more than there is": (_promising, "holds 100 bytes of values, but its header says 6144000000000"),
    "negative size": (_negative, "no valid header"),
    "more than it says": (_more, "holds 7681 bytes of values"),
    "empty": (_blank, "no valid header"),
    "text": (_text, "no valid header"),
    "half a header": (_headless, "no valid header"),
    "pickle": (_pickle, "holds Python objects"),
    "one number": (_single, "header says"),
    "Fortran order": (_of(np.asfortranarray(X)), "Fortran order"),
    "no rows": (_of(X[:0]), "is empty"),
    "no pixels": (_of(X[:, :0]), "is empty"),
    "two axes": (_of(X[:, 0, 0]), "is uint8 of shape (40, 3)"),
    "integers": (_of(X.astype(np.int32)), "is int32 of shape"),
    "complex": (_of(X.astype(np.complex64)), "is complex64 of shape"),
    "records": (_of(np.zeros(40, [("a", "u1"), ("b", "u1")])), "of shape (40,)"),
    "NaN": (_of(_with(np.nan)), "item 7 has values from"),
    "beyond 1": (_of(_with(1.5)), "item 7 has values from"),
    "pixels as floats": (_of(X.astype(np.float32)), "outside [0, 1]"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_a_file_that_is_not_sound_is_refused_by_name(tmp_path: Path, case: str) -> None:
    spoil, said = UNSOUND[case]
    entry = saved(tmp_path)
    spoil(tmp_path / "x.npy")
    found = refusal(entry)
    assert str(tmp_path / "x.npy") in found
    assert said in found


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (Y[:-1], "39 labels for 40 items"),
        (Y.astype(np.float32), "is float32 of shape (40,)"),
        (Y - 1, "label -1 of item"),
        (np.eye(4, dtype=np.int64)[Y], "is int64 of shape (40, 4)"),
        (Y.astype(bool), "is bool of shape"),
        (Y.astype(str), "of shape (40,)"),
    ],
    ids=["too few", "floats", "negative", "one-hot", "truth values", "text"],
)
def test_labels_that_are_none_are_refused_by_their_file(tmp_path: Path, y: np.ndarray, said: str) -> None:
    found = refusal(saved(tmp_path, y=y))
    assert str(tmp_path / "y.npy") in found
    assert said in found


def test_labels_that_are_not_there_or_belong_to_nothing_are_refused(tmp_path: Path) -> None:
    entry = saved(tmp_path)
    (tmp_path / "y.npy").unlink()
    for role in DataRole.SHIFTED, DataRole.OUT_OF_DISTRIBUTION:
        assert refusal(entry, role).startswith(f"{tmp_path / 'y.npy'}: cannot be read")
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    for path in tmp_path / "set.npz", tmp_path:
        assert "is no .npy file, and labels" in refusal(DataEntry(path=path, labels=tmp_path / "x.npy"))


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    source = opened(saved(tmp_path))
    _ = source.manifest
    np.save(tmp_path / "x.npy", X[::-1])
    with pytest.raises(AuditError, match=r"x\.npy: changed while it was being read"):
        everything(source)
    source = opened(saved(tmp_path))
    np.save(tmp_path / "y.npy", Y[:-1])
    with pytest.raises(AuditError, match="changed during the audit"):
        source.verify_unchanged()


def test_damaged_files_are_refused_or_hold_what_they_say(tmp_path: Path) -> None:
    entry = saved(tmp_path, X[:8], Y[:8])
    digest, refused = opened(entry).manifest.digest, 0
    original = {"set": {"x.npy": (tmp_path / "x.npy").read_bytes()}}
    for mutant in fuzzing.mutants(original, fuzzing.BYTES, 400):
        (tmp_path / "x.npy").write_bytes(mutant.files["x.npy"])
        try:
            found = opened(entry).manifest.digest
        except AuditError as error:
            assert str(tmp_path) in error.what, mutant.name
            refused += 1
        else:
            assert (found == digest) is np.array_equal(np.load(tmp_path / "x.npy"), X[:8]), mutant.name
    assert 200 < refused < 400
