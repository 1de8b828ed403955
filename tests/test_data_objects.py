"""Data sets that are Python objects: torch data sets, MAITE data sets, arrays, and what a factory gives."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from audit.data.npz import NpzSource
from audit.data.sources import of_object, open_source
from audit.dataset import DataSource
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.types import DataRole
from tests.world import NAMES, Items

N = 40
X, Y = Items(n=N).arrays()
X[[7, 30]], Y[[7, 30]] = X[2], Y[2]


def opened(data: object, role: DataRole = DataRole.TEST) -> DataSource:
    return of_object(data, role, "mine")


def all_of(source: DataSource) -> np.ndarray:
    return np.ones(len(source.manifest.ids), np.bool_)


@dataclass
class Listed(Dataset[Any]):
    """Items that a function makes of the pixels and the label; which were asked for is remembered."""

    image: Callable[[np.ndarray], Any] = Image.fromarray
    label: Callable[[Any], Any] = int
    size: int = N
    classes: Any = NAMES
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self.image(X[index]), self.label(Y[index])


@dataclass
class Maite:
    """A data set by the protocol of MAITE 0.10."""

    metadata: dict[str, Any] = field(default_factory=lambda: {"id": "signs", "index2label": dict(enumerate(NAMES))})
    image: Callable[[np.ndarray], Any] = lambda x: x.transpose(2, 0, 1)
    target: Callable[[int], Any] = lambda y: np.eye(4)[y]
    datum: Callable[[int], Any] = lambda index: {"id": index}

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.image(X[index]), self.target(Y[index]), self.datum(index)


def chw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.transpose(2, 0, 1).copy())


SAME: dict[str, object] = {
    "PIL images": Listed(),
    "H×W×C arrays": Listed(np.asarray),
    "C×H×W arrays": Listed(lambda x: x.transpose(2, 0, 1)),
    "tensors": Listed(chw),
    "labels of numpy": Listed(label=np.int32),
    "labels of torch": Listed(label=torch.tensor),
    "pairs in a list": [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "two arrays": (X, Y),
    "two arrays, channels first": (X.transpose(0, 3, 1, 2), Y.astype(np.uint8)),
    "two tensors": (torch.from_numpy(X.transpose(0, 3, 1, 2).copy()), torch.from_numpy(Y)),
    "an array and a list": (X, Y.tolist()),
    "a tensor data set": TensorDataset(torch.from_numpy(X.transpose(0, 3, 1, 2).copy()), torch.from_numpy(Y)),
    "a subset": Subset(Listed(), range(N)),
    "MAITE": Maite(),
    "MAITE of tensors and probabilities": Maite(image=chw, target=lambda y: torch.eye(4)[y] * 0.6 + 0.1),
    "MAITE of lists": Maite(target=lambda y: [int(k == y) for k in range(4)]),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_every_kind_gives_what_an_npz_of_the_same_pixels_gives(tmp_path: Path, data: object) -> None:
    np.savez(tmp_path / "set.npz", x=X, y=Y)
    there, here = NpzSource(tmp_path / "set.npz"), opened(data)
    assert here.manifest.digest == there.manifest.digest
    assert here.manifest.duplicates == 2
    assert (here.name, here.shape, here.stored) == ("mine", (3, 8, 8), "uint8")
    wanted = all_of(here)
    wanted[[3, 20, 21]] = False
    for one, other in zip(here.batches(16, wanted), there.batches(16, wanted), strict=True):
        assert one.start == other.start
        np.testing.assert_array_equal(one.ids, other.ids)
        assert one.x.equal(other.x)
        assert one.y is not None and other.y is not None and one.y.equal(other.y)
    here.verify_unchanged()


@pytest.mark.parametrize("data", [Listed(), Maite()])
def test_class_names_are_those_of_the_data_set(data: object) -> None:
    assert opened(data).class_names(4) == NAMES
    with pytest.raises(AuditError, match="mine: names 4 classes, but the models have 5 outputs"):
        opened(data).class_names(5)


def test_classes_without_names_are_numbered_and_labels_held_against_the_outputs() -> None:
    assert opened((X, Y)).class_names(6) == tuple("012345")
    row = int(np.flatnonzero(Y == 3)[0])
    with pytest.raises(AuditError, match=f"mine: label 3 of item {row} is not in 0 … 2"):
        opened((X, Y)).class_names(3)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_are_handed_on_as_float32(kind: torch.dtype) -> None:
    x = torch.rand(5, 1, 6, 7, generator=torch.Generator().manual_seed(0)).to(kind)
    source = opened((x, torch.zeros(5, dtype=torch.int64)))
    assert next(source.batches(5, all_of(source))).x.equal(x.float())


def test_grey_images_have_one_channel() -> None:
    assert opened((X[..., 0], Y)).shape == (1, 8, 8)
    assert opened(Listed(lambda x: Image.fromarray(x[..., 0]))).shape == (1, 8, 8)


def test_only_wanted_items_are_read() -> None:
    data = Listed()
    source = opened(data)
    wanted = all_of(source) & False
    wanted[[5, 6, 20]] = True
    data.asked.clear()
    assert [batch.start for batch in source.batches(8, wanted)] == [5, 20]
    # Items 7 and 30 are copies of item 2: distinct item 20 is stored item 21.
    assert data.asked == [5, 6, 21]


@pytest.mark.parametrize(("size", "wanted"), [(0, np.ones(38, bool)), (4, np.ones(40, bool)), (4, np.ones(38, int))])
def test_masks_and_sizes_that_make_no_sense_are_refused(size: int, wanted: np.ndarray) -> None:
    with pytest.raises(ValueError, match="batches of"):
        opened((X, Y)).batches(size, wanted)


UNLABELLED: dict[str, object] = {
    "images alone": [*X],
    "an array": X,
    "a tensor": torch.from_numpy(X.transpose(0, 3, 1, 2).copy()),
    "an array without labels": (X, None),
    "no labels": Listed(label=lambda y: None),
}


@pytest.mark.parametrize("data", UNLABELLED.values(), ids=UNLABELLED)
def test_labels_may_be_absent_where_none_are_needed(data: object) -> None:
    for role in (DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION):
        source = opened(data, role)
        assert set(source.manifest.labels) == {-1}
        assert next(source.batches(99, all_of(source))).y is None
    for role in (DataRole.TEST, DataRole.SHIFTED):
        with pytest.raises(AuditError, match="mine: item 0: has no label"):
            _ = opened(data, role).manifest


@pytest.mark.parametrize("data", [Listed(label=lambda y: {"a": 1}), Maite(target=lambda y: "dog"), (X, Y + 90)])
def test_labels_out_of_distribution_are_ignored(data: object) -> None:
    source = opened(data, DataRole.OUT_OF_DISTRIBUTION)
    assert set(source.manifest.labels) == {-1}
    assert source.class_names(2) == ("0", "1")


class Raising(Listed):
    def __getitem__(self, index: int) -> Any:
        if index == 11:
            raise KeyError("eleven")
        return super().__getitem__(index)


class Flipping(Listed):
    """Turns every other image that it is asked for, as random augmentation does."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return (image if len(self.asked) % 2 else image.rotate(180)), label


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def at(row: int, change: Callable[[Any], Any]) -> Callable[[np.ndarray], Any]:
    """Change the pixels of one item only."""
    return lambda x: change(x) if np.array_equal(x, X[row]) else x


NORMALISED = torch.from_numpy(X.transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
BAD: dict[str, tuple[object, str, str]] = {
    "normalised": ((NORMALISED, Y), "item 0: has values from -1 to 1, outside", "Remove Normalize"),
    "bytes as floats": ((X.astype(np.float32), Y), "item 0: has values from 0 to 255", "scaled to"),
    "another type": (Listed(at(11, lambda x: x / 255)), "item 11: is float64 of shape", "one size and one type"),
    "NaN": (Listed(lambda x: np.full(x.shape, np.nan)), "has values from nan to nan", "scaled to"),
    "another size": (Listed(at(11, lambda x: x[:7])), r"item 11: is uint8 of shape \(3, 7, 8\), but mine: item 0", ""),
    "signed integers": (Listed(lambda x: x.astype(np.int16)), "its image is int16 of shape", "uint8, or float"),
    "booleans": (Listed(lambda x: x > 9), "its image is bool", ""),
    "a batch": (Listed(lambda x: x[None]), r"its image is uint8 of shape \(1, 8, 8, 3\)", ""),
    "no pixels": (Listed(lambda x: x[:0]), r"its image is uint8 of shape \(0, 8, 3\)", ""),
    "objects": (Listed(lambda x: x.astype(object)), "its image is object", ""),
    "two ends like channels": (Listed(lambda x: x[:3]), "cannot tell where the channels are", "layout ="),
    "no end like channels": (Listed(lambda x: np.zeros((8, 8, 8), np.uint8)), "cannot tell where the channels", ""),
    "alpha": (Listed(lambda x: Image.fromarray(x).convert("RGBA")), "item 0: is of mode RGBA", "Convert it"),
    "no image": (Listed(lambda x: {"pixels": x}), "item 0: is a dict, not an image", "PIL image"),
    "a mapping": ([{"image": X[0], "label": 1}], "item 0: is a dict, not an image", ""),
    "three parts": ([(X[0], 1, 2)], "item 0: has 3 parts", r"\(image, label\)"),
    "an item that cannot be read": (Raising(), "item 11: cannot be read", "readable"),
    "float labels": (Listed(label=float), f"item 0: its label is {float(Y[0])}", "one integer label"),
    "boolean labels": (Listed(label=bool), "item 0: its label is True", ""),
    "label names": (Listed(label=lambda y: NAMES[y]), f"item 0: its label is '{NAMES[Y[0]]}'", ""),
    "one-hot labels": (Listed(label=lambda y: np.eye(4)[y]), "item 0: its label is a ndarray", ""),
    "negative labels": (Listed(label=lambda y: int(y) - 4), f"item 0: its label is {Y[0] - 4}", "0 for the"),
    "huge labels": ((X, Y.astype(np.uint64) + 2**63), "item 0: its label is 92233", ""),
    "labels beyond the names": (Listed(label=lambda y: int(y) + 1), "label 4 is not in 0 … 3", ""),
    "some labels": ([(X[0], 1), (X[1], None)], "item 1: has no label", ""),
    "one image, two labels": ([(X[0], 1), (X[0], 2)], "items 0 and 1 are the same input with labels 1 and 2", ""),
    "random augmentation": (Flipping(), "item 0: is another each time it is read", "Remove random augmentation"),
    "no items": ([], "mine: has no items", ""),
    "no array items": ((X[:0], Y[:0]), "mine: has no items", ""),
    "fewer labels": ((X, Y[:-3]), "mine: 37 labels for 40 items", ""),
    "a stream": (Stream(), "mine: is a Stream, which cannot be indexed", "map-style"),
    "a generator": ((pair for pair in ()), "mine: is a generator", "MAITE"),
    "nothing": (None, "mine: is a NoneType", ""),
    "a name": ("data.npz", "mine: is a str", ""),
    "a name for two classes": (Listed(classes=["a", "a", "b", "c"]), "a class name occurs twice", ""),
    "MAITE without an id": (Maite(datum=lambda index: {}), r"item 0: is not \(image, target, metadata", "MAITE items"),
    "MAITE of soft labels": (Maite(target=lambda y: np.full(4, 0.25)), "item 0: its target names no single", "one-hot"),
    "MAITE of nothing": (Maite(target=lambda y: np.zeros(4)), "item 0: its target names no single class", ""),
    "MAITE of logits": (Maite(target=lambda y: np.eye(4)[y] * 9), "item 0: its target names no single class", ""),
    "MAITE of NaN": (Maite(target=lambda y: np.eye(4)[y] * np.nan), "its target names no single class", ""),
    "MAITE of numbers": (Maite(target=int), r"item 0: its target is int64 of shape \(\)", "one value per class, 4"),
    "MAITE of other classes": (Maite(target=lambda y: np.eye(5)[y]), r"its target is float64 of shape \(5,\)", ""),
    "MAITE channels last": (Maite(image=at(3, lambda x: x[:5])), r"item 3: is uint8 of shape \(5, 8, 3\)", ""),
    "MAITE names from 1": (
        Maite({"id": "signs", "index2label": {1: "a", 2: "b"}}), "index2label does not number the classes", "0 first"
    ),
}  # fmt: skip


@pytest.mark.parametrize("data, reason, hint", BAD.values(), ids=BAD)
def test_data_that_are_not_sound_are_refused_by_item(data: object, reason: str, hint: str) -> None:
    with pytest.raises(AuditError, match=reason) as caught:
        _ = opened(data).manifest
    assert caught.value.what.startswith("mine: ")
    assert hint.replace("\\", "") in caught.value.hint


def test_labels_to_calibrate_on_are_all_there_or_none() -> None:
    with pytest.raises(AuditError, match="item 1: has no label, but others have a label"):
        _ = opened([(X[0], 1), (X[1], None)], DataRole.CALIBRATION).manifest


def test_items_that_change_after_the_scan_are_noticed() -> None:
    x, y = X.copy(), Y.copy()
    source = opened((x, y))
    assert sum(len(batch.ids) for batch in source.batches(16, all_of(source))) == 38
    x[25] ^= 1
    with pytest.raises(AuditError, match="mine: item 25: is not what it was"):
        list(source.batches(16, all_of(source)))
    x[25] ^= 1
    y[25] += 1
    with pytest.raises(AuditError, match="mine: item 25: is not what it was"):
        list(source.batches(16, all_of(source)))


def test_a_set_that_is_replaced_before_the_end_is_noticed() -> None:
    x = X.copy()
    source = opened((x, Y))
    source.verify_unchanged()
    x ^= 1
    with pytest.raises(AuditError, match="is not what it was"):
        source.verify_unchanged()


def test_memory_does_not_grow_with_the_items() -> None:
    def image(index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    class Made(Listed):
        def __getitem__(self, index: int) -> Any:
            return image(index), 0

    peaks = []
    for items in (200, 4_000):
        tracemalloc.start()
        source = opened(Made(size=items))
        assert sum(len(batch.x) for batch in source.batches(64, all_of(source))) == items
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 3_800 * 250  # far below the 768 bytes of an item


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A module of the user's beside the audit file."""
    (tmp_path / "my_signs.py").write_text(
        "import numpy as np\n\n\n"
        "def make(items, broken=False):\n"
        "    if broken:\n        raise ValueError('no such camera')\n"
        "    rng = np.random.default_rng(0)\n"
        "    return [(rng.integers(0, 256, (8, 8, 8), dtype=np.uint8), k % 2) for k in range(items)]\n"
    )
    yield tmp_path
    sys.modules.pop("my_signs", None)


def test_a_factory_beside_the_audit_file_gives_the_data(beside: Path) -> None:
    entry = DataEntry(factory="my_signs:make", arguments={"items": 6}, layout="NCHW")
    source = open_source(entry, beside, DataRole.TEST)
    assert (len(source.manifest.ids), source.name, source.shape) == (6, "my_signs:make", (8, 8, 8))
    with pytest.raises(AuditError, match="my_signs:make: item 0: cannot tell where the channels are"):
        open_source(entry.model_copy(update={"layout": "auto"}), beside, DataRole.TEST)
    for arguments in ({"items": 6, "broken": True}, {"number": 6}):
        with pytest.raises(AuditError, match="my_signs:make: "):
            open_source(DataEntry(factory="my_signs:make", arguments=arguments), beside, DataRole.TEST)
