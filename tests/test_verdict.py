"""The decision rule: which verdict, why, and with what probability of being wrong."""

import math
from dataclasses import replace

import pytest

from audit.findings import (
    BoundedMean,
    Exact,
    Finding,
    Missing,
    OrderStatistic,
    PairedDifference,
    Presupposition,
    Proportion,
    Statistic,
)
from audit.stats import paired, proportions
from audit.types import Claim, Criterion, Policy, Sense, Verdict
from audit.verdict import bounds, decide, exit_code, p_values

DROP = Claim("accuracy.drop")
PASS = frozenset({Verdict.PASS})


def policy(*criteria: Criterion, alpha: float = 0.05, floor: float = 0.7) -> Policy:
    return Policy("test", alpha, PASS, floor, criteria)


def at_most(claim: Claim, limit: float, *, required: bool = True, standing: bool = False) -> Criterion:
    return Criterion(claim, Sense.AT_MOST, limit, required=required, standing=standing)


def claims(count: int) -> list[Claim]:
    return [Claim("m", (("cell", f"{i:03}"),)) for i in range(count)]


@pytest.mark.parametrize(
    ("statistic", "verdict"),
    [
        (PairedDifference(40, 30, 10_000), Verdict.PASS),
        (PairedDifference(10, 0, 1_000), Verdict.CONDITIONAL_PASS),
        (PairedDifference(12, 1, 1_000), Verdict.CONDITIONAL_FAIL),
        (PairedDifference(60, 5, 1_000), Verdict.FAIL),
        (Missing("non-finite", "3 items"), Verdict.NOT_EVALUATED),
    ],
)
def test_five_verdicts(statistic: Statistic | Missing, verdict: Verdict) -> None:
    decisions = decide(policy(at_most(DROP, 0.01)), {DROP: Finding(DROP, statistic)})
    assert decisions.overall is verdict


def test_what_was_not_measured_blocks() -> None:
    decisions = decide(policy(at_most(DROP, 0.01)), {})
    assert (decisions.overall, decisions.reason) == (Verdict.NOT_EVALUATED, "not-planned")


def test_no_required_criterion_is_no_verdict() -> None:
    good = {DROP: Finding(DROP, PairedDifference(0, 0, 100_000))}
    for criteria in ((), (at_most(DROP, 0.01, required=False),), (at_most(DROP, 0.01, standing=True),)):
        decisions = decide(policy(*criteria), good)
        assert (decisions.overall, decisions.reason) == (Verdict.NOT_EVALUATED, "no-required-criterion")


def test_overall_is_the_worst_required_verdict() -> None:
    first, second, third = claims(3)
    findings = {
        first: Finding(first, Proportion(0, 10_000)),
        second: Finding(second, Missing("x", "y")),
        third: Finding(third, Proportion(9_000, 10_000)),
    }
    both = policy(at_most(first, 0.01), at_most(second, 0.01))
    assert decide(both, findings).overall is Verdict.NOT_EVALUATED
    assert decide(policy(at_most(first, 0.01), at_most(third, 0.01)), findings).overall is Verdict.FAIL
    advisory = policy(at_most(first, 0.01), at_most(third, 0.01, required=False))
    assert decide(advisory, findings).overall is Verdict.PASS


def test_fail_is_claimed_after_holm_and_pass_without_it() -> None:
    # p_fail of one cell is between α/20 and α: alone it FAILs, among twenty equals it does not.
    statistic = Proportion(29, 1_000)
    assert 0.05 / 20 < proportions.p_at_least(29, 1_000, 0.02) < 0.05
    cells = claims(20)
    findings = {cell: Finding(cell, statistic) for cell in cells}
    alone = decide(policy(at_most(cells[0], 0.02)), findings)
    together = decide(policy(*(at_most(cell, 0.02) for cell in cells)), findings)
    assert alone.overall is Verdict.FAIL
    assert together.overall is Verdict.CONDITIONAL_FAIL
    passing = {cell: Finding(cell, Proportion(10, 1_000)) for cell in cells}
    assert decide(policy(*(at_most(cell, 0.02) for cell in cells)), passing).overall is Verdict.PASS


def test_advisory_criteria_are_settled_in_a_family_of_their_own() -> None:
    # Each of the equal p-values is between α/20 and α: alone in its family it FAILs, among twenty it does not.
    statistic = Proportion(29, 1_000)
    p = proportions.p_at_least(29, 1_000, 0.02)
    cells = claims(21)
    findings = {cell: Finding(cell, statistic) for cell in cells}
    decisions = decide(
        policy(at_most(cells[0], 0.02), *(at_most(cell, 0.02, required=False) for cell in cells[1:])), findings
    )
    required, *advisory = decisions.parts
    assert (required.verdict, required.p_fail_holm) == (Verdict.FAIL, pytest.approx(p))
    for part in advisory:
        assert (part.verdict, part.reason) == (Verdict.CONDITIONAL_FAIL, "beyond-limit-not-proven")
        assert part.p_fail_holm == pytest.approx(20 * p)
    turned = decide(
        policy(*(at_most(cell, 0.02) for cell in cells[1:]), at_most(cells[0], 0.02, required=False)), findings
    )
    *required_parts, alone = turned.parts
    assert (alone.verdict, alone.p_fail_holm) == (Verdict.FAIL, pytest.approx(p))
    assert turned.overall is Verdict.CONDITIONAL_FAIL
    for part in required_parts:
        assert part.p_fail_holm == pytest.approx(20 * p)


@pytest.mark.parametrize(
    ("statistic", "verdict"),
    [
        (Proportion(0, 10_000), Verdict.PASS),
        (Proportion(0, 100), Verdict.CONDITIONAL_PASS),
        (Proportion(3, 100), Verdict.CONDITIONAL_FAIL),
        (Proportion(900, 1_000), Verdict.FAIL),
        (Missing("non-finite", "3 items"), Verdict.NOT_EVALUATED),
    ],
)
def test_an_advisory_criterion_has_a_verdict_and_no_say(statistic: Statistic | Missing, verdict: Verdict) -> None:
    first, second = claims(2)
    findings = {first: Finding(first, Proportion(0, 10_000)), second: Finding(second, statistic)}
    decisions = decide(policy(at_most(first, 0.01), at_most(second, 0.01, required=False)), findings)
    assert decisions.parts[1].verdict is verdict
    assert decisions.overall is Verdict.PASS


def test_exact_values_do_not_weaken_holm() -> None:
    # A kept exact criterion must not enter the family with a p of 0.
    exact, cell = claims(2)
    findings = {exact: Finding(exact, Exact(0.0, 10)), cell: Finding(cell, Proportion(29, 1_000))}
    parts = decide(policy(at_most(exact, 0.0), at_most(cell, 0.02)), findings).parts
    assert parts[0].verdict is Verdict.PASS
    assert parts[1].p_fail is not None
    assert parts[1].p_fail_holm == pytest.approx(2 * parts[1].p_fail)


def test_reference_floor_is_a_proven_bound() -> None:
    criterion = at_most(DROP, 0.05)
    good = PairedDifference(0, 0, 1_000)
    for right, verdict in ((760, Verdict.PASS), (710, Verdict.NOT_EVALUATED)):
        own = Proportion(right, 1_000)
        decisions = decide(policy(criterion), {DROP: Finding(DROP, good, presupposes=(Presupposition(own),))})
        assert decisions.overall is verdict, right


def test_off_the_clean_set_the_floor_is_a_share_of_the_clean_accuracy() -> None:
    good, clean = PairedDifference(0, 0, 1_000), Proportion(900, 1_000)
    for right, verdict in ((490, Verdict.PASS), (460, Verdict.NOT_EVALUATED)):
        own = Presupposition(Proportion(right, 1_000), clean)
        decisions = decide(policy(at_most(DROP, 0.05)), {DROP: Finding(DROP, good, presupposes=(own,))})
        assert decisions.overall is verdict, right


def test_a_reference_that_is_never_right_supports_nothing() -> None:
    nothing = Presupposition(Proportion(0, 1_000), Proportion(0, 1_000))
    finding = Finding(DROP, PairedDifference(0, 0, 1_000), presupposes=(nothing,))
    assert decide(policy(at_most(DROP, 0.05)), {DROP: finding}).reason == "reference-floor"


@pytest.mark.parametrize("excusing", [True, False])
@pytest.mark.parametrize(
    ("lost", "verdict", "applicable"),
    [(300, Verdict.FAIL, True), (25, Verdict.NOT_EVALUATED, False), (0, Verdict.NOT_EVALUATED, False)],
)
def test_below_the_floor_a_proven_loss_is_still_one(
    lost: int, verdict: Verdict, applicable: bool, excusing: bool
) -> None:
    weak = Presupposition(Proportion(400, 1_000), Proportion(900, 1_000))
    cells = [Claim("accuracy.drop", (("level", str(i)),)) for i in range(2)]
    findings = {
        cells[0]: Finding(cells[0], PairedDifference(lost, 0, 1_000), presupposes=(weak,)),
        cells[1]: Finding(cells[1], PairedDifference(0, 0, 1_000)),
    }
    criteria = [Criterion(cell, Sense.AT_MOST, 0.02, only_where_reference_holds=excusing) for cell in cells]
    part, other = decide(policy(*criteria), findings, findings).parts
    assert (part.verdict, part.applicable) == (verdict, applicable or not excusing)
    assert part.reason == ("proven-beyond-limit" if verdict is Verdict.FAIL else "reference-floor")
    assert other.verdict is Verdict.PASS


def test_a_loss_below_the_floor_that_one_of_many_cells_shows_by_chance_is_none() -> None:
    weak = Presupposition(Proportion(400, 1_000), Proportion(900, 1_000))
    cells = [Claim("accuracy.drop", (("level", str(i)),)) for i in range(20)]
    findings = {cell: Finding(cell, PairedDifference(0, 0, 1_000)) for cell in cells}
    findings[cells[0]] = Finding(cells[0], PairedDifference(30, 0, 1_000), presupposes=(weak,))
    parts = decide(policy(*(at_most(cell, 0.02) for cell in cells)), findings).parts
    assert (parts[0].verdict, parts[0].reason, parts[0].p_pass) == (Verdict.NOT_EVALUATED, "reference-floor", None)


def levels(*rights: int) -> tuple[list[Criterion], dict[Claim, Finding]]:
    """One criterion and finding per level, where the reference is right on so many of 1,000."""
    drops = [Claim("accuracy.drop", (("level", str(i)),)) for i in range(len(rights))]
    criteria = [Criterion(drop, Sense.AT_MOST, 0.02, only_where_reference_holds=True) for drop in drops]
    clean = Proportion(900, 1_000)
    own = [Presupposition(Proportion(right, 1_000), clean) for right in rights]
    same = PairedDifference(0, 0, 1_000)
    return criteria, {c: Finding(c, same, presupposes=(p,)) for c, p in zip(drops, own, strict=True)}


def test_a_level_where_the_reference_fails_does_not_apply() -> None:
    criteria, findings = levels(880, 200)
    decisions = decide(policy(*criteria), findings)
    assert [part.applicable for part in decisions.parts] == [True, False]
    assert decisions.overall is Verdict.PASS


def test_one_level_must_remain() -> None:
    criteria, findings = levels(300, 200)
    decisions = decide(policy(*criteria), findings)
    assert [part.applicable for part in decisions.parts] == [True, True]
    assert (decisions.overall, decisions.reason) == (Verdict.NOT_EVALUATED, "reference-floor")


def test_the_remaining_level_must_be_required() -> None:
    criteria, findings = levels(880, 200)
    criteria[0] = replace(criteria[0], required=False)
    other = at_most(DROP, 0.05)
    findings[DROP] = Finding(DROP, PairedDifference(0, 0, 1_000))
    assert decide(policy(other, *criteria), findings).overall is Verdict.NOT_EVALUATED


def test_what_passes_without_the_near_ties_only_is_conditional() -> None:
    finding, worse = (Finding(DROP, PairedDifference(b, 0, 1_000)) for b in (0, 12))
    rule = policy(at_most(DROP, 0.01))
    assert decide(rule, {DROP: finding}, {DROP: finding}).overall is Verdict.PASS
    part = decide(rule, {DROP: finding}, {DROP: worse}).parts[0]
    assert (part.verdict, part.reason) == (Verdict.CONDITIONAL_PASS, "near-ties")


@pytest.mark.parametrize("adverse", [{}, {DROP: Finding(DROP, Missing("check-crashed", ""))}])
def test_near_ties_that_could_not_be_counted_block(adverse: dict[Claim, Finding]) -> None:
    finding = Finding(DROP, PairedDifference(0, 0, 1_000))
    assert decide(policy(at_most(DROP, 0.01)), {DROP: finding}, adverse).overall is Verdict.CONDITIONAL_PASS


def test_a_waived_criterion_keeps_its_verdict_and_loses_its_say() -> None:
    bad, good = claims(2)
    findings = {bad: Finding(bad, Proportion(900, 1_000)), good: Finding(good, Proportion(0, 1_000))}
    rule = policy(replace(at_most(bad, 0.01), waived=True), at_most(good, 0.01))
    decisions = decide(rule, findings)
    assert decisions.parts[0].verdict is Verdict.FAIL
    assert decisions.overall is Verdict.PASS
    assert decisions.counts == {Verdict.PASS: 1}


def test_something_must_remain_besides_the_waived() -> None:
    (bad,) = claims(1)
    rule = policy(replace(at_most(bad, 0.01), waived=True))
    decisions = decide(rule, {bad: Finding(bad, Proportion(0, 1_000))})
    assert (decisions.overall, decisions.reason) == (Verdict.NOT_EVALUATED, "no-required-criterion")


@pytest.mark.parametrize("limit", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("n", [200, 2_000])
def test_p_values_are_those_of_the_exact_test(n: int, limit: float) -> None:
    p_pass, p_fail = p_values(PairedDifference(5, 3, n), at_most(DROP, limit), 0.05)
    assert p_pass == paired.p_at_most(5, 3, n, limit)
    assert p_fail == paired.p_at_least(5, 3, n, limit)


def test_at_least_mirrors_at_most() -> None:
    agreement = Criterion(Claim("functional.agreement"), Sense.AT_LEAST, 0.98)
    p_pass, p_fail = p_values(Proportion(995, 1_000), agreement, 0.05)
    assert p_pass == pytest.approx(proportions.p_at_most(5, 1_000, 0.02))
    assert p_fail == pytest.approx(proportions.p_at_least(5, 1_000, 0.02))


def test_quantile_is_decided_by_exceedances() -> None:
    values = tuple(i / 1_000 for i in range(1_000))
    p_pass, _ = p_values(OrderStatistic(values, 0.99), at_most(DROP, 0.9965), 0.05)
    assert p_pass == pytest.approx(proportions.p_at_most(3, 1_000, 0.01))
    _, upper = bounds(OrderStatistic(values, 0.99), 0.05)
    assert upper == values[996 - 1]  # rank of the 95 % bound at n = 1,000


def test_mean_bounds_and_verdict_agree() -> None:
    values = tuple((37 * i % 100) / 1_000 for i in range(1, 2_001))
    _, upper = bounds(BoundedMean(values, 0.0, 1.0), 0.05)
    assert upper is not None
    for limit, proven in ((upper + 1e-4, True), (upper - 1e-3, False)):
        p_pass, _ = p_values(BoundedMean(values, 0.0, 1.0), at_most(DROP, limit), 0.05)
        assert (p_pass <= 0.05) is proven


@pytest.mark.parametrize(
    "build",
    [
        lambda: Proportion(0, 0),
        lambda: Proportion(5, 4),
        lambda: PairedDifference(3, 3, 5),
        lambda: PairedDifference(0, 0, 0),
        lambda: BoundedMean((), 0.0, 1.0),
        lambda: BoundedMean((0.5, math.nan), 0.0, 1.0),
        lambda: BoundedMean((0.5, 1.5), 0.0, 1.0),
        lambda: OrderStatistic((1.0, math.inf), 0.99),
        lambda: Exact(math.nan, 5),
    ],
)
def test_no_statistic_of_nothing(build: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        build()  # type: ignore[operator]


def test_equal_tables_at_equal_limits_are_tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact test takes longest of all, and near ties leave most tables as they are."""
    tested, exact = [], paired.p_at_least

    def counted(b: int, c: int, n: int, limit: float) -> float:
        tested.append((b, c, n, limit))
        return exact(b, c, n, limit)

    monkeypatch.setattr(paired, "p_at_least", counted)
    one, two, three = claims(3)
    rules = policy(at_most(one, 0.0301), at_most(two, 0.0301), at_most(three, 0.0302))
    found = {claim: Finding(claim, PairedDifference(31, 17, 1013)) for claim in (one, two, three)}
    decide(rules, found, found)
    assert tested == [(31, 17, 1013, 0.0301), (31, 17, 1013, 0.0302)]


def test_only_what_is_accepted_returns_zero() -> None:
    codes = {verdict: int(exit_code(verdict, accepted=False)) for verdict in Verdict}
    assert codes == {
        Verdict.PASS: 3,
        Verdict.CONDITIONAL_PASS: 3,
        Verdict.CONDITIONAL_FAIL: 3,
        Verdict.NOT_EVALUATED: 4,
        Verdict.FAIL: 1,
    }
    assert exit_code(Verdict.CONDITIONAL_PASS, accepted=True) == 0
