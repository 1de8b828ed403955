"""Temperatures that are fitted on calibration items, and proper scores at them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audit import policy
from audit.contracts import Context
from audit.evidence import Body
from audit.types import PAIR, DataRole
from checks.calibration import Calibration
from checks.perturbations.clean import CLEAN, Clean
from checks.temperature import COLDEST
from tests.test_calibration import LOG_LOSS, STRENGTH, decided, estimate, examined, found, limit, softened
from tests.world import CLASSES, Items, Scores, World, network, weights

OF = "temperature@role={}"
RISES = [f"{score}_increase@temperature={whose}" for score in ("brier", "log_loss") for whose in ("own", "reference")]
CALIBRATED = Context(("a", "b"), data=(DataRole.TEST, DataRole.CALIBRATION))
PROMISED = [claim for claim in Calibration().ask(CALIBRATED).claims if "temperature" in claim.id]


def closed_form(strength: float, accuracy: float) -> float:
    """The T at which softmax([strength, 0, 0, 0] / T) is as sure as it is right."""
    return strength / float(np.log((CLASSES - 1) * accuracy / (1 - accuracy)))


def missing(body: Body) -> dict[str, str | None]:
    """Why each claim of a temperature was not measured, by what it is about."""
    return {claim.id.removeprefix("calibration."): found(body, claim.id).missing for claim in PROMISED}


def softmaxed(world: World, strength: float) -> World:
    """The same with networks that end in a softmax."""
    for path, rows in ((world.reference, (strength, 0.0)), (world.candidate, (0.0, strength))):
        network(path, weights(*rows), softmax=True)
    return world


def of_one_score(score: int, n: int = 200, errors: int = 40, classes: int = CLASSES) -> Scores:
    """Items that have this score for one class, of both networks, and 0 for the others."""
    labels = np.arange(n) % classes
    scores = np.zeros((n, classes), np.int64)
    scores[np.arange(n), np.where(np.arange(n) < errors, (labels + 1) % classes, labels)] = score
    return Scores(labels, scores, scores)


@pytest.mark.parametrize("strength", [1.5, STRENGTH, 5.0])
@pytest.mark.parametrize("accuracy", [0.3, 0.8, 0.995])
def test_items_of_one_confidence_have_the_temperature_at_which_it_is_true(
    tmp_path: Path, strength: float, accuracy: float
) -> None:
    """A candidate whose logits are three times the reference's has three times its temperature."""
    world = World(tmp_path / "w")
    network(world.reference, weights(strength))
    network(world.candidate, weights(3 * strength))
    body = examined(world, calibration=Items(n=200, errors=round(200 * (1 - accuracy)), seed=9))
    expected = closed_form(strength, accuracy)
    assert estimate(body, OF.format("reference")) == pytest.approx(expected, rel=1e-5)
    assert estimate(body, OF.format("candidate")) == pytest.approx(3 * expected, rel=1e-5)
    assert found(body, "calibration.temperature@role=reference").n == 200


def drawn(seed: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels [n] and scores [2, n, 5] that are drawn of networks too sure and not sure enough, by a factor."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 256, (2, n, 5))
    p = np.exp(5 * scores[0] / 255 + 8 * scores[1] / 255)
    return np.array([rng.choice(5, p=row / row.sum()) for row in p]), scores


def at(scores: NDArray[np.int64], temperature: float) -> NDArray[np.float64]:
    """Probabilities of such scores, by hand."""
    powers = np.exp(10 * scores / 255 / temperature)
    told: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return told


def test_temperatures_and_scores_are_those_that_a_grid_finds(tmp_path: Path) -> None:
    (fitted, seen), (tested, shown) = drawn(1, 300), drawn(2, 400)
    body = examined(World(tmp_path / "w", Scores(tested, *shown)), calibration=Scores(fitted, *seen))
    grid = np.arange(0.5, 6, 0.001)
    own = []
    for role, scores in zip(PAIR, seen, strict=True):
        losses = [-np.log(at(scores, t)[np.arange(300), fitted]).mean() for t in grid]
        own.append(grid[np.argmin(losses)])
        assert estimate(body, OF.format(role)) == pytest.approx(own[-1], abs=1e-3)
    assert own[0] != pytest.approx(own[1], abs=0.1)
    for whose, used in (("own", own), ("reference", [own[0]] * 2)):
        told = [at(scores, t) for scores, t in zip(shown, used, strict=True)]
        losses = [-np.log(p[np.arange(400), tested].clip(1e-4)).mean() for p in told]
        briers = [np.square(p - np.eye(5)[tested]).sum(axis=1).mean() / 2 for p in told]
        scope = f"increase@temperature={whose}"
        assert estimate(body, f"log_loss_{scope}") == pytest.approx(losses[1] - losses[0], abs=1e-3)
        assert estimate(body, f"brier_{scope}") == pytest.approx(briers[1] - briers[0], abs=1e-3)


def test_a_copy_has_the_same_temperature_and_is_no_worse_by_exactly_nothing(tmp_path: Path) -> None:
    one, other = (Scores(labels, scores, scores) for labels, (scores, _) in (drawn(3, 300), drawn(4, 300)))
    body = examined(World(tmp_path / "w", one), calibration=other)
    temperatures = [estimate(body, OF.format(role)) for role in PAIR]
    assert temperatures[0] == temperatures[1] != 1
    assert [estimate(body, rise) for rise in RISES] == [0] * 4


def test_what_is_too_sure_is_so_at_the_temperature_of_the_reference_and_not_at_its_own(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", candidate=3 * STRENGTH)
    rises = {whose: f"{LOG_LOSS}@temperature={whose}" for whose in ("own", "reference")}
    body = examined(world, limit(f"{LOG_LOSS}@temperature=*", 0.2, "distance"),
                    calibration=Items(n=200, errors=40, seed=9))  # fmt: skip
    made = {it.claim: it.verdict for it in body.decisions if it.claim.startswith("calibration.")}
    assert made == {rises["own"]: "PASS", rises["reference"]: "FAIL"}
    told = found(body, rises["reference"])
    assert (told.n, told.statistic["kind"]) == (400, "bounded-mean")
    assert estimate(body, "brier_increase@temperature=reference") > 0.02
    for score in ("brier", "log_loss"):
        assert estimate(body, f"{score}_increase@temperature=own") == pytest.approx(0, abs=1e-6)


def test_a_limit_without_a_temperature_is_none_at_one(tmp_path: Path) -> None:
    body = examined(softened(tmp_path / "w"), limit(LOG_LOSS, 0.2, "distance"), calibration=Items(n=200, seed=9))
    assert [it.claim for it in body.decisions if it.claim.startswith("calibration.")] == [LOG_LOSS]


def test_losses_are_cut_at_a_temperature_too(tmp_path: Path) -> None:
    """Each of the candidate's confident errors is as far off as any can be, and no farther."""
    world = softened(tmp_path / "w", candidate=10 * STRENGTH)
    body = examined(world, calibration=Items(n=200, errors=40, seed=9))
    reference = -0.8 * np.log(0.8) - 0.2 * np.log(0.2 / 3)
    assert estimate(body, "log_loss_increase@temperature=reference") == pytest.approx(0.2 * 4 * np.log(10) - reference)


@pytest.mark.parametrize("errors", [0, 200])
def test_a_loss_without_a_minimum_has_no_temperature(tmp_path: Path, errors: int) -> None:
    """Who is always right cannot be sure enough, who is always wrong not unsure enough."""
    body = examined(softened(tmp_path / "w"), limit(f"calibration.{RISES[0]}", 0.9, "distance"),
                    calibration=Items(n=200, errors=errors, seed=9))  # fmt: skip
    assert set(missing(body).values()) == {"no-temperature"}
    part = decided(body, f"calibration.{RISES[0]}")
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "no-temperature")


def test_no_rounding_makes_a_minimum(tmp_path: Path) -> None:
    """Of these items the mean log-probability at T = 0.01 is one ulp more than the label's, which is the highest."""
    world = World(tmp_path / "w", of_one_score(250, classes=6))
    network(world.reference, weights(2.5, classes=6))
    world.audit.write_text(world.audit.read_text().replace("[reference]", '[reference]\noutputs = "logits"'))
    absent = missing(examined(world, calibration=of_one_score(37, errors=0, classes=6)))
    assert absent[OF.format("reference")] == "no-temperature"


@pytest.mark.parametrize("strength", [0.0, 500.0])
def test_a_candidate_without_a_temperature_is_held_to_that_of_the_reference(tmp_path: Path, strength: float) -> None:
    world = softened(tmp_path / "w", candidate=strength)
    absent = missing(examined(world, calibration=Items(n=200, errors=40, seed=9)))
    assert {claim for claim, reason in absent.items() if reason is None} == {
        OF.format("reference"), *(rise for rise in RISES if "reference" in rise)
    }  # fmt: skip
    assert set(absent.values()) == {None, "no-temperature"}


@pytest.mark.parametrize(("n", "reason"), [(99, "too-few-items"), (100, None)])
def test_a_few_items_set_no_temperature(tmp_path: Path, n: int, reason: str | None) -> None:
    body = examined(softened(tmp_path / "w"), calibration=Items(n=n, errors=20, seed=9))
    assert set(missing(body).values()) == {reason}


def test_items_without_labels_set_no_temperature(tmp_path: Path) -> None:
    world = softened(tmp_path / "w")
    x, _ = Items(n=200, seed=9).arrays()
    np.savez(world.folder / "calibration.npz", x=x)
    world.audit.write_text(world.audit.read_text() + '\n[data.calibration]\npath = "calibration.npz"\n')
    body = examined(world)
    assert set(missing(body).values()) == {"no-labels"}
    assert found(body, "calibration.rejection_increase@coverage=90").missing is None


@pytest.mark.parametrize(("tested", "fitted"), [(50, 250), (250, 50)])
def test_probabilities_that_were_rounded_to_0_have_no_logits(tmp_path: Path, tested: int, fitted: int) -> None:
    """e^-118 is no float32: how far below the others its logit lies is lost."""
    world = softmaxed(World(tmp_path / "w", of_one_score(tested)), 120.0)
    absent = missing(examined(world, calibration=of_one_score(fitted)))
    temperature = None if fitted < tested else "saturated-outputs"
    assert [absent.pop(OF.format(role)) for role in PAIR] == [temperature] * 2
    assert set(absent.values()) == {"saturated-outputs"}


@pytest.mark.parametrize(("strength", "reason"), [(706.0, None), (710.0, "saturated-outputs")])
def test_logits_so_far_apart_that_no_probability_tells_them_have_no_temperature(
    tmp_path: Path, strength: float, reason: str | None
) -> None:
    """e^-710 is smaller than any float64 that has all its digits."""
    world = World(tmp_path / "w", of_one_score(250))
    network(world.candidate, weights(0.0, strength))
    absent = missing(examined(world, calibration=of_one_score(255, n=1000, errors=2)))
    assert absent[OF.format("reference")] is None
    assert absent[OF.format("candidate")] == reason


def test_outputs_that_are_no_numbers_have_no_temperature(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", candidate=float("nan"))
    absent = missing(examined(world, calibration=Items(n=200, errors=40, seed=9)))
    assert set(absent.values()) == {"non-finite"}


def test_of_comparisons_alone_there_is_no_temperature(tmp_path: Path) -> None:
    """Beyond the ledger's budget probabilities are not kept: a limit then blocks."""
    world = softened(tmp_path / "w")
    world.audit.write_text("ledger_budget = 0\n" + world.audit.read_text())
    absent = missing(examined(world, calibration=Items(n=200, errors=40, seed=9)))
    assert set(absent.values()) == {"not-kept"}


def test_a_broken_reference_is_no_measure_at_a_temperature(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", errors=392)
    limits = "".join(limit(f"calibration.{rise}", 0.9, "distance") for rise in RISES)
    body = examined(world, limits, calibration=Items(n=200, errors=40, seed=9))
    reasons = {rise: decided(body, f"calibration.{rise}").reason for rise in RISES}
    assert {reason for rise, reason in reasons.items() if rise.endswith("reference")} == {"reference-floor"}
    assert set(reasons.values()) <= {"reference-floor", "no-temperature"}


def test_a_temperature_that_blurs_everything_proves_nothing(tmp_path: Path) -> None:
    """Calibration items on which the reference is hardly better than guessing: at their T no candidate looks worse."""
    world = softened(tmp_path / "w", candidate=30 * STRENGTH)  # an over-sure candidate must not lift the floor
    limits = "".join(limit(f"calibration.{rise}", 0.5, "distance") for rise in RISES)
    body = examined(world, limits, calibration=Items(n=200, errors=146, seed=9))
    assert estimate(body, OF.format("reference")) == pytest.approx(closed_form(STRENGTH, 0.27))
    parts = [decided(body, f"calibration.{rise}") for rise in RISES if rise.endswith("reference")]
    assert {part.reason for part in parts} == {"reference-floor"}
    assert "mean confidence beyond guessing at its temperature, 2.67 %, is not proven to reach 40 %," in parts[0].detail


@dataclass(frozen=True)
class Others(Scores):
    """Scores in images that no test set has."""

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        x, y = super().arrays()
        x[:, 3] = np.random.default_rng(77).integers(0, 256, x[:, 3].shape)
        return x, y


def test_two_classes_blur_as_four_do(tmp_path: Path) -> None:
    """Of two, no answer is less sure than a half, which is no confidence."""
    test, hot = of_one_score(255, 400, 32, 2), of_one_score(255, 200, 96, 2)
    world = World(tmp_path / "w", test)
    for path, rows in ((world.reference, (2.5, 0.0)), (world.candidate, (0.0, 25.0))):
        network(path, weights(*rows, 2))
    limits = "".join(limit(f"calibration.{rise}", 0.1, "distance") for rise in RISES)
    calibration = Others(hot.labels, hot.reference, hot.candidate)
    body = examined(world, limits, calibration=calibration)
    assert estimate(body, OF.format("reference")) > 30
    reasons = {rise: decided(body, f"calibration.{rise}").reason for rise in RISES}
    assert {reason for rise, reason in reasons.items() if rise.endswith("reference")} == {"reference-floor"}
    assert set(reasons.values()) <= {"reference-floor", "no-temperature"}


def test_a_temperature_may_be_low(tmp_path: Path) -> None:
    body = examined(World(tmp_path / "w"), calibration=of_one_score(2, errors=2))
    assert COLDEST < estimate(body, OF.format("reference")) < 0.02


def test_it_shows_no_network_another_item() -> None:
    assert Calibration().ask(CALIBRATED).probes == (CLEAN, Clean(DataRole.CALIBRATION))


def test_without_calibration_items_no_temperature_is_promised() -> None:
    assert [claim.id.removeprefix("calibration.") for claim in PROMISED] == [
        *(f"{score}_increase@temperature={whose}" for whose in ("own", "reference") for score in ("brier", "log_loss")),
        *(OF.format(role) for role in PAIR),
    ]  # fmt: skip
    assert not [claim for claim in Calibration().ask(Context(("a", "b"))).claims if "temperature" in claim.id]


@pytest.mark.parametrize("name", sorted(policy.available()))
def test_no_built_in_policy_limits_a_temperature(name: str) -> None:
    """Nor does any of them mean another claim than it did: what it writes matches none of these."""
    patterns = [entry.pattern for entry in policy.read(name, Path()).file.criterion]
    assert not [claim for claim in PROMISED if any(pattern.matches(claim) for pattern in patterns)]
