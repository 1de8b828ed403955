"""Promise 2: noise belongs to the item, whatever batch, order or subset it is drawn in."""

import hashlib
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit import randomness
from audit.contracts import Batch
from audit.randomness import PhiloxRng

Kind = Literal["uniform", "normal"]
FAMILY = {"methods": "1", "family": {"noise": "uniform"}}
IDS = np.frombuffer(b"".join(hashlib.sha256(bytes([i])).digest() for i in range(40)), np.uint8).reshape(-1, 32)
KINDS: tuple[Kind, ...] = ("uniform", "normal")


def drawn(rows: list[int], kind: Kind, draw: int = 0, rng: PhiloxRng | None = None) -> torch.Tensor:
    x = torch.zeros(len(rows), 3, 4, 5)
    numbers: torch.Tensor = getattr(rng or PhiloxRng.of(FAMILY), kind)(Batch(IDS[rows], x, None, draw=draw))
    return numbers


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.integers(0, 39), min_size=1, max_size=12), draw=st.integers(0, 3))
def test_every_item_keeps_its_numbers_in_any_company(kind: Kind, rows: list[int], draw: int) -> None:
    whole = drawn(list(range(40)), kind, draw)
    assert torch.equal(drawn(rows, kind, draw), whole[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_drawn_before_changes_nothing(kind: Kind) -> None:
    rng = PhiloxRng.of(FAMILY)
    first = drawn([3, 4], kind, 0, rng)
    for rows, other, draw in (([7], "normal", 2), ([3, 4], "uniform", 1), ([3, 4], "normal", 0)):
        drawn(rows, other, draw, rng)  # type: ignore[arg-type]  # a literal inside a tuple
    assert torch.equal(drawn([3, 4], kind, 0, rng), first)


def test_what_is_given_out_is_nobody_elses() -> None:
    rng = PhiloxRng.of(FAMILY)
    drawn([1, 2], "uniform", 0, rng).zero_()
    assert drawn([1, 2], "uniform", 0, rng).any()


@pytest.mark.parametrize("change", [{"methods": "2"}, {"family": {"noise": "gaussian"}}])
def test_methods_and_family_make_other_numbers(change: dict[str, object]) -> None:
    batch = Batch(IDS[:2], torch.zeros(2, 3, 4, 5), None)
    ours = PhiloxRng.of(FAMILY).uniform(batch)
    assert not torch.equal(PhiloxRng.of({**FAMILY, **change}).uniform(batch), ours)  # type: ignore[dict-item]


def test_draws_differ_and_have_the_promised_distribution() -> None:
    uniform, normal = (
        torch.cat([drawn(list(range(40)), kind, draw).flatten() for draw in range(4)]).double() for kind in KINDS
    )
    assert uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    halves = uniform.reshape(2, -1)
    assert abs(np.corrcoef(halves)[0, 1]) < 4 / np.sqrt(halves.shape[1])


def test_the_published_digest_of_the_stream() -> None:
    """A change of any bit is a new version of the methods, never a silent one."""
    bits = b"".join(drawn([0, 1, 2], kind, 1).numpy().astype("<f4").tobytes() for kind in KINDS)
    assert hashlib.sha256(bits).hexdigest() == "b42e79dbd0a5c44f489da6f2cadd236ea0ea4de7284766a1ccb4c99ea132ef07"


def test_numbers_of_ever_fewer_items_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items leave an attack one after another, and every number of them would leave an array."""
    monkeypatch.setattr(randomness, "_ROOM", 10_000)
    rng = PhiloxRng.of({"test": 1})
    for count in range(60, 0, -1):
        batch = Batch(np.zeros((count, 32), np.uint8), torch.zeros(count, 1, 4, 4), None)
        rng.uniform(batch)
        kept = [*rng._spare.values(), *rng._last.values()]
        assert sum(each.nbytes for each in kept) <= 2 * 10_000
