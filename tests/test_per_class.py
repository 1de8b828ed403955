"""The check on single classes: tables counted by hand, and networks that forget one class."""

from pathlib import Path

import numpy as np
import pytest

import audit
from audit import asking, evidence
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.findings import Exact, Missing, PairedDifference, Proportion
from audit.portion import Portion
from audit.tasks.classification import Classification
from audit.traces import ALONE, ANY, Side, Trace
from audit.types import OutputKind, Role, TaskKind
from checks.confusion import ByClass, confusion_matrix
from checks.noise import NoiseSimilarity
from checks.per_class import CELLS, MANY, PerClass
from tests.world import CRITERION, SIDE, Items, Scores, World, network, weights

#            0  0  0  0  1  1  1  2  2  2     labels
REFERENCE = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
CANDIDATE = [0, 0, 2, 1, 1, 0, 1, 2, 2, 0]
LABELS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
NAMES = ("stop", "yield", "other")


def trace(
    labels: list[int], reference: list[int], candidate: list[int], also: tuple[int, int] = (ALONE, ALONE)
) -> Trace:
    """A trace of these names; `also` is what a near tie of the last item could be named by either."""
    label, first, second = (np.asarray(each, np.int32) for each in (labels, reference, candidate))
    right = [first == label, second == label]
    columns = {
        "label": label, "named_reference": first, "named_candidate": second, "right_reference": right[0],
        "right_candidate": right[1], "lost": right[0] & ~right[1], "won": ~right[0] & right[1],
    }  # fmt: skip
    for role, other in zip(("reference", "candidate"), also, strict=True):
        columns[f"also_{role}"] = np.full(len(label), ALONE, np.int32)
        columns[f"also_{role}"][-1] = other
    return Trace(columns)


def by_class(also: tuple[int, int] = (ALONE, ALONE)) -> ByClass:
    own = trace(LABELS, REFERENCE, CANDIDATE, also)
    return ByClass(own, own, NAMES)


def test_a_table_by_hand() -> None:
    view = by_class()
    assert [view.recall(0, role) for role in (Role.REFERENCE, Role.CANDIDATE)] == [Proportion(3, 4), Proportion(2, 4)]
    assert view.recall_drop(0) == PairedDifference(1, 0, 4)
    assert view.recall_drop(1) == PairedDifference(1, 1, 3)
    assert view.recall_drop(2) == PairedDifference(1, 0, 3)
    # Named "stop": by the reference items 0, 1, 2, by the candidate items 0, 1, 5, 9.
    assert view.precision(0, Role.REFERENCE) == Proportion(3, 3)
    assert view.precision(0, Role.CANDIDATE) == Proportion(2, 4)
    assert view.precision_drop(0) == Exact(0.5, 10)
    assert view.false_naming_increase(0) == PairedDifference(2, 0, 6)
    # Of "yield" or not: the reference errs on items 3 and 6, the candidate on items 3 and 5.
    assert view.accuracy(1, Role.REFERENCE) == Proportion(8, 10)
    assert view.accuracy(1, Role.CANDIDATE) == Proportion(8, 10)
    assert view.accuracy_drop(1) == PairedDifference(1, 1, 10)
    assert (view.negative_flips(1), view.positive_flips(1)) == (Proportion(1, 3), Proportion(1, 3))
    assert view.confusion(1, 0) == Proportion(1, 3)
    assert view.confusion_increase(1, 2) == PairedDifference(0, 1, 3)
    assert view.worst_recall_drop() == Exact(1 / 3, 10)


def test_the_matrices_and_their_distance_by_hand() -> None:
    view = by_class()
    assert confusion_matrix(view.trace, Role.REFERENCE, 3).tolist() == [[3, 1, 0], [0, 2, 1], [0, 0, 3]]
    assert confusion_matrix(view.trace, Role.CANDIDATE, 3).tolist() == [[2, 1, 1], [1, 2, 0], [1, 0, 2]]
    assert view.distance() == Exact(6 / 20, 10)


def test_a_copy_is_exactly_nothing_everywhere() -> None:
    own = trace(LABELS, REFERENCE, REFERENCE)
    view = ByClass(own, own, NAMES)
    for number in range(3):
        changes = (view.recall_drop, view.accuracy_drop, view.precision_drop, view.false_naming_increase)
        assert [change(number).estimate for change in changes] == [0, 0, 0, 0]
        assert view.negative_flips(number).estimate == view.positive_flips(number).estimate == 0
    assert view.distance().value == view.worst_recall_drop().value == 0


def test_near_ties_count_against_the_candidate() -> None:
    # The last item, "other": the reference, which is right, could name it "yield", the candidate "yield" too.
    view = by_class(also=(1, 1))
    assert by_class().confusion(2, 1) == Proportion(0, 3)
    assert view.confusion(2, 1) == Proportion(1, 3)
    assert view.confusion_increase(2, 1) == PairedDifference(1, 0, 3)
    assert view.false_naming_increase(1) == PairedDifference(1, 0, 7)
    assert by_class().false_naming_increase(1) == PairedDifference(0, 0, 7)


def test_a_near_tie_on_an_item_of_the_class_counts_as_not_naming_it() -> None:
    # Both name the last item, "yield", so; rounding could make either name it "stop".
    own = trace([0, 0, 1], [0, 0, 1], [0, 0, 1], also=(0, 0))
    own.columns["right_candidate"][-1] = False  # as the worst rank says where ties count
    view = ByClass(own, own, NAMES)
    assert view.accuracy_drop(1) == PairedDifference(1, 0, 3)
    assert isinstance(view.precision(1, Role.CANDIDATE), Missing)
    assert view.precision(1, Role.REFERENCE) == Proportion(1, 1)


def test_of_several_classes_that_rounding_could_put_first_it_could_be_any() -> None:
    view = by_class(also=(ALONE, ANY))
    assert [view.confusion(2, other) for other in (0, 1)] == [Proportion(1, 3), Proportion(1, 3)]
    task, labels = Classification(), np.zeros(3, np.int64)
    out = np.asarray([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], np.float32)
    side = Side({"output": out}, OutputKind.LOGITS, 1e-6)
    assert task.compare(labels, side, side, adverse=True)["also_candidate"].tolist() == [-2, 1, -1]
    assert task.compare(labels, side, side)["also_candidate"].tolist() == [-1, -1, -1]


def test_what_has_no_items_is_missing_by_name() -> None:
    own = trace([0, 0, 1], [0, 0, 1], [0, 0, 1])
    view = ByClass(own, own, NAMES)
    for found in (view.recall_drop(2), view.recall(2, Role.CANDIDATE), view.negative_flips(2), view.confusion(2, 0)):
        assert isinstance(found, Missing)
        assert (found.reason, "'other'" in found.detail) == ("empty-class", True)
    assert isinstance(found := view.precision(2, Role.CANDIDATE), Missing)
    assert found.reason == "never-named"
    assert isinstance(view.precision_drop(2), Missing)
    assert isinstance(view.worst_recall_drop(), Missing)
    alone = trace([0, 0], [0, 0], [0, 0])
    assert isinstance(ByClass(alone, alone, ("stop",)).false_naming_increase(0), Missing)


SIGNS = ("stop", "yield", "speed", "other")


def looked(world: World, criteria: str, settings: str = "", checks: str = "per_class") -> Body:
    """The audit by class."""
    named = "".join(f', "{name}"' for name in checks.split())
    text = world.policy.read_text().replace('"integrity"]', f'"integrity"{named}]')
    rules, at, rest = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + settings + at + rest + criteria)
    return audit.run(world.audit, pdf=False).evidence.body


def limit(claim: str, at_most: float = 10.0, unit: str = "points", more: str = "") -> str:
    return CRITERION.format(claim=claim, limit=at_most, unit=unit) + more


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(decision for decision in body.decisions if decision.claim == claim)


def forgetful(world: World, *, rare: int = 60, forgotten: int = 30) -> None:
    """A rare class of which the candidate names some items otherwise, among 4,000 others that nobody misses."""
    labels = np.concatenate([np.full(rare, 3), np.arange(4_000) % 3])
    own = np.zeros((len(labels), 4), np.int64)
    own[np.arange(len(labels)), labels] = 200
    other = own.copy()
    other[:forgotten] = [0, 200, 0, 0]
    scores = Scores(labels, own, other)
    x, y = scores.arrays()
    np.savez(world.data, x=x, y=y, classes=np.asarray(SIGNS))
    for path, own in zip((world.reference, world.candidate), scores.networks(), strict=True):
        network(path, own)


def test_a_forgotten_class_fails_by_its_name_and_no_average_shows_it(world: World) -> None:
    forgetful(world)
    body = looked(world, limit("per_class.recall_drop@class=*"))
    assert decided(body, "accuracy.drop").verdict == "PASS"
    verdicts = {part.claim: part.verdict for part in body.decisions if part.claim.startswith("per_class")}
    assert verdicts.pop("per_class.recall_drop@class=other") == "FAIL"
    assert set(verdicts.values()) == {"PASS"}
    assert (len(verdicts), body.verdict.overall) == (3, "FAIL")
    assert found(body, "per_class.worst_recall_drop").estimate == 50
    assert found(body, "per_class.confusion_increase@class=other,named=yield").statistic == {
        "kind": "paired-difference", "b": 30, "c": 0, "n": 60,
    }  # fmt: skip


def test_critical_classes_and_confusions_have_limits_of_their_own(world: World) -> None:
    forgetful(world, rare=600, forgotten=30)
    lists = '\n[lists]\ncritical = ["other"]\n'
    named = '\n[settings.per_class]\nconfusions = [["other", "yield"], ["stop", "speed"]]\n'
    criteria = (
        limit("per_class.recall_drop@class=*") + limit("per_class.negative_flips@class=$critical", 1.0, "%")
        + limit("per_class.confusion@class=other,named=yield", 1.0, "%")
        + limit("per_class.confusion@class=stop,named=speed", 1.0, "%")
    )  # fmt: skip
    body = looked(world, criteria, lists + named)
    verdicts = {part.claim.removeprefix("per_class."): part.verdict for part in body.decisions}
    assert verdicts["recall_drop@class=other"] == "PASS"
    assert verdicts["negative_flips@class=other"] == "FAIL"
    assert verdicts["confusion@class=other,named=yield"] == "FAIL"
    assert verdicts["confusion@class=stop,named=speed"] == "PASS"


def test_a_class_that_the_reference_never_finds_is_lost_by_nobody_and_proves_nothing(world: World) -> None:
    labels = np.arange(4_000) % 4
    own = np.zeros((len(labels), 4), np.int64)
    own[np.arange(len(labels)), np.where(labels == 3, 0, labels)] = 200
    scores = Scores(labels, own, own)
    scores.save(world.data)
    for path, own in zip((world.reference, world.candidate), scores.networks(), strict=True):
        network(path, own)
    part = decided(looked(world, limit("per_class.recall_drop@class=*")), "per_class.recall_drop@class=3")
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "reference-floor")
    assert "recall of class '3', 0.00 %" in part.detail


def test_a_class_without_items_blocks_by_name(world: World) -> None:
    x, y = Items().arrays()
    np.savez(world.data, x=x[y < 3], y=y[y < 3], classes=np.asarray(SIGNS))
    body = looked(world, limit("per_class.recall_drop@class=*"))
    part = decided(body, "per_class.recall_drop@class=other")
    assert (part.verdict, part.reason, "'other'" in part.detail) == ("NOT EVALUATED", "empty-class", True)
    assert body.verdict.overall == "NOT EVALUATED"


def test_under_conditions_that_others_show_and_without_a_pass_more(tmp_path: Path) -> None:
    settings = "\n[settings.noise]\nuniform = [2, 8]\ngaussian = []\n"
    records = {}
    for checks in ("noise", "noise per_class"):
        world = World(tmp_path / checks)
        looked(world, "", settings, checks)
        records[checks] = evidence.load(world.out / "evidence.json")
    without, record = records.values()
    assert record.run.passes == without.run.passes == {"reference": 1200, "candidate": 1200}
    assert record.body.plan.probes == without.body.plan.probes
    drops = [finding for finding in record.body.findings if finding.claim.startswith("per_class.recall_drop@")]
    assert {finding.claim for finding in drops if "level=8/255,noise=uniform" in finding.claim} == {
        f"per_class.recall_drop@class={name},level=8/255,noise=uniform" for name in SIGNS
    }
    assert len(drops) == 3 * len(SIGNS)
    assert all(finding.missing is None and finding.estimate == 0 for finding in drops)


@pytest.mark.parametrize("more", ["", "only_where_reference_holds = true\n"])
@pytest.mark.parametrize("metric", ["recall_drop", "false_naming_increase", "negative_flips"])
def test_networks_that_noise_drives_to_one_class_keep_no_limit_there(world: World, metric: str, more: str) -> None:
    drawn = np.zeros((3, SIDE, SIDE, 4), np.float32)
    drawn[2, -1, :, 0] = 2000.0  # pixels that are black but for noise
    x, y = world.items.arrays()
    x[:, -1, :, 2] = 0
    np.savez(world.data, x=x, y=y, classes=np.asarray(SIGNS))
    for path in (world.reference, world.candidate):
        network(path, weights() + drawn.reshape(-1, 4))
    unit = "%" if metric == "negative_flips" else "points"
    criterion = limit(f"per_class.{metric}@class=*,level=8/255,noise=uniform", 20.0, unit, more)
    body = looked(world, criterion, "\n[settings.noise]\nuniform = [8]\ngaussian = []\n", "noise per_class")
    parts = [part for part in body.decisions if part.claim.startswith("per_class")]
    assert {(part.verdict, part.reason) for part in parts} == {("NOT EVALUATED", "reference-floor")}
    assert body.verdict.overall == "NOT EVALUATED"


def test_what_is_left_out_of_a_partial_run_is_missing_where_it_was_promised(world: World) -> None:
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "noise", "per_class"]')
    world.policy.write_text(text + limit("per_class.recall_drop@class=*,level=8/255,noise=uniform"))
    body = audit.run(world.audit, portion=Portion(skip=("noise",)), pdf=False).evidence.body
    assert [probe.name for probe in body.plan.probes] == ["clean"]
    part = decided(body, "per_class.recall_drop@class=stop,level=8/255,noise=uniform")
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "skipped")
    assert found(body, "per_class.recall_drop@class=stop").missing is None


def test_names_with_signs_of_their_own_stay_claims_of_their_own(world: World) -> None:
    x, y = Items().arrays()
    names = ("stop, all ways", "a=b", "*", "100 %")
    np.savez(world.data, x=x, y=y, classes=np.asarray(names))
    body = looked(world, limit("per_class.recall_drop@class=%2A", 20.0))
    claims = {finding.claim for finding in body.findings if finding.claim.startswith("per_class.recall_drop@")}
    assert claims == {f"per_class.recall_drop@class={name}" for name in ("stop%2C all ways", "a%3Db", "%2A", "100 %25")}
    assert decided(body, "per_class.recall_drop@class=%2A").verdict == "PASS"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('classes = ["stop", "stop"]', "names something twice"),
        ('confusions = [["stop", "stop"]]', "is not taken for itself"),
        ('classes = ["stoop"]', "there is no class 'stoop'"),
        ('confusions = [["stop", "yeld"]]', "there is no class 'yeld'"),
        ('confusions = [["stop"]]', "confusions"),
    ],
)
def test_settings_that_mean_nothing_are_refused(world: World, settings: str, said: str) -> None:
    with pytest.raises(AuditError, match=said):
        looked(world, "", f"\n[settings.per_class]\n{settings}\n")


def test_of_very_many_classes_only_some_are_looked_at_one_by_one() -> None:
    context = Context(tuple(map(str, range(MANY + 1))))
    noisy = asking.ask([NoiseSimilarity(uniform=(2.0,), gaussian=()), PerClass()], context).claims
    under = [claim for claim in noisy if claim.metric == "per_class.recall_drop" and "noise" in dict(claim.scope)]
    clean = [claim for claim in noisy if claim.metric == "per_class.recall_drop" and "noise" not in dict(claim.scope)]
    assert (len(under), len(clean)) == (0, MANY + 1)
    assert not [claim for claim in noisy if claim.metric == "per_class.confusion_increase"]
    some = asking.ask([NoiseSimilarity(uniform=(2.0,), gaussian=()), PerClass(classes=("7",))], context).claims
    assert len([claim for claim in some if claim.metric == "per_class.recall_drop"]) == 2
    few = PerClass().ask(Context(tuple(map(str, range(CELLS))))).claims
    assert len([claim for claim in few if claim.metric == "per_class.confusion_increase"]) == CELLS * (CELLS - 1)


@pytest.mark.parametrize("task", [TaskKind.REGRESSION, TaskKind.SEGMENTATION, TaskKind.CONTROL])
def test_of_other_tasks_nothing_is_promised(task: TaskKind, tmp_path: Path) -> None:
    assert PerClass().ask(Context(("a", "b"), task=task)).claims == ()


def test_a_class_without_a_name_is_refused(world: World) -> None:
    x, y = Items().arrays()
    np.savez(world.data, x=x, y=y, classes=np.asarray(["stop", "", "speed", "other"]))
    with pytest.raises(AuditError, match="class 1 has an empty name"):
        looked(world, limit("per_class.recall_drop@class=*"))


def test_a_near_tie_that_only_a_rounded_gap_shows_could_be_any_class() -> None:
    rng = np.random.default_rng(0)
    out = (rng.normal(size=(4_000, 3)) * 30).astype(np.float32)
    rows, first = np.arange(len(out)), out.argmax(axis=1)
    out[rows, (first + 2) % 3] = -120
    noise = 5.1
    reach = 2 * (noise + 4 * np.finfo(np.float32).eps * np.abs(out).max(axis=1).astype(np.float64))
    out[rows, (first + 1) % 3] = (out.max(axis=1) - reach).astype(np.float32)
    side = Side({"output": out}, OutputKind.LOGITS, noise)
    near, _ = Classification().near_ties(out, noise)
    also = Classification().compare(np.zeros(len(out), np.int64), side, side, adverse=True)["also_candidate"]
    assert near.sum() > 1_000
    assert (np.isin(also, [ANY, *range(3)]) == near).all()
    assert ((also == ANY) | (also == (first + 1) % 3))[near].all()
