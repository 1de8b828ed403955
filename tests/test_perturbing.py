"""Promise 5: the engine trusts no plugin."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from audit.contracts import Batch, Budget, Perturbed, Probe, Rng
from audit.digest import Json
from audit.perturbing import BrokenProbeError, Effect, Scratch, Verified
from audit.randomness import PhiloxRng
from audit.types import DataRole
from checks.perturbations.noise import Noise

ITEMS = 200
IDS = np.random.default_rng(0).integers(0, 256, (ITEMS, 32), dtype=np.uint8)
BATCH = Batch(IDS, torch.full((ITEMS, 1, 4, 4), 0.5), torch.zeros(ITEMS, dtype=torch.int64))
RNG = PhiloxRng.of({})
SMALL = Budget("linf", 0.1)


@dataclass(frozen=True)
class Plugin:
    """A probe of somebody else's."""

    act: Callable[[Batch], Perturbed]
    budget: Budget | None = SMALL
    name: str = "plugin"
    data: DataRole = DataRole.TEST
    draws: int = 1
    min_effect: float = 0.99

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "plugin"}

    def stream(self) -> Mapping[str, Json]:
        return {}

    def describe(self) -> str:
        return "a plugin"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return self.act(batch)


def moved(by: float, items: int = ITEMS) -> Callable[[Batch], Perturbed]:
    def act(batch: Batch) -> Perturbed:
        x = batch.x.clone()
        x[:items] += by
        return Perturbed(x, {})

    return act


def crash(batch: Batch) -> Perturbed:
    raise ZeroDivisionError("of the plugin")


def leave(batch: Batch) -> Perturbed:
    raise SystemExit(0)


def dead_in_place(batch: Batch) -> Perturbed:
    """Moves the original along with what it gives: the difference looks like 0, or like nothing was moved."""
    batch.x.add_(0.3)
    return Perturbed(batch.x, {})


BROKEN: dict[str, tuple[Callable[[Batch], Perturbed], str]] = {
    "crashes": (crash, "probe-crashed"),
    "leaves the program": (leave, "probe-crashed"),
    "drops items": (lambda b: Perturbed(b.x[:-1] + 0.01, {}), "wrong-shape"),
    "other dtype": (lambda b: Perturbed(b.x.double() + 0.01, {}), "wrong-shape"),
    "no tensor": (lambda b: Perturbed(b.x.numpy(), {}), "wrong-shape"),  # type: ignore[arg-type]
    "nothing": (lambda b: None, "wrong-shape"),  # type: ignore[arg-type,return-value]
    "not a number": (lambda b: Perturbed(b.x * float("nan"), {}), "out-of-bounds"),
    "infinite": (lambda b: Perturbed(b.x / 0, {}), "out-of-bounds"),
    "beyond white": (moved(0.6), "out-of-bounds"),
    "beyond black": (moved(-0.6), "out-of-bounds"),
    "beyond the budget": (moved(0.2), "budget-exceeded"),
    "beyond the budget in one item": (moved(0.2, items=1), "budget-exceeded"),
    "beyond the budget in place": (dead_in_place, "budget-exceeded"),
    "writes the label": (lambda b: Perturbed(b.x + 0.01, {"label": np.zeros(ITEMS)}), "wrong-columns"),
    "a column too short": (lambda b: Perturbed(b.x + 0.01, {"steps": np.zeros(3)}), "wrong-columns"),
}


def shown(probe: Probe, batch: Batch = BATCH) -> Effect:
    """The effect of a probe on a batch."""
    made = Verified(probe, RNG, Scratch()).perturb(batch)
    effect = Effect(probe)
    effect.add(made.columns, made.changed, len(batch.ids))
    return effect


@pytest.mark.parametrize("name", BROKEN)
def test_a_probe_that_breaks_its_word_fails_by_name(name: str) -> None:
    act, reason = BROKEN[name]
    with pytest.raises(BrokenProbeError, match="plugin") as caught:
        Verified(Plugin(act), RNG, Scratch()).perturb(BATCH)
    assert caught.value.why.reason == reason


def test_the_euclidean_budget_is_kept_too() -> None:
    Verified(Plugin(moved(0.1), Budget("l2", 0.41)), RNG, Scratch()).perturb(BATCH)
    with pytest.raises(BrokenProbeError, match="l2"):
        Verified(Plugin(moved(0.1), Budget("l2", 0.39)), RNG, Scratch()).perturb(BATCH)


@pytest.mark.parametrize(("changed", "alive"), [(ITEMS, True), (198, True), (197, False), (0, False)])
def test_a_dead_perturbation_is_no_evidence(changed: int, alive: bool) -> None:
    effect = shown(Plugin(moved(0.05, changed)))
    if alive:
        effect.end_chunk()
    else:
        with pytest.raises(BrokenProbeError, match=f"changed {changed} of {ITEMS} items") as caught:
            effect.end_chunk()
        assert caught.value.why.reason == "dead-perturbation"


def test_a_live_chunk_does_not_pay_for_a_dead_one() -> None:
    effect = Effect(Plugin(moved(0.0)))
    effect.add({}, changed=ITEMS, items=ITEMS)
    effect.end_chunk()
    effect.add({}, changed=0, items=ITEMS)
    with pytest.raises(BrokenProbeError, match="changed 0 of"):
        effect.end_chunk()


def test_what_promises_no_effect_must_have_none() -> None:
    with pytest.raises(BrokenProbeError, match="changed 1 of") as caught:
        shown(Plugin(moved(0.05, 1), min_effect=0.0)).end_chunk()
    assert caught.value.why.reason == "not-clean"


def test_a_chunk_that_was_not_seen_is_not_dead() -> None:
    Effect(Plugin(moved(0.0))).end_chunk()


def test_columns_are_the_same_in_every_batch() -> None:
    effect = Effect(Plugin(moved(0.0)))
    effect.add({"steps": np.zeros(3, np.int64)}, changed=3, items=3)
    with pytest.raises(BrokenProbeError, match="from batch to batch") as caught:
        effect.add({"steps": np.zeros(3, np.float64)}, changed=3, items=3)
    assert caught.value.why.reason == "wrong-columns"


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
@pytest.mark.parametrize("level", [0.5, 8.0, 255.0])
def test_our_own_noise_keeps_its_word(kind: str, level: float) -> None:
    for x in (0.0, 0.5, 1.0):
        shown(Noise(kind, level), Batch(IDS, torch.full((ITEMS, 3, 8, 8), x), BATCH.y)).end_chunk()  # type: ignore[arg-type]


def test_noise_has_the_strength_it_states() -> None:
    uniform, gaussian = (
        (Noise(kind, 8.0).perturb(Batch(IDS, torch.full((ITEMS, 3, 8, 8), 0.5), None), RNG).x - 0.5) * 255  # type: ignore[arg-type]
        for kind in ("uniform", "gaussian")
    )
    assert uniform.abs().max() <= 8.001 and uniform.abs().max() > 7.9
    assert float(uniform.std()) == pytest.approx(8 / 3**0.5, rel=0.01)
    assert float(gaussian.std()) == pytest.approx(8, rel=0.01)
    assert float(uniform.mean()) == pytest.approx(0, abs=0.1) and float(gaussian.mean()) == pytest.approx(0, abs=0.1)
