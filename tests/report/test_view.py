"""The order of the results, their place on the common axis, and the sentences."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from report_samples import BEYOND, CONDITIONAL, MISSING, WITHIN, build, decision

from audit.errors import AuditError
from audit.evidence import Evidence
from audit.report import scopes, sentences
from audit.report.rows import Part, Row, clean
from audit.report.view import grouped, issued, not_for_release, results
from checks.perturbations.corruptions.catalogue import KINDS


def test_what_blocks_comes_first_and_the_narrowest_margin_first_within(forty: Evidence) -> None:
    found = results(forty)
    order = ["FAIL", "NOT EVALUATED", "CONDITIONAL FAIL", "CONDITIONAL PASS", "PASS"]
    verdicts = [row.record.verdict for row in found.required]
    assert verdicts == sorted(verdicts, key=order.index)
    assert set(verdicts) == set(order)
    for verdict in set(order) - {"NOT EVALUATED", "PASS"}:
        positions = [row.position for row in found.required if row.record.verdict == verdict]
        assert positions == sorted(positions)
    assert [row.number for row in (*found.required, *found.advisory)] == list(range(1, 43))
    assert [row.record.required for row in found.advisory] == [False]


@pytest.mark.parametrize("sense", ["at_most", "at_least"])
@pytest.mark.parametrize("margin", [3.0, -3.0, 0.4, -0.4])
def test_margin_is_counted_in_distances_to_the_facing_bound(sense: str, margin: float) -> None:
    estimate = 50 - margin if sense == "at_most" else 50 + margin
    bounds = {"lower": estimate - 1.0, "upper": estimate + 2.0}
    row = Row(1, decision("a.b", "t", 50.0, estimate, unit="%", sense=sense).model_copy(update=bounds))
    guard = 2.0 if estimate < 50 else 1.0
    assert row.position == pytest.approx(margin / guard)
    facing = bounds["upper"] if estimate < 50 else bounds["lower"]
    assert row.in_guard_bands(facing) == pytest.approx(margin / guard - math.copysign(1, margin))


@pytest.mark.parametrize(("estimate", "position"), [(0.0, math.inf), (0.1, math.inf), (0.2, -math.inf)])
def test_exact_values_have_no_guard_band(estimate: float, position: float) -> None:
    assert Row(1, decision("a.b", "t", 0.1, estimate, 0.0)).position == position


def test_a_result_that_was_not_evaluated_has_no_place_even_with_an_estimate() -> None:
    measured = decision("a.b", "t", 1.0, 0.2).model_copy(update={"verdict": "NOT EVALUATED", "reason": "floor"})
    row = Row(1, measured)
    assert (row.position, row.margin) == (None, "–")
    assert "floor" in row.sentence


def test_a_method_with_one_bound_measures_the_margin_by_it() -> None:
    record = decision("a.b", "t", 1.0, 2.0, 0.1).model_copy(update={"lower": None, "upper": 2.5})
    assert Row(1, record).position == pytest.approx(-2.0)
    assert Row(1, record).bounds == "[–,\N{NO-BREAK SPACE}2.50]"
    assert Row(1, record.model_copy(update={"upper": None})).position is None


def test_bound_that_just_misses_the_limit_is_not_rounded_onto_it() -> None:
    record = decision("a.b", "t", 1.0, 0.5).model_copy(update={"upper": 1.0004})
    assert "1.0004" in Row(1, record).bounds


def test_margin_between_percentages_is_in_points() -> None:
    row = Row(1, decision("a.b", "t", 90.0, 92.5, unit="%", sense="at_least"))
    assert row.margin_with_unit == "+2.50\N{NO-BREAK SPACE}points"


Statement = Callable[[Evidence], str]


def conformity(evidence: Evidence) -> str:
    return sentences.conformity(evidence, results(evidence))


def test_conformity_claims_no_more_than_the_verdict(
    passing: Evidence,
    failing: Evidence,
    conditional: Evidence,
    missing: Evidence,
    exploratory: Evidence,
    empty: Evidence,
) -> None:
    assert conformity(passing) == "resnet20_pruned_60.onnx meets policy standard/1."
    assert conformity(failing) == "resnet20_pruned_60.onnx does not meet policy standard/1."
    assert "accepts the verdict CONDITIONAL PASS; 1 required criterion is not shown" in conformity(conditional)
    assert "is not shown to meet policy standard/1: 1 required criterion" in conformity(missing)
    assert conformity(exploratory).startswith("No conformity is stated")
    assert "no required criterion speaks about the two models" in conformity(empty)
    assert "2 required criteria are" in conformity(build(WITHIN + CONDITIONAL))


def test_a_pass_that_was_not_accepted_states_no_conformity(passing: Evidence) -> None:
    verdict = passing.body.verdict.model_copy(update={"accepted": False})
    refused = passing.model_copy(update={"body": passing.body.model_copy(update={"verdict": verdict})})
    assert conformity(refused).startswith("No conformity with policy standard/1 is stated")


def test_no_page_gives_a_probability_that_a_model_is_safe(passing: Evidence, conditional: Evidence) -> None:
    for evidence in (passing, conditional):
        text = " ".join(
            [
                sentences.decision_rule(evidence),
                sentences.guarantee(evidence, results(evidence)),
                sentences.ASSUMPTIONS,
                sentences.PART_VERDICTS,
            ]
        )
        assert "% probability that" not in text
        assert "certified" not in text
        assert "compliant" not in text


def test_levels_are_rendered_from_alpha(passing: Evidence) -> None:
    policy = passing.body.policy.model_copy(update={"alpha": 0.025})
    strict = passing.model_copy(update={"body": passing.body.model_copy(update={"policy": policy})})
    assert "97.5\N{NO-BREAK SPACE}% confidence (α = 0.025" in sentences.decision_rule(strict)
    assert "at most 2.5\N{NO-BREAK SPACE}%" in sentences.guarantee(strict, results(strict))


def test_the_guarantee_ends_where_conditional_or_asymptotic_verdicts_count(conditional: Evidence) -> None:
    assert "also accepts CONDITIONAL PASS" in sentences.guarantee(conditional, results(conditional))
    mixed = build((*WITHIN, decision("calibration.ece_increase_bound", "t", 2.0, 0.1, 0.0)))
    bounded = tuple(
        found.model_copy(update={"meaning": "Asymptotic bound."}) if found.claim.startswith("calibration") else found
        for found in mixed.body.findings
    )
    mixed = mixed.model_copy(update={"body": mixed.body.model_copy(update={"findings": bounded})})
    assert "1 required criterion rests on an asymptotic method" in sentences.guarantee(mixed, results(mixed))
    plain = build(WITHIN)
    assert "asymptotic" not in sentences.guarantee(plain, results(plain))


def test_reasons_are_the_three_worst_and_the_narrowest_pass_is_named(failing: Evidence) -> None:
    found = results(failing)
    assert [row.record.verdict for row in found.reasons] == ["FAIL", "CONDITIONAL FAIL", "CONDITIONAL PASS"]
    assert found.narrowest is not None
    assert found.narrowest.record.claim == "accuracy.drop"
    assert results(build(BEYOND + MISSING)).narrowest is None


def test_release_needs_neither_exploration_nor_deviation(passing: Evidence, exploratory: Evidence) -> None:
    assert not not_for_release(passing)
    assert not_for_release(exploratory)
    assert not_for_release(build(WITHIN, deviations=("a part was skipped",)))


def test_clean_shows_what_would_deceive_and_keeps_right_to_left_letters() -> None:
    assert clean("a\u202eb\x00c\nd\ud800") == "a\ufffdb\ufffdc d\ufffd"
    assert clean("שלום") == "שלום"


def test_results_are_a_pure_function_of_the_decisions(forty: Evidence) -> None:
    shuffled = forty.body.model_copy(update={"decisions": forty.body.decisions[::-1]})
    assert results(forty.model_copy(update={"body": shuffled})) == results(forty)
    assert replace(results(forty).required[0], number=9).record == results(forty).required[0].record


@pytest.mark.parametrize(
    ("finished", "text"),
    [
        ("2025-11-22T15:04:37Z", "2025-11-22T15:04:37+00:00"),
        ("2025-11-22T15:04:37", "2025-11-22T15:04:37+00:00"),
        ("2025-11-23T00:04:37+09:00", "2025-11-22T15:04:37+00:00"),
    ],
)
def test_issued_is_in_utc(finished: str, text: str, passing: Evidence) -> None:
    run = passing.run.model_copy(update={"finished": finished})
    assert issued(passing.model_copy(update={"run": run})).isoformat() == text


def test_a_date_that_is_none_is_refused(passing: Evidence) -> None:
    run = passing.run.model_copy(update={"finished": "<script>"})
    with pytest.raises(AuditError, match="ISO 8601"):
        issued(passing.model_copy(update={"run": run}))


def test_many_results_are_grouped_by_condition_after_what_blocks(crowded: Evidence) -> None:
    groups = grouped(results(crowded).required)
    names = [name for name, _ in groups]
    assert names[:4] == ["", "clean data", "noise gaussian, level 2/255", "noise gaussian, level 4/255"]
    assert names[4:6] == ["noise gaussian, level 8/255", "noise gaussian, level 16/255"]
    assert names[-1] == "by class"
    assert len(names) == len(set(names))
    assert {row.record.verdict for row in groups[0][1]} == {"CONDITIONAL FAIL", "CONDITIONAL PASS"}
    for _, rows in groups[1:]:
        positions = [row.position for row in rows]
        assert positions == sorted(positions)


def test_cells_that_passed_stand_by_corruption_and_severity_under_one_heading_for_each_metric(
    corrupted: Evidence,
) -> None:
    blocking, clean_data, *cells = grouped(results(corrupted).required)
    assert (blocking[0], clean_data[0]) == ("", "clean data")
    assert "PASS" not in {row.record.verdict for row in blocking[1]}
    assert [name for name, _ in cells] == [
        "by corruption – Loss of accuracy", "by corruption – Loss of accuracy beyond the clean one",
    ]  # fmt: skip
    for _, rows in cells:
        scopes_of = [dict(scopes.parsed(row.record.claim).scope) for row in rows]
        places = [(scopes.CORRUPTIONS.index(scope["corruption"]), int(scope["severity"])) for scope in scopes_of]
        assert places == sorted(places)
        assert [row.name for row in rows] == [scopes.words(tuple(scope.items())) for scope in scopes_of]


def test_the_order_of_corruptions_is_that_of_the_catalogue() -> None:
    assert tuple(KINDS) == scopes.CORRUPTIONS


def test_conditions_make_headings_of_their_own_only_as_long_as_they_are_few() -> None:
    claims = [f"{metric}@level={level}/255,noise=uniform" for metric in "abc" for level in range(1, 31)]
    assert set(scopes.headings(claims).values()) == {"by noise"}
    assert scopes.headings([claim for claim in claims if "=1/" in claim])["a@level=1/255,noise=uniform"] == (
        "noise uniform, level 1/255"
    )


def test_the_narrowest_pass_is_found_in_whatever_group_it_stands(crowded: Evidence) -> None:
    narrow = decision("per_class.recall.drop@class=ship", "t", 5.0, 3.4, 0.9)
    narrowest = results(build((*crowded.body.decisions, narrow), others=0)).narrowest
    assert narrowest is not None
    assert narrowest.record == narrow


def test_few_results_stand_in_one_group(failing: Evidence) -> None:
    assert [name for name, _ in grouped(results(failing).required)] == [""]


def test_each_result_stands_in_one_part(noisy: Evidence) -> None:
    found = results(noisy)
    assert [len(found.of(part)) for part in Part] == [10, 1, 2, 2]
    assert [row.number for row in found.rows] == list(range(1, 16))
    assert {row.position for row in found.inapplicable} == {None}
    assert not set(found.inapplicable) & set(found.drawn)
