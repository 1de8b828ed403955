"""Checks and probes of others that say what is not so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np
import pytest

from audit import console, plan, registry
from audit.asking import ask
from audit.contracts import Ask, Batch, Budget, Check, Condition, Context, LedgerView, Perturbed, Rng
from audit.digest import Json, of_json, of_sources
from audit.errors import AuditError
from audit.findings import Exact, Finding, Metric, Missing, PairedDifference
from audit.ledger import Ledger
from audit.types import Role, Scope, Sense
from checks.accuracy import DROP, Accuracy
from checks.functional import AGREEMENT, Functional
from checks.integrity import Integrity
from checks.noise import NoiseSimilarity
from checks.per_class import PerClass
from checks.perturbations.clean import Clean
from tests.attempts import body, edit, reason, use, verdict
from tests.plugins import Forging, Growing, House, asking
from tests.world import Items, World

# Checks


Lie = Callable[[Finding], Finding]


def lying(lie: Lie) -> Check:
    """The accuracy check, with another word about the drop."""

    def measure(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
        for finding in Accuracy.measure(self, context, ledger):
            yield lie(finding) if finding.claim.metric == DROP.name else finding

    found: Check = type("Lying", (Accuracy,), {"measure": measure})()
    return found


def says(statistic: Callable[[], object]) -> Lie:
    return lambda finding: replace(finding, statistic=statistic())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statistic", "reason"),
    [
        (lambda: Exact(float("nan"), 400), "check-crashed"),
        (lambda: Exact(0.0, 0), "check-crashed"),
        (lambda: PairedDifference(0, 0, 0), "check-crashed"),
        (lambda: None, "check-crashed"),
        (lambda: 0.0, "check-crashed"),
        (lambda: Missing("proven-within-limit", "so it says"), "proven-within-limit"),
    ],
    ids=["NaN", "of nothing", "a difference of nothing", "None", "a bare number", "a reason that sounds like a PASS"],
)
def test_a_statistic_that_is_none_decides_nothing(
    broken: World, monkeypatch: pytest.MonkeyPatch, statistic: Callable[[], object], reason: str
) -> None:
    use(monkeypatch, lying(says(statistic)), Functional(), Integrity())
    assert verdict(body(broken)) == ("NOT EVALUATED", reason)


def test_a_check_that_forgets_what_it_presupposes_excuses_no_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, lying(lambda finding: replace(finding, presupposes=())), Functional(), Integrity())
    found = body(World(tmp_path / "w", Items(errors=300)))
    assert {part.claim: part.verdict for part in found.decisions if part.required} == {
        **dict.fromkeys([c.claim for c in found.policy.criteria if c.standing], "PASS"),
        "reference.accuracy": "FAIL",
        "accuracy.drop": "PASS",
    }
    assert found.verdict.overall == "FAIL"


def redefining(**changes: object) -> Check:
    """The accuracy check with another entry for the drop in its catalogue."""
    metrics: tuple[Metric, ...] = tuple(
        replace(m, **changes) if m.name == DROP.name else m  # type: ignore[arg-type]
        for m in Accuracy.metrics
    )
    found: Check = type("Redefining", (Accuracy,), {"metrics": metrics})()
    return found


def test_a_metric_with_another_good_side_is_refused(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, redefining(better=Sense.AT_LEAST), Functional(), Integrity())
    with pytest.raises(AuditError, match="is limited by at_least"):
        body(broken)


def test_a_metric_that_a_second_check_redefines_is_refused(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = (*Functional.metrics, replace(DROP, high=9.0))
    more: Check = type("More", (Functional,), {"metrics": metrics, "ask": lambda self, context: Ask((), ())})()
    use(monkeypatch, Accuracy(), more, Integrity())
    with pytest.raises(AuditError, match="redefines the metric"):
        body(broken)


NOISE: Scope = (("level", "2/255"), ("noise", "uniform"))


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        ((NOISE,), "check 'house': level=2/255,noise=uniform is already shown by check 'noise'"),
        ((NOISE[::-1],), "check 'house': level=2/255,noise=uniform is already shown by check 'noise'"),
        (((("rain", "1"),),) * 2, "check 'house': rain=1 is already shown by check 'house'"),
        (((),), "check 'house' crashes when asked (ValueError: a condition without a scope"),
        (([],), "check 'house' crashes when asked"),
        ((None,), "check 'house' crashes when asked"),
    ],
    ids=["another's", "another's in another order", "twice", "that of clean items", "a list", "none"],
)
def test_a_check_that_shows_items_where_others_do_is_named(scopes: tuple[Scope, ...], said: str) -> None:
    def shows(self: Accuracy, context: Context) -> Iterator[Condition]:
        return (Condition(scope, House()) for scope in scopes)

    house: Check = type("Showing", (Accuracy,), {"name": "house", "metrics": (), "shows": shows, "ask": _nothing})()
    with pytest.raises(AuditError) as caught:
        ask([NoiseSimilarity(uniform=(2.0,), gaussian=()), PerClass(), house], Context(("a", "b")))
    assert said in caught.value.what
    assert caught.value.hint == "Mend or uninstall the package of that check."


def _nothing(self: Check, context: Context) -> Ask:
    return Ask((), ())


def entries(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Packages that announce checks which cannot be imported."""

    def load() -> object:
        raise ImportError("it wants another torch")

    patch.setattr(
        registry, "entry_points", lambda group: [SimpleNamespace(name=n, load=load, module="x") for n in names]
    )


def test_a_check_that_cannot_be_loaded_is_refused_and_not_left_out(
    broken: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(monkeypatch, "house")
    edit(broken.policy, '"integrity"]', '"integrity", "house"]')
    with pytest.raises(AuditError, match="check 'house' cannot be loaded"):
        body(broken)


@pytest.mark.parametrize("names", [("accuracy",), ("house", "house")])
def test_a_second_check_of_a_name_is_refused(
    broken: World, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    entries(monkeypatch, *names)
    with pytest.raises(AuditError, match="two packages bring a check"):
        body(broken)


# Probes


def test_a_probe_that_writes_into_its_batch_changes_nobody_elses(
    broken: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, asking(Forging()), Accuracy(), Integrity())
    assert verdict(body(broken)) == ("FAIL", "proven-beyond-limit")


def test_a_probe_cannot_change_its_number_of_draws(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), asking(Growing()), Integrity())
    found = next(finding for finding in body(world).findings if finding.claim == AGREEMENT.name)
    assert found.n == 400 and found.statistic["kind"] == "proportion"


class Locked(House):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()


def test_a_probe_that_cannot_be_copied_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), asking(Locked()), Integrity())
    world.require("functional.negative_flips", 5.0, "%")
    assert verdict(body(world)) == ("NOT EVALUATED", "probe-crashed")


class Nameless(House):
    """Cannot say which random numbers it wants."""

    def stream(self) -> dict[str, Json]:
        raise ZeroDivisionError("of the plugin")


def test_a_probe_that_cannot_say_what_it_is_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), asking(Nameless()), Integrity())
    with pytest.raises(AuditError, match="check 'functional' crashes when asked"):
        body(world)


class Shifted(House):
    """Promises to change nothing, and moves one item of the first batch; then it crashes."""

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        if batch.start:
            raise ZeroDivisionError("of the plugin")
        x = batch.x.clone()
        x[0] = 1 - x[0]
        return Perturbed(x, {})


def test_a_probe_fails_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second reason at the chunk's end would give a resumed audit another certificate than an unbroken one."""
    use(monkeypatch, Accuracy(), asking(Shifted()), Integrity())
    world.require("functional.negative_flips", 5.0, "%")
    assert verdict(body(world)) == ("NOT EVALUATED", "probe-crashed")
    assert (world.out / "ledger" / "manifest.jsonl").read_text().count('"failed"') == 1


NARROW = Budget("linf", 0.01)


@dataclass
class Loosening(House):
    """Widens its own budget before it goes beyond it."""

    budget: Budget | None = NARROW  # type: ignore[assignment]
    min_effect: float = 0.99

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        self.budget = Budget("linf", 1.0)
        self.min_effect = 0.0
        return Perturbed(1 - batch.x, {})


def test_a_probe_cannot_widen_its_budget(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), asking(Loosening()), Integrity())
    world.require("functional.negative_flips", 5.0, "%")
    assert verdict(body(world)) == ("NOT EVALUATED", "budget-exceeded")


@pytest.mark.parametrize("share", [0.01, 0.89, 1.5, float("nan")])
def test_a_probe_that_promises_to_change_few_items_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    use(monkeypatch, Accuracy(), asking(House(min_effect=share)), Integrity())
    with pytest.raises(AuditError, match="promises to change"):
        body(world)


def test_an_unchanged_probe_may_draw_its_items_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, asking(House(draws=2)), Accuracy(), Integrity())
    assert body(world).verdict.overall == "PASS"


def test_the_name_of_a_probe_is_text_whatever_it_looks_like(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as report:
        report("[/] [bold green]PASS", 1, 1)
    assert "[/] [bold green]PASS: 1 of 1 forward passes" in capsys.readouterr().err


class Pointing(House):
    """Keeps a column that is a view of what it was handed."""

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return Perturbed(batch.x, {"corner": batch.x[:, 0, 2, 0].numpy()})


def test_a_column_holds_the_values_of_its_own_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Pointing()
    use(monkeypatch, Accuracy(), asking(probe), Integrity())
    body(world)
    fixed = plan.load(world.out)
    record = fixed.probe(of_json(probe.canonical()))
    columns = Ledger(world.out / "ledger").gather(fixed.keys(Role.CANDIDATE, record))
    assert np.array_equal(columns["corner"], world.items.arrays()[0][:, 2, 0, 0].astype(np.float32) / 255)


def test_a_clean_probe_that_fails_leaves_the_noise_of_the_runtime_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clean, "perturb", Shifted.perturb)
    found = body(world)
    assert found.verdict.overall == "NOT EVALUATED"
    assert reason(found) == "probe-crashed"


def test_a_package_without_a_file_of_its_own_is_digested_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_checks").mkdir()
    code = tmp_path / "house_checks" / "check.py"
    code.write_text("LEVEL = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [SimpleNamespace(name="h", module="house_checks.check")]
    )
    before = of_sources(registry.sources())
    code.write_text("LEVEL = 2\n")
    assert of_sources(registry.sources()) != before


def test_a_package_whose_code_cannot_be_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [SimpleNamespace(name="h", module="sys")])
    with pytest.raises(AuditError, match="its code cannot be found"):
        registry.sources()
