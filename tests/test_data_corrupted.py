"""Corrupted data, ready-made: whole, of the test set's size and classes, or refused by file or folder."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import audit
from audit import request, subjects
from audit.data import corrupted
from audit.dataset import DataSource
from audit.errors import AuditError
from audit.records import TaskRecord
from audit.types import DataName, role_of
from tests.world import NAMES, Items, World, network, weights

N = 12
X, Y = Items(n=N).arrays()


def darker(x: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    """The same images under a severity: another grey in a row that no network reads."""
    x = x.copy()
    x[:, 7] = np.random.default_rng([severity, seed]).integers(0, 256, x[:, 7].shape)
    return x


def arrays(root: Path, *, repeated: bool = True) -> Path:
    root.mkdir()
    for seed, name in enumerate(("fog", "defocus_blur")):
        np.save(root / f"{name}.npy", np.concatenate([darker(X, severity, seed) for severity in range(1, 6)]))
    np.save(root / "labels.npy", np.tile(Y, 5) if repeated else Y)
    return root


def folders(root: Path, classes: tuple[str, ...] = NAMES) -> Path:
    for seed, name in enumerate(("fog", "snow")):
        for severity in range(1, 6):
            for row, (image, label) in enumerate(zip(darker(X, severity, seed), Y, strict=True)):
                path = root / name / str(severity) / classes[label] / f"{row:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    return root


def opened(root: Path) -> dict[DataName, DataSource]:
    return corrupted.open_sets(root, TaskRecord())


def refusal(root: Path) -> str:
    with pytest.raises(AuditError) as caught:
        for source in opened(root).values():
            _ = source.manifest
    return caught.value.what


NAMED = [f"corrupted:{name}:{severity}" for name in ("defocus_blur", "fog") for severity in range(1, 6)]


@pytest.mark.parametrize("repeated", [True, False])
def test_each_corruption_and_severity_is_a_set_of_its_own(tmp_path: Path, repeated: bool) -> None:
    found = opened(arrays(tmp_path / "c", repeated=repeated))
    assert list(found) == NAMED
    for name, source in found.items():
        severity, seed = int(name[-1]), int("blur" in name)
        batch = next(source.batches(N, np.ones(N, np.bool_)))
        assert np.array_equal(batch.x.numpy() * 255, darker(X, severity, seed).transpose(0, 3, 1, 2))
        assert np.array_equal(batch.y.numpy(), Y)
        assert source.name == f"{name.split(':')[1]}.npy, severity {severity}"
        assert source.role is role_of(name)
    assert len({source.manifest.digest for source in found.values()}) == 10


def test_folders_are_the_same_sets_in_another_form(tmp_path: Path) -> None:
    found = opened(folders(tmp_path / "c"))
    assert list(found) == [f"corrupted:{name}:{severity}" for name in ("fog", "snow") for severity in range(1, 6)]
    stored = opened(arrays(tmp_path / "a"))
    for severity in range(1, 6):
        mine, theirs = (sets[f"corrupted:fog:{severity}"].manifest for sets in (found, stored))
        assert {bytes(each) for each in mine.ids} == {bytes(each) for each in theirs.ids}
    assert found["corrupted:fog:3"].name == "fog/3"


def _save(name: str, values: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: np.save(root / name, values(np.load(root / name)))


def _one_label(y: np.ndarray) -> np.ndarray:
    y[N + 3] = (y[N + 3] + 1) % 4
    return y


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


NOT_WHOLE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no multiple of five": (_save("fog.npy", lambda x: x[:-1]), "fog.npy", "has 59 items for 60 labels"),
    "a severity missing": (_save("fog.npy", lambda x: x[:-N]), "fog.npy", "has 48 items for 60 labels"),
    "one severity alone": (_save("fog.npy", lambda x: x[:N]), "fog.npy", "has 12 items for 60 labels"),
    "fewer labels": (_save("labels.npy", lambda y: y[:-1]), "defocus_blur.npy", "has 60 items for 59 labels"),
    "fewer of one": (_save("labels.npy", lambda y: y[: N - 1]), "defocus_blur.npy", "has 60 items for 11 labels"),
    "no items": (_save("fog.npy", lambda x: x[:0]), "fog.npy", "is empty"),
    "no content": (lambda root: (root / "fog.npy").write_bytes(b""), "fog.npy", "holds nothing"),
    "no array": (lambda root: (root / "fog.npy").write_text("fog"), "fog.npy", "is no .npy file"),
    "cut short": (
        lambda root: (root / "fog.npy").write_bytes((root / "fog.npy").read_bytes()[:-1]), "fog.npy", "header says"
    ),
    "no labels": (lambda root: (root / "labels.npy").unlink(), "c", "holds no labels.npy"),
    "labels alone": (
        lambda root: [(root / f"{name}.npy").unlink() for name in ("fog", "defocus_blur")], "c", "no corruption beside"
    ),
    "a pipe": (lambda root: _pipe(root / "fog.npy"), "fog.npy", "is not a regular file"),
    "a pipe for labels": (lambda root: _pipe(root / "labels.npy"), "labels.npy", "is not a regular file"),
    "something else": (lambda root: (root / "README.txt").write_text("read me"), "README.txt", "is no .npy file"),
    "a folder": (lambda root: (root / "snow").mkdir(), "snow", "is no .npy file"),
    "a folder with a file's name": (lambda root: (root / "snow.npy").mkdir(), "snow.npy", "is no .npy file"),
    "a name that is none": (
        lambda root: (root / "fog.npy").rename(root / "thick fog.npy"), "thick fog.npy", "is no name of a corruption"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_arrays_that_are_not_whole_are_refused_by_file(tmp_path: Path, case: str) -> None:
    spoil, name, said = NOT_WHOLE[case]
    root = arrays(tmp_path / "c")
    spoil(root)
    found = refusal(root)
    assert (name in found and str(root) in found, said in found) == (True, True), found


def test_a_corruption_with_fewer_items_than_the_others_is_refused(tmp_path: Path) -> None:
    root = arrays(tmp_path / "c", repeated=False)
    np.save(root / "labels.npy", np.tile(Y[:1], 60))
    np.save(root / "fog.npy", np.tile(X, (25, 1, 1, 1)))
    assert "fog.npy: has 60 items of each severity, defocus_blur.npy has 12" in refusal(root)


NOT_OURS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "floats": (_save("fog.npy", lambda x: x.astype(np.float32) / 255), "fog.npy", "is float32"),
    "two axes": (_save("fog.npy", lambda x: x[:, 0, 0]), "fog.npy", "is uint8 of shape (60, 3)"),
    "another size": (_save("fog.npy", lambda x: x[:, :4, :4]), "fog.npy, severity 1", "items of (3, 4, 4)"),
    "grey": (_save("fog.npy", lambda x: x[..., 0]), "fog.npy, severity 1", "items of (1, 8, 8)"),
    "channels first": (_save("fog.npy", lambda x: x.transpose(0, 3, 1, 2).copy()), "fog.npy, severity 1", "(8, 3, 8)"),
    "Fortran order": (_save("fog.npy", np.asfortranarray), "fog.npy", "Fortran"),
    "labels beyond the classes": (_save("labels.npy", lambda y: y + 1), "labels.npy", "is not in 0 … 3"),
    "negative labels": (_save("labels.npy", lambda y: y - 1), "labels.npy", "label -1"),
    "labels as floats": (_save("labels.npy", lambda y: y.astype(float)), "labels.npy", "is float64"),
    "labels that differ": (_save("labels.npy", _one_label), "labels.npy", "item 3 has other labels"),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_arrays_that_do_not_belong_to_the_test_set_are_refused_by_file(world: World, case: str) -> None:
    spoil, name, said = NOT_OURS[case]
    spoil(arrays(world.folder / "c"))
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "c"\n')
    with pytest.raises(AuditError) as caught:
        audit.run(world.audit, pdf=False)
    assert (name in caught.value.what, said in caught.value.what) == (True, True), caught.value.what
    assert not world.out.exists()


def _moved(source: str, target: str) -> Callable[[Path], None]:
    return lambda root: (root / source).rename(root / target)


def _file(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text("no image") and None


def _without_class(root: Path) -> None:
    for path in (root / "fog" / "3" / "stop").iterdir():
        path.unlink()


SPOILT: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a severity missing": (_moved("fog/3", "../elsewhere"), "fog", "has no severity 3"),
    "a sixth": (_moved("fog/3", "fog/6"), "fog/6", "is no folder of a severity"),
    "a severity by name": (_moved("fog/3", "fog/three"), "fog/three", "is no folder of a severity"),
    "a severity written otherwise": (_moved("fog/3", "fog/03"), "fog/03", "is no folder of a severity"),
    "a file among corruptions": (_file("LICENSE"), "LICENSE", "lies beside the folders of corruptions"),
    "a file among severities": (_file("fog/list.txt"), "fog/list.txt", "is no folder of a severity"),
    "a file among classes": (_file("fog/3/list.txt"), "fog/3/list.txt", "is neither PNG nor JPEG"),
    "a file among images": (_file("fog/3/stop/list.txt"), "fog/3/stop/list.txt", "is neither PNG nor JPEG"),
    "an image that is none": (_file("fog/3/stop/bad.png"), "fog/3/stop/bad.png", "cannot be read as an image"),
    "a class without images": (_without_class, "fog/3/stop", "holds no images"),
    "a name that is none": (_moved("fog", "thick fog"), "thick fog", "is no name of a corruption"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_folders_that_are_not_whole_are_refused_by_path(tmp_path: Path, case: str) -> None:
    spoil, name, said = SPOILT[case]
    root = folders(tmp_path / "c")
    spoil(root)
    found = refusal(root)
    assert (str(root / name) in found, said in found) == (True, True), found


def test_what_is_no_folder_of_corruptions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "empty") == f"{tmp_path / 'empty'}: is empty"
    for name in "file", "none":
        assert refusal(tmp_path / name) == f"{tmp_path / name}: is no folder"
    with pytest.raises(AuditError, match="images of classes, not for segmentation"):
        corrupted.open_sets(arrays(tmp_path / "c"), TaskRecord(kind="segmentation"))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("stop", "yield", "speed", "train"), "stand in another order|have other names"),
        (("0", "1", "2", "3"), None),
        (("stop", "yield", "other", "speed"), "have other names|in another order"),
    ],
    ids=["another name", "numbers where nobody names any", "the folders' own order"],
)
def test_other_classes_than_those_of_the_test_set_are_refused(
    world: World, classes: tuple[str, ...], said: str | None
) -> None:
    folders(world.folder / "c", classes)
    if said is None:
        np.savez(world.data, x=world.items.arrays()[0], y=world.items.arrays()[1])
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "c"\n')
    loaded = subjects.load(request.load(world.audit), world.folder)
    if said is None:
        assert loaded.class_names() == ("0", "1", "2", "3")
        return
    with pytest.raises(AuditError, match=said) as caught:
        loaded.class_names()
    assert "fog/1" in caught.value.what


def test_numbered_folders_stand_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Class folders 0 … 10 are sorted 0, 1, 10, 2, …, which is not how an unnamed test set counts."""
    world = World(tmp_path / "w")
    for path, second in ((world.reference, 0.0), (world.candidate, 20.0)):
        network(path, np.pad(weights(second=second), ((0, 0), (0, 7))))
    np.savez(world.data, x=world.items.arrays()[0], y=world.items.arrays()[1])
    for label in range(11):
        (folder := world.folder / "night" / str(label)).mkdir(parents=True)
        Image.fromarray(X[label]).save(folder / "image.png")
    world.audit.write_text(world.audit.read_text() + '\n[data.shifted]\npath = "night"\n')
    with pytest.raises(AuditError, match=r"test\.npz and night: the classes stand in another order: number 2 is '2'"):
        subjects.load(request.load(world.audit), world.folder).class_names()


def test_fewer_class_folders_are_refused(world: World) -> None:
    folders(world.folder / "c", ("stop", "yield", "speed", "speed"))
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "c"\n')
    with pytest.raises(AuditError, match=r"c/fog/1: names 3 classes, but the models have 4 outputs"):
        audit.run(world.audit, pdf=False)


def test_what_comes_or_goes_after_the_scan_is_refused(tmp_path: Path) -> None:
    root = arrays(tmp_path / "c")
    scanned = {name: source.manifest for name, source in opened(root).items()}
    assert list(corrupted.open_sets(root, TaskRecord(), scanned)) == NAMED
    np.save(root / "snow.npy", np.load(root / "fog.npy"))
    with pytest.raises(AuditError, match=r"snow\.npy: was added after the data were scanned"):
        corrupted.open_sets(root, TaskRecord(), scanned)
    (root / "snow.npy").unlink()
    (root / "fog.npy").unlink()
    with pytest.raises(AuditError, match="corrupted:fog:1 was removed after it was scanned"):
        corrupted.open_sets(root, TaskRecord(), scanned)
    np.save(root / "fog.npy", np.concatenate([X] * 5))
    source = corrupted.open_sets(root, TaskRecord(), scanned)["corrupted:fog:1"]
    with pytest.raises(AuditError, match=r"fog\.npy: changed while it was being read"):
        list(source.batches(N, np.ones(N, np.bool_)))


@pytest.mark.quarantined
def test_files_of_others_are_opened_in_a_child(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays(world.folder / "c")
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "c"\n')
    loaded = subjects.load(request.load(world.audit), world.folder)
    assert list(loaded.data) == ["test", *NAMED]
    assert all(source.scanned is not None for source in loaded.data.values())  # type: ignore[attr-defined]
    (world.folder / "c" / "fog.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(AuditError, match=r"fog\.npy: the array has no valid header"):
        subjects.load(request.load(world.audit), world.folder)
