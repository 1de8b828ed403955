"""Batches side by side: the same bits in the same order, whoever is faster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

import audit
from audit import runtime
from audit.contracts import Batch
from audit.evidence import Body
from audit.lanes import Lane, Shown, Wanted, side_by_side
from audit.tasks.classification import Classification
from audit.types import Role
from checks.accuracy import Accuracy
from checks.integrity import Integrity
from checks.perturbations.clean import CLEAN
from tests.attempts import use
from tests.plugins import Dead, asking
from tests.test_noise import noisy
from tests.world import Items, World

ITEMS = Items(n=1500)
"""Six batches: more than lanes."""


def on(cores: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime, "cores", lambda: cores)


def stored(world: World) -> Mapping[str, bytes]:
    """What the ledger holds, by key."""
    return {path.name: path.read_bytes() for path in (world.out / "ledger" / "observations").iterdir()}


@pytest.mark.parametrize("cores", [2, 4, 8])
def test_lanes_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    found: list[tuple[Body, Mapping[str, bytes]]] = []
    for count in (1, cores):
        # As many threads a pass as with one core: they are part of the key.
        monkeypatch.setattr(runtime, "threads", lambda lanes: 1)
        on(count, monkeypatch)
        world = World(tmp_path / str(count), ITEMS)
        found.append((noisy(world, draws=2), stored(world)))
    (one, alone), (many, together) = found
    assert one.model_dump_json() == many.model_dump_json()
    assert alone == together
    assert len(alone) > 2


@pytest.mark.parametrize(("cores", "lanes", "threads"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1), (16, 4, 4)])
def test_lanes_fill_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, lanes: int, threads: int) -> None:
    on(cores, monkeypatch)
    assert (runtime.lanes(with_torch=False), runtime.threads(lanes)) == (lanes, threads)
    assert (runtime.lanes(with_torch=True), runtime.threads(1)) == (1, cores)


@pytest.mark.parametrize("cores", [1, 4])
def test_a_probe_that_fails_takes_no_other_with_it(world: World, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    on(cores, monkeypatch)
    use(monkeypatch, Accuracy(), asking(Dead()), Integrity())
    world.require("functional.negative_flips", 5.0, "%")
    body = audit.run(world.audit, pdf=False).evidence.body
    assert {part.claim: part.reason for part in body.decisions if not part.claim.startswith("integrity")} == {
        "reference.accuracy": "proven-within-limit",
        "accuracy.drop": "proven-within-limit",
        "functional.negative_flips": "dead-perturbation",
    }


@dataclass(frozen=True)
class Scripted(Lane):
    """A lane that waits for an event before the first batch, and sets it after any other."""

    later: Event = field(default_factory=Event)
    seen: list[int] = field(default_factory=list)
    broken: int = -1

    def show(self, batch: Batch, wanted: Wanted) -> list[Shown]:
        if batch.start == self.broken:
            raise ZeroDivisionError(f"of batch {batch.start}")
        if batch.start == 0:
            assert self.later.wait(60)
        else:
            self.later.set()
        self.seen.append(batch.start)
        return [[] for _ in wanted]


def scripted(count: int, broken: int = -1) -> list[Scripted]:
    later, seen = Event(), list[int]()
    return [Scripted({}, Classification(), 4, "1", later=later, seen=seen, broken=broken) for _ in range(count)]


def batches(count: int) -> Iterator[tuple[Batch, Wanted]]:
    for start in range(count):
        yield Batch(np.zeros((1, 32), np.uint8), torch.zeros(1, 1, 1, 1), None, start), [(CLEAN, (Role.REFERENCE,))]


def test_results_come_in_the_order_of_the_items_whoever_is_first() -> None:
    lanes = scripted(2)
    assert [batch.start for batch, _ in side_by_side(lanes, batches(6))] == list(range(6))
    assert lanes[0].seen[0] == 1  # the first batch was not the first to end


def test_an_error_arrives_in_its_turn_and_ends_the_rest() -> None:
    lanes = scripted(2, broken=3)
    with pytest.raises(ZeroDivisionError, match="of batch 3"):
        list(side_by_side(lanes, batches(50)))
    assert max(lanes[0].seen) < 10


def test_whoever_stops_listening_waits_for_what_runs_and_not_for_what_is_queued() -> None:
    lanes = scripted(2)
    for batch, _ in side_by_side(lanes, batches(50)):
        if batch.start == 1:
            break
    assert len(lanes[0].seen) <= 6
