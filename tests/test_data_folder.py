"""Folders of images: the pixels that are stored, in an order that nothing but the names decides, or a refusal."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from audit.data import manifest
from audit.data.npz import NpzSource
from audit.data.sources import needs_quarantine, open_source
from audit.dataset import DataSource
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.types import DataRole
from tests.world import NAMES, Items

N = 12


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The items of `Items(n=12)` as PNG files in class folders; the name of a file is its number."""
    x, y = Items(n=N).arrays()
    for row in range(N):
        place = tmp_path / "set" / NAMES[y[row]] / ("b" if row % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[row]).save(place / f"{row:02}.png")
    return tmp_path / "set"


def opened(root: Path, role: DataRole = DataRole.TEST) -> DataSource:
    return open_source(DataEntry(path=root), Path(), role)


def all_of(source: DataSource) -> np.ndarray:
    return np.ones(len(source.manifest.ids), np.bool_)


def order(root: Path) -> list[int]:
    """Item numbers in the order in which the folder must give them."""
    paths = [path.relative_to(root) for path in root.rglob("*.png")]
    return [int(path.stem) for path in sorted(paths, key=lambda path: path.parts)]


def test_a_folder_gives_what_an_npz_of_the_same_pixels_gives(root: Path, tmp_path: Path) -> None:
    x, y = Items(n=N).arrays()
    rows = order(root)
    labels = np.asarray([sorted(NAMES).index(NAMES[label]) for label in y[rows]])
    np.savez(tmp_path / "set.npz", x=x[rows], y=labels, classes=np.asarray(sorted(NAMES)))
    here, there = opened(root), NpzSource(tmp_path / "set.npz")
    assert here.manifest.digest == there.manifest.digest
    assert (here.shape, here.stored) == (there.shape, there.stored) == ((3, 8, 8), "uint8")
    assert here.class_names(4) == there.class_names(4) == tuple(sorted(NAMES))
    for one, other in zip(here.batches(5, all_of(here)), there.batches(5, all_of(there)), strict=True):
        assert one.start == other.start
        assert one.x.equal(other.x)
        assert one.y is not None and other.y is not None and one.y.equal(other.y)


def test_only_wanted_items_are_read(root: Path) -> None:
    source = opened(root)
    wanted = all_of(source)
    wanted[[0, 5, 6]] = False
    for path in root.rglob("*.png"):
        if int(path.stem) in {order(root)[row] for row in (0, 5, 6)}:
            path.write_bytes(b"gone")
    assert [(batch.start, len(batch.ids)) for batch in source.batches(4, wanted)] == [(1, 3), (4, 1), (7, 1), (8, 4)]


def test_a_scan_of_another_process_is_taken_and_every_item_compared_with_it(root: Path) -> None:
    scan = manifest.from_json(json.loads(json.dumps(manifest.to_json(opened(root).manifest))))
    source = open_source(DataEntry(path=root), Path(), DataRole.TEST, scan)
    assert source.manifest is scan
    assert sum(len(batch.ids) for batch in source.batches(5, all_of(source))) == N
    path = sorted(root.rglob("*.png"))[0]
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    with pytest.raises(AuditError, match="is not what it was") as caught:
        list(source.batches(5, all_of(source)))
    assert "set/" in caught.value.what


def test_duplicates_count_once_and_conflicts_are_refused(root: Path) -> None:
    source = sorted((root / "stop").rglob("*.png"))[0]
    (root / "stop" / "99.png").write_bytes(source.read_bytes())
    assert opened(root).manifest.duplicates == 1
    (root / "other" / "98.png").write_bytes(source.read_bytes())
    with pytest.raises(AuditError, match="are the same input with labels"):
        _ = opened(root).manifest


def test_jpeg_and_grey_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for index, suffix in enumerate(("jpg", "JPEG", "jpeg")):
        Image.fromarray(np.full((5, 6), 40 * index, np.uint8)).save(tmp_path / "a" / f"{index}.{suffix}", "JPEG")
    source = opened(tmp_path)
    batch = next(source.batches(8, all_of(source)))
    assert source.shape == (1, 5, 6)
    assert (batch.x[:, 0, 0, 0] * 255).round().tolist() == [0, 40, 80]


@pytest.mark.parametrize("role", [DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION])
def test_items_without_labels_may_lie_in_the_folder_itself(tmp_path: Path, role: DataRole) -> None:
    for index in range(3):
        Image.fromarray(np.full((5, 6), index, np.uint8)).save(tmp_path / f"{index}.png")
    source = opened(tmp_path, role)
    assert set(source.manifest.labels) == {-1}
    assert [batch.y for batch in source.batches(2, all_of(source))] == [None, None]
    assert source.class_names(2) == ("0", "1")
    with pytest.raises(AuditError, match="lies beside the class folders"):
        opened(tmp_path)


def test_class_folders_mean_nothing_out_of_distribution_and_something_to_calibrate_on(root: Path) -> None:
    assert set(opened(root, DataRole.OUT_OF_DISTRIBUTION).manifest.labels) == {-1}
    assert set(opened(root, DataRole.CALIBRATION).manifest.labels) == {0, 1, 2, 3}


def png(**options: object) -> bytes:
    """A PNG file of one 8×8 image."""
    stream = io.BytesIO()
    mode = str(options.pop("mode", "RGB"))
    Image.new(mode, (8, 8)).save(stream, "PNG", **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int) -> bytes:
    """A PNG file of RGB whose pixels are all there."""
    lines = zlib.compress((b"\0" + bytes(width * 3 * depth // 8)) * height, 9)
    size = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def flipped() -> bytes:
    """A PNG whose text chunk has one wrong bit: its pixels decode all the same."""
    content = bytearray(header(8, 8, 8)[:-12] + chunk(b"tEXt", b"Title\0road") + chunk(b"IEND", b""))
    content[content.index(b"road")] ^= 1
    return bytes(content)


def jpeg(mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, "JPEG")
    return stream.getvalue()


def animated() -> bytes:
    return png(save_all=True, append_images=[Image.new("RGB", (8, 8), (9, 9, 9))])


def gif() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "GIF")
    return stream.getvalue()


def huge_jpeg() -> bytes:
    """A small JPEG whose frame header says 12,000×8,000."""
    content = bytearray(jpeg("RGB"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 8_000, 12_000)
    return bytes(content)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "cannot be read as an image"),
    "text": (lambda: b"hello", "cannot be read as an image"),
    "another format": (gif, "cannot be read as an image"),
    "truncated png": (lambda: png()[:-20], "cannot be read as an image"),
    "truncated jpeg": (lambda: jpeg("RGB")[:-30], "cannot be read as an image"),
    "a wrong bit": (flipped, "cannot be read as an image"),
    "a bomb": (lambda: header(12_000, 8_000, 8), "decompression bomb"),
    "a bomb of jpeg": (huge_jpeg, "decompression bomb"),
    "animated": (animated, "holds 2 images"),
    "another size": (lambda: header(9, 8, 8), r"of shape \(3, 8, 9\), but .* of shape \(3, 8, 8\)"),
    "grey among colours": (lambda: png(mode="L"), r"of shape \(1, 8, 8\)"),
    "palette": (lambda: png(mode="P"), "of mode P"),
    "alpha": (lambda: png(mode="RGBA"), "of mode RGBA"),
    "one bit": (lambda: png(mode="1"), "of mode 1"),
    "grey of 16 bits": (lambda: png(mode="I;16"), "16 bits per value"),
    "colours of 16 bits": (lambda: header(8, 8, 16), "16 bits per value"),
    "a transparent colour": (lambda: png(transparency=(0, 0, 0)), "partly transparent"),
    "inks": (lambda: jpeg("CMYK"), "of mode CMYK"),
}


@pytest.mark.parametrize("content", [flipped(), png()[:-20], jpeg("RGB")[:-30]], ids=["wrong bit", "png", "jpeg"])
def test_damage_counts_whatever_another_library_told_pillow(
    root: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (root / "stop" / "zz.png").write_bytes(content)
    with pytest.raises(AuditError, match="cannot be read as an image"):
        _ = opened(root).manifest
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # of itself, it would only be printed
@pytest.mark.parametrize("content, reason", BAD.values(), ids=BAD)
def test_an_image_that_is_not_sound_blocks_by_name(root: Path, content: Callable[[], bytes], reason: str) -> None:
    path = root / "stop" / "zz.png"
    path.write_bytes(content())
    with pytest.raises(AuditError, match=reason) as caught:
        _ = opened(root).manifest
    assert str(path) in caught.value.what


@pytest.mark.parametrize("name", ["notes.txt", "stop/notes.txt", "stop/b/image.gif", "stop/without"])
def test_a_file_that_is_no_image_is_refused_by_name_and_a_hidden_one_passed_over(root: Path, name: str) -> None:
    hidden = (root / name).with_name(".DS_Store")
    hidden.parent.mkdir(exist_ok=True)
    hidden.touch()
    (root / ".cache").mkdir()
    (root / ".cache" / "anything").touch()
    assert opened(root).class_names(4) == tuple(sorted(NAMES))
    (root / name).touch()
    with pytest.raises(AuditError, match="is neither PNG nor JPEG") as caught:
        opened(root)
    assert str(root / name) in caught.value.what


def link_out(root: Path) -> None:
    (root.parent / "out.png").write_bytes(png())
    (root / "stop" / "zz.png").symlink_to(root.parent / "out.png")


def link_to_folder(root: Path) -> None:
    (root / "stop" / "up").symlink_to(root)


def link_to_nothing(root: Path) -> None:
    (root / "stop" / "zz.png").symlink_to(root / "nothing.png")


def pipe(root: Path) -> None:
    os.mkfifo(root / "stop" / "zz.png")


def empty_class(root: Path) -> None:
    (root / "yy").mkdir()


def no_text(root: Path) -> None:
    place = root / os.fsdecode(b"\xff")
    place.mkdir()
    (place / "1.png").write_bytes(png())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (link_out, "stop/zz.png: is a link that leaves the folder"),
        (link_to_folder, "stop/up: is a link to a folder"),
        (link_to_nothing, "stop/zz.png: cannot be read"),
        (pipe, "stop/zz.png: is not a regular file"),
        (empty_class, "yy: holds no images"),
        (no_text, "its name is not text"),
    ],
)
def test_a_folder_that_is_not_sound_is_refused(root: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(root)
    with pytest.raises(AuditError, match=reason):
        opened(root)


def test_a_link_inside_the_folder_is_a_copy(root: Path) -> None:
    source = sorted((root / "stop").rglob("*.png"))[0]
    (root / "stop" / "zz.png").symlink_to(source)
    assert opened(root).manifest.duplicates == 1


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="holds no images"):
        opened(tmp_path)


def add(root: Path) -> str:
    (root / "stop" / "zz.png").write_bytes(png())
    return "zz.png: was added or removed"


def remove(root: Path) -> str:
    path = sorted((root / "stop").rglob("*.png"))[0]
    path.unlink()
    return f"{path.name}: was added or removed"


def touch(root: Path) -> str:
    path = sorted((root / "stop").rglob("*.png"))[0]
    os.utime(path, ns=(1, 1))
    return f"{path.name}: changed during the audit"


@pytest.mark.parametrize("change", [add, remove, touch])
def test_files_that_change_during_the_audit_are_noticed(root: Path, change: Callable[[Path], str]) -> None:
    source = opened(root)
    assert len(source.manifest.ids) == N
    source.verify_unchanged()
    with pytest.raises(AuditError, match=change(root)):
        source.verify_unchanged()


@pytest.mark.parametrize("name", ["data.csv", "data", "image.png"])
def test_a_file_of_no_known_kind_is_told_what_is_accepted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(png())
    with pytest.raises(AuditError, match=r"neither an \.npz or \.npy file nor a folder") as caught:
        opened(tmp_path / name)
    assert "with one folder of PNG or JPEG images per class" in caught.value.hint


def test_paths_are_relative_to_the_audit_file_and_content_decides(tmp_path: Path) -> None:
    Items(n=8).save(tmp_path / "set.npz").rename(tmp_path / "set")
    entry = DataEntry(path=Path("set"))
    assert len(open_source(entry, tmp_path, DataRole.TEST).manifest.ids) == 8
    with pytest.raises(AuditError, match=r"none\.npz: cannot be read"):
        open_source(DataEntry(path=Path("none.npz")), tmp_path, DataRole.TEST)


def test_files_of_others_are_read_elsewhere_first() -> None:
    assert needs_quarantine(DataEntry(path=Path("set")))
    assert needs_quarantine(DataEntry(torchvision="CIFAR10", root=Path("data")))
    assert not needs_quarantine(DataEntry(torchvision="CIFAR10", root=Path("data"), download=True))
    assert not needs_quarantine(DataEntry(factory="mine:data"))
