"""torchvision's data sets by name, from files in its own formats, and without a network."""

import hashlib
import inspect
import pickle
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from audit.data.sources import of_object, open_source
from audit.dataset import DataSource
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.types import DataRole


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every socket is refused, and remembered."""
    tried: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def opened(name: str, root: Path, arguments: dict[str, Any] | None = None, download: bool = False) -> DataSource:
    entry = DataEntry(torchvision=name, root=root, download=download, arguments=arguments or {})
    return open_source(entry, Path(), DataRole.TEST)


def cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """CIFAR-10 with five items per file; the digests that torchvision knows become those of these files."""
    place = root / "cifar-10-batches-py"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, Any]) -> list[str]:
        (place / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((place / name).read_bytes()).hexdigest()]

    def batch(name: str) -> list[str]:
        pixels = rng.integers(0, 256, (5, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": [3, 1, 4, 1, 5]})

    train = [batch(f"data_batch_{number}") for number in range(1, 6)]
    test = [batch("test_batch")]
    names = write("batches.meta", {"label_names": [f"class {number}" for number in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", test)
    meta = {**datasets.CIFAR10.meta, "md5": names[1]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    stored: np.ndarray = pickle.loads((place / "test_batch").read_bytes())["data"]
    return stored.reshape(5, 3, 32, 32)


def test_cifar_gives_its_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[object]) -> None:
    x = cifar10(tmp_path, monkeypatch)
    source = opened("CIFAR10", tmp_path)
    assert source.manifest.digest == of_object((x, [3, 1, 4, 1, 5]), DataRole.TEST, "x").manifest.digest
    assert source.class_names(10) == tuple(f"class {number}" for number in range(10))
    assert (source.name, source.stored) == ("torchvision CIFAR10", "uint8")
    batch = next(source.batches(5, np.ones(5, np.bool_)))
    np.testing.assert_array_equal(batch.x.numpy(), x / np.float32(255))
    assert len(opened("CIFAR10", tmp_path, {"train": True}).manifest.ids) == 25
    assert not no_network


def test_a_root_is_relative_to_the_audit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar10(tmp_path / "data", monkeypatch)
    entry = DataEntry(torchvision="CIFAR10", root=Path("data"))
    assert len(open_source(entry, tmp_path, DataRole.TEST).manifest.ids) == 5


def test_a_file_that_is_not_torchvision_s_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar10(tmp_path, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes() + b" ")
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(AuditError, match="cannot be opened in"):
        opened("CIFAR10", tmp_path)


def test_mnist_gives_its_test_split(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 7))):
        head = struct.pack(">4i", 2051, len(x[rows]), 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + x[rows].tobytes())
        labels = np.arange(7, dtype=np.uint8)[rows]
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
    source = opened("MNIST", tmp_path)
    assert source.manifest.digest == of_object((x[4:], [4, 5, 6]), DataRole.TEST, "x").manifest.digest
    assert source.class_names(10)[4:6] == ("4 - four", "5 - five")


def test_a_set_with_a_split_gives_the_test_split(tmp_path: Path) -> None:
    for split, value in (("Training/00000", 1), ("Final_Test/Images", 2)):
        place = tmp_path / "gtsrb" / "GTSRB" / split
        place.mkdir(parents=True)
        for row in range(2):
            Image.fromarray(np.full((6, 6, 3), value * 10 + row, np.uint8)).save(place / f"{row}.ppm")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;16\n1.ppm;1\n")
    source = opened("GTSRB", tmp_path)
    assert source.manifest.labels.tolist() == [16, 1]
    assert set(opened("GTSRB", tmp_path, {"split": "train"}).manifest.labels) == {0}
    with pytest.raises(AuditError, match="Unknown value 'tset'"):
        opened("GTSRB", tmp_path, {"split": "tset"})


def test_a_set_without_a_test_split_gives_its_validation_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in datasets.Imagenette._WNID_TO_CLASS:
            place = tmp_path / "imagenette2" / split / name
            place.mkdir(parents=True)
            pixels = np.random.default_rng([*name.encode(), *split.encode()]).integers(0, 256, (6, 6, 3), np.uint8)
            Image.fromarray(pixels).save(place / "1.JPEG")
    source, train = opened("Imagenette", tmp_path), opened("Imagenette", tmp_path, {"split": "train"})
    assert len(source.manifest.ids) == 10
    assert source.manifest.digest != train.manifest.digest
    # torchvision gives every class as a tuple of its synonyms.
    assert source.class_names(10)[:3] == ("tench, Tinca tinca", "English springer, English springer spaniel",
                                          "cassette player")  # fmt: skip


def test_names_that_two_classes_share_get_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.FakeData, "classes", [("crane",), ("dog", "hound"), ("crane",)], raising=False)
    source = opened("FakeData", tmp_path, {"size": 8, "image_size": [3, 6, 6], "num_classes": 3})
    assert source.class_names(3) == ("crane (0)", "dog, hound", "crane (2)")


def test_a_folder_of_classes_is_read_by_torchvision_as_well(tmp_path: Path) -> None:
    for row, name in enumerate("ba"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((6, 6, 3), row, np.uint8)).save(tmp_path / name / "1.png")
    theirs = opened("ImageFolder", tmp_path)
    ours = open_source(DataEntry(path=tmp_path), Path(), DataRole.TEST)
    assert theirs.manifest.digest == ours.manifest.digest
    assert theirs.class_names(2) == ours.class_names(2) == ("a", "b")


def test_items_of_many_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for size in (6, 7):
        Image.fromarray(np.zeros((size, 6, 3), np.uint8)).save(tmp_path / "a" / f"{size}.png")
    with pytest.raises(AuditError, match="torchvision ImageFolder: item 1: is uint8 of shape"):
        _ = opened("ImageFolder", tmp_path).manifest


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "hint"),
    [
        ("CIFAR01", {}, "torchvision has no data set 'CIFAR01'", "Did you mean 'CIFAR10'?"),
        ("wrap_dataset_for_transforms_v2", {}, "has no data set", "Known are"),
        ("VisionDataset", {}, "has no data set", ""),
        ("CIFAR10", {"trian": True}, "takes no argument 'trian'", "Did you mean 'train'?"),
        ("CIFAR10", {"transform": "x"}, "takes no argument 'transform'", "train"),
        ("CIFAR10", {"root": "x"}, "'root' among the arguments", "beside torchvision"),
        ("CIFAR10", {"download": True}, "'download' among the arguments", "beside torchvision"),
        ("EMNIST", {}, "needs the argument 'split'", "split = …"),
        ("DatasetFolder", {}, "needs the argument 'loader'", "write a factory"),
        ("ImageFolder", {}, "cannot be opened in", "cannot fetch these itself"),
        ("FakeData", {"size": "x"}, "torchvision FakeData: has no length", ""),
    ],
)
def test_what_torchvision_cannot_give_is_explained(
    tmp_path: Path, name: str, arguments: dict[str, Any], reason: str, hint: str
) -> None:
    with pytest.raises(AuditError, match=reason) as caught:
        opened(name, tmp_path, arguments)
    assert hint in caught.value.hint


CLASSES = sorted(
    name
    for name in datasets.__all__
    if inspect.isclass(getattr(datasets, name)) and name not in {"FakeData", "VisionDataset"}
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLASSES)
def test_no_set_opens_a_connection_unasked(tmp_path: Path, no_network: list[object], name: str) -> None:
    needed = {key: "letters" if key == "split" else "1" for key in needs(name)}
    with pytest.raises(AuditError, match=f"torchvision {name}: ") as caught:
        opened(name, tmp_path / "nothing", needed)
    assert not no_network
    if not needed and name != "DatasetFolder":
        assert str(tmp_path / "nothing") in caught.value.what


def needs(name: str) -> set[str]:
    """Parameters without a default, those aside that take code or are set elsewhere."""
    parameters = inspect.signature(getattr(datasets, name)).parameters.values()
    named = {part.name for part in parameters if part.default is part.empty and part.kind is not part.VAR_KEYWORD}
    return named - {"root", "loader"}


def test_missing_data_may_be_fetched_where_one_says_so(tmp_path: Path, no_network: list[object]) -> None:
    with pytest.raises(AuditError, match=r"torchvision CIFAR10: cannot be opened in .*nothing") as caught:
        opened("CIFAR10", tmp_path / "nothing")
    assert "download = true" in caught.value.hint
    assert not no_network
    with pytest.raises(AuditError, match="torchvision CIFAR10: cannot be opened in") as caught:
        opened("CIFAR10", tmp_path / "nothing", download=True)
    assert no_network
    assert "connection" in caught.value.hint
