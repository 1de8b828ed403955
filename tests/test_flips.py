"""The check on single decisions that turned."""

import numpy as np
import pytest

import audit
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body, FindingRecord
from audit.types import TaskKind
from checks.flips import Flips
from tests.world import Scores, World, network

N = 1_000


def turned(*, sure: int = 3, unsure: int = 2, won: int = 4, both_wrong: int = 1) -> Scores:
    """Items of four classes: the reference is sure of all (200 against 0) but the first `unsure` (20 against 0).

    The candidate loses those and `sure` others, wins `won` and names `both_wrong` items by another wrong name.
    """
    labels = np.arange(N) % 4
    own, other = (np.zeros((N, 4), np.int64) for _ in range(2))
    rows = np.arange(N)
    own[rows, labels] = 200
    own[:unsure] = own[:unsure] // 10
    other[:] = own
    lost = rows[: unsure + sure]
    other[lost, labels[lost]], other[lost, (labels[lost] + 1) % 4] = 0, 150
    gained = rows[100 : 100 + won]
    own[gained] = 0
    own[gained, (labels[gained] + 1) % 4] = 100
    neither = rows[200 : 200 + both_wrong]
    own[neither], other[neither] = 0, 0
    own[neither, (labels[neither] + 1) % 4] = other[neither, (labels[neither] + 2) % 4] = 100
    return Scores(labels, own, other)


def looked(world: World, settings: str = "", checks: str = '"flips"') -> Body:
    text = world.policy.read_text().replace('"integrity"]', f'"integrity", {checks}]')
    rules, at, rest = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + settings + at + rest)
    return audit.run(world.audit, pdf=False).evidence.body


def of(world: World, scores: Scores) -> World:
    """The world with these scores."""
    scores.save(world.data)
    for path, weights in zip((world.reference, world.candidate), scores.networks(), strict=True):
        network(path, weights)
    return world


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def test_lost_items_are_hard_ones_or_new_damage(world: World) -> None:
    body = looked(of(world, turned(sure=3, unsure=2)))
    assert found(body, "flips.new_damage@margin=50").statistic == {"kind": "proportion", "k": 3, "n": N}
    assert found(body, "flips.hard@margin=50").statistic == {"kind": "proportion", "k": 2, "n": N}
    assert found(body, "functional.negative_flips").statistic == {"kind": "proportion", "k": 5, "n": N}


def test_the_bound_between_them_is_the_policys(world: World) -> None:
    # 20 of 255 is a logit of 0.78 against three of 0: 0.42 against 0.19 each.
    body = looked(of(world, turned()), "\n[settings.flips]\nsure = [0.2, 0.25]\n")
    assert found(body, "flips.new_damage@margin=20").statistic["k"] == 5
    assert found(body, "flips.new_damage@margin=25").statistic["k"] == 3


def test_how_hard_they_were_is_the_auroc_of_the_margins(world: World) -> None:
    # 5 lost items: 2 lie below all 990 kept ones, 3 are level with them. (Of the others 4 are won and 1 is nobody's.)
    body = looked(of(world, turned(sure=3, unsure=2)))
    assert found(body, "flips.hardness").estimate == pytest.approx(100 * (2 + 3 * 0.5) / 5)


def test_where_nothing_is_lost_there_is_no_hardness(world: World) -> None:
    body = looked(of(world, turned(sure=0, unsure=0, won=0, both_wrong=0)))
    assert found(body, "flips.hardness").missing == "nothing-lost"
    assert found(body, "flips.exemplars").estimate == 0
    assert found(body, "flips.exemplars").exemplars == ()
    assert found(body, "flips.new_damage@margin=50").estimate == 0


def test_which_they_were_lost_and_sure_ones_first(world: World) -> None:
    record = found(looked(of(world, turned(sure=3, unsure=2, won=4, both_wrong=1))), "flips.exemplars")
    assert record.estimate == len(record.exemplars) == 10
    assert [each.place for each in record.exemplars] == [2, 3, 4, 0, 1, 100, 101, 102, 103, 200]
    first = record.exemplars[0]
    assert (first.label, first.reference, first.candidate) == ("2", "2", "3")
    assert first.sure_reference == pytest.approx(np.exp(200 / 25.5) / (np.exp(200 / 25.5) + 3), abs=1e-4)


def test_an_exemplar_is_named_by_its_digest(world: World) -> None:
    from audit.data.npz import NpzSource

    record = found(looked(of(world, turned())), "flips.exemplars")
    ids = NpzSource(world.data).manifest.ids
    assert [each.id for each in record.exemplars] == [ids[each.place].tobytes().hex() for each in record.exemplars]


def test_only_the_first_are_listed_and_all_are_counted(world: World) -> None:
    record = found(looked(of(world, turned()), "\n[settings.flips]\nlisted = 2\n"), "flips.exemplars")
    assert (record.estimate, [each.place for each in record.exemplars]) == (10, [2, 3])


def test_flips_under_conditions_are_counted_where_others_show_them(world: World) -> None:
    settings = "\n[settings.noise]\nuniform = [2]\ngaussian = []\n"
    body = looked(of(world, turned()), settings, '"noise", "flips"')
    assert [probe.name for probe in body.plan.probes] == ["clean", "uniform noise 2/255"]
    clean = found(body, "functional.negative_flips").statistic
    assert found(body, "functional.negative_flips@level=2/255,noise=uniform").statistic == clean


def test_a_copy_turns_nothing_and_judging_again_tells_the_same(world: World) -> None:
    scores = turned()
    scores.save(world.data)
    for path in (world.reference, world.candidate):
        network(path, scores.networks()[0])
    body = looked(world)
    values = {finding.claim: finding.estimate for finding in body.findings if finding.claim.startswith("flips.")}
    assert values == {
        "flips.new_damage@margin=50": 0, "flips.hard@margin=50": 0, "flips.hardness": None, "flips.exemplars": 0,
    }  # fmt: skip
    assert audit.judge(world.out, pdf=False).evidence.body == body


def test_beyond_the_ledgers_budget_the_same_are_named(world: World) -> None:
    of(world, turned())
    whole = looked(world, "\n[settings.noise]\nuniform = [2]\ngaussian = []\n", '"noise", "flips"')
    world.audit.write_text("ledger_budget = 0\n" + world.audit.read_text().replace('out = "out"', 'out = "small"'))
    small = audit.run(world.audit, pdf=False).evidence.body
    assert [probe.kept for probe in small.plan.probes] == ["outputs", "comparisons"]
    for claim in ("flips.exemplars", "functional.negative_flips@level=2/255,noise=uniform"):
        assert found(small, claim) == found(whole, claim)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("sure = []", "sure"),
        ("sure = [1.0]", "sure"),
        ("sure = [0.5, 0.5]", "must differ"),
        ("listed = -1", "listed"),
    ],
)
def test_settings_that_mean_nothing_are_refused(world: World, settings: str, said: str) -> None:
    with pytest.raises(AuditError, match=said):
        looked(world, f"\n[settings.flips]\n{settings}\n")


def test_of_other_tasks_nothing_is_promised() -> None:
    assert Flips().ask(Context((), task=TaskKind.REGRESSION)).claims == ()
