"""Reading ahead: the same items in the same order, the same first error, and nothing left running."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Barrier, Event, get_ident

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from audit import runtime
from audit.data import ahead, images, values
from audit.data.sources import of_object, open_source
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.types import DataRole
from tests.test_data_folder import flipped

PATIENCE = 60.0
"""Seconds until a test that waits for another thread gives up."""


def test_results_come_in_order_whoever_is_first() -> None:
    second = Event()

    def slow_first(number: int) -> int:
        if number == 0:
            assert second.wait(PATIENCE)
        second.set()
        return number

    assert list(ahead.in_order(slow_first, range(20), 2)) == list(range(20))


def test_several_are_under_way_at_once() -> None:
    meeting = Barrier(3, timeout=PATIENCE)
    assert len(list(ahead.in_order(lambda _: meeting.wait(), range(6), 3))) == 6


def test_the_first_error_in_order_is_raised_whoever_fails_first() -> None:
    failed = Event()

    def fails(number: int) -> int:
        if number == 3:
            assert failed.wait(PATIENCE)
        if number >= 3:
            failed.set()
            raise ValueError(number)
        return number

    found = ahead.in_order(fails, count(), 2)
    assert [next(found), next(found), next(found)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^3$"):
        next(found)


def test_whoever_stops_early_begins_nothing_more() -> None:
    begun: list[int] = []
    found = ahead.in_order(begun.append, range(1000), 2)
    next(found)
    found.close()
    assert len(begun) <= 2 * 2


def test_one_is_made_while_another_is_in_use_and_never_two_at_once() -> None:
    asked = Event()

    def numbers() -> Iterator[int]:  # a generator refuses to be entered twice
        for number in range(5):
            if number:
                asked.set()
            yield number

    found = ahead.one_ahead(numbers())
    assert next(found) == 0
    assert asked.wait(PATIENCE)  # nobody has asked for the second
    assert list(found) == [1, 2, 3, 4]


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 0
        raise ValueError("of the second")

    found = ahead.one_ahead(numbers())
    assert next(found) == 0
    with pytest.raises(ValueError, match="of the second"):
        next(found)


def test_an_abandoned_source_is_closed() -> None:
    closed = Event()

    def numbers() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.set()

    found = ahead.one_ahead(numbers())
    assert next(found) == 0
    del found
    assert closed.wait(PATIENCE)


@pytest.mark.parametrize("cores", [1, 4])
def test_of_several_bad_images_the_first_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(runtime, "cores", lambda: cores)
    (tmp_path / "a").mkdir()
    for index in range(40):
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(tmp_path / "a" / f"{index:02}.png")
    source = open_source(DataEntry(path=tmp_path), Path(), DataRole.TEST)
    every = np.ones(len(source.manifest.ids), np.bool_)
    assert [batch.start for batch in source.batches(16, every)] == [0, 16, 32]
    for index in (21, 22, 38):
        (tmp_path / "a" / f"{index:02}.png").write_bytes(flipped())
    batches = source.batches(16, every)
    assert next(batches).start == 0
    with pytest.raises(AuditError, match=r"21\.png: cannot be read"):
        next(batches)
    with pytest.raises(AuditError, match=r"21\.png: cannot be read"):
        _ = open_source(DataEntry(path=tmp_path), Path(), DataRole.TEST).manifest


def test_damage_counts_as_long_as_anybody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that ends must not put the setting back under the hands of another."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-1000])
    other, original = ExitStack(), images._opened

    def as_the_other_ends(content: bytes) -> Image.Image:
        other.close()
        return original(content)

    monkeypatch.setattr(images, "_opened", as_the_other_ends)
    other.enter_context(images._damage_counts)
    with pytest.raises(AuditError, match="cannot be read as an image"):
        images.read(tmp_path / "cut.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


class Reused:
    """A data set of the user's, whose items share one array; it notes which threads ask."""

    def __init__(self) -> None:
        self.buffer, self.threads = np.empty((3, 8, 8), np.uint8), set[int]()

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.threads.add(get_ident())
        self.buffer[:] = index
        return self.buffer, index % 2


def test_code_of_others_runs_in_no_other_thread_and_its_items_are_what_was_digested() -> None:
    data = Reused()
    source = of_object(data, DataRole.TEST, "data")
    batches = list(source.batches(16, np.ones(40, np.bool_)))
    assert data.threads == {get_ident()}
    seen = np.concatenate([batch.x[:, 0, 0, 0].numpy() for batch in batches])
    assert (seen * 255).round().tolist() == list(range(40))


def test_bytes_become_what_torch_makes_of_them() -> None:
    steps = np.arange(256, dtype=np.uint8)
    assert values.tensor(steps).equal(torch.from_numpy(steps).to(torch.float32).div_(255))
