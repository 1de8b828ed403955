"""Pictures of listed items: kept beside the evidence, known by their digests, and shown where they may be."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import audit
from audit import thumbnails
from audit.data.manifest import item_ids
from tests.conftest import Command
from tests.test_flips import looked, of, turned
from tests.world import World

SHOWN = re.compile(r'<img class="exemplar" src="data:image/png;base64,([^"]+)"')


def pictures(page: Path) -> list[np.ndarray]:
    """The pictures on a page."""
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(it)))) for it in SHOWN.findall(page.read_text())]


def test_the_page_shows_the_items_themselves(world: World) -> None:
    scores = turned()
    looked(of(world, scores))
    stored, _ = scores.arrays()
    shown = pictures(world.out / "certificate.html")
    assert len(shown) == 10
    for picture, place in zip(shown, [2, 3, 4, 0, 1, 100, 101, 102, 103, 200], strict=True):
        np.testing.assert_array_equal(picture, stored[place])


def test_of_private_data_nothing_is_kept_or_shown(world: World) -> None:
    of(world, turned())
    world.audit.write_text(world.audit.read_text().replace("[data.test]", "[data]\nprivate = true\n\n[data.test]"))
    body = looked(world)
    assert not (world.out / thumbnails.FILE).exists()
    assert pictures(world.out / "certificate.html") == []
    assert sum(len(finding.exemplars) for finding in body.findings) == 10
    assert "Decisions that turned" in (world.out / "certificate.html").read_text()


def test_judged_and_rendered_again_the_pictures_are_there(world: World, invoke: Command, tmp_path: Path) -> None:
    looked(of(world, turned()))
    assert invoke("judge", world.out, "--no-pdf").returncode in (0, 1)
    assert len(pictures(world.out / "judge" / "certificate.html")) == 10
    for source in (world.out, world.out / "judge"):
        assert invoke("render", source / "evidence.json", "--no-pdf", "--out", tmp_path / "again").returncode == 0
        assert len(pictures(tmp_path / "again" / "certificate.html")) == 10


def test_a_picture_that_is_another_item_is_not_shown(world: World) -> None:
    looked(of(world, turned()))
    path = world.out / thumbnails.FILE
    items = np.load(path)
    items[0, 0, 0, 0] ^= 1
    np.save(path, items)
    audit.render(world.out / "evidence.json", pdf=False)
    assert len(pictures(world.out / "certificate.html")) == 9


def _header(shape: str, descr: str = "|u1") -> bytes:
    """The beginning of a file that claims to hold such an array."""
    told = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + told.encode()


def _zipped() -> bytes:
    content = io.BytesIO()
    np.savez(content, x=np.zeros((1, 3, 4, 4), np.uint8))
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no array", _header("(999999999, 3, 999, 999)"), _header("(1, 3, 1, 1)", "|O") + b"\n" * 9, _zipped(),
        _header("(1, 3, 0, 5)"), _header("(0, 3, 4, 4)"), _header("(1099511627776, 1, 0, 1)"), _header("(1, 3,"),
    ],
    ids=["empty", "text", "large", "objects", "zip", "no pixels", "no items", "many items without any", "torn"],
)  # fmt: skip
def test_what_is_no_array_of_items_is_no_picture(world: World, content: bytes) -> None:
    looked(of(world, turned()))
    (world.out / thumbnails.FILE).write_bytes(content)
    audit.render(world.out / "evidence.json", pdf=False)
    assert pictures(world.out / "certificate.html") == []


def test_a_picture_of_large_items_is_small(tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (2, 1, 300, 100), dtype=np.uint8)
    np.save(tmp_path / thumbnails.FILE, items)
    found = thumbnails.load(tmp_path)
    assert list(found) == [row.tobytes().hex() for row in item_ids(items)]
    assert {Image.open(io.BytesIO(picture)).size for picture in found.values()} == {(21, 64)}


def test_a_run_without_exemplars_leaves_no_pictures_of_an_earlier_one(world: World) -> None:
    body = audit.run(world.audit, pdf=False).evidence.body
    (world.out / thumbnails.FILE).write_bytes(b"left")
    assert audit.run(world.audit, pdf=False).evidence.body == body
    assert not (world.out / thumbnails.FILE).exists()


@pytest.mark.parametrize("private", [False, True])
def test_of_modules_in_memory_data_can_be_private_too(tmp_path: Path, private: bool) -> None:
    import torch

    class Turning(torch.nn.Module):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 10 * x[:, :, 0, 0].roll(self.by, 1)

    x, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 3
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'format = "prune-audit/policy/1"\nid = "p"\nalpha = 0.05\nchecks = ["integrity", "accuracy", "flips"]\n'
    )
    audit.compare(
        Turning(0), Turning(1), (x, y), policy_name=str(policy), out=tmp_path / "out", device="cpu", pdf=False,
        private=private,
    )  # fmt: skip
    assert (tmp_path / "out" / thumbnails.FILE).exists() is not private
    assert bool(pictures(tmp_path / "out" / "certificate.html")) is not private
