"""Cells by corruption and severity: which there are, in which order, and that the words say what the picture does."""

import pytest
from corruption_samples import SEVERITIES, loss, with_findings
from report_samples import HOSTILE, WITHIN, build, decision

from audit.evidence import Evidence, FindingRecord
from audit.report import cells, html, nearness
from audit.report.scopes import CORRUPTIONS


def of_losses(*losses: object) -> cells.Grid:
    return cells.grids(build(losses, others=0))[0]  # type: ignore[arg-type]


def test_lines_stand_in_the_order_of_the_paper_and_severities_rise(corrupted: Evidence) -> None:
    first, *others = cells.grids(corrupted)
    assert [line.name for line in first.lines] == [name.replace("_", " ") for name in CORRUPTIONS]
    assert first.severities == ("1", "2", "3", "4", "5")
    assert (first.metric, first.title, first.unit) == ("accuracy.drop", "Loss of accuracy", "points")
    assert [grid.metric for grid in others] == [
        "corruption.excess_drop", "reference.accuracy", "candidate.accuracy", "functional.agreement",
        "functional.excess_disagreement", "functional.softmax_l2",
    ]  # fmt: skip


def test_names_that_nobody_knows_follow_by_their_letters() -> None:
    grid = of_losses(*(loss(name, 10, 0.1) for name in ("rain", "fog", "dirt")), loss("fog", 9, 0.1))
    assert [line.name for line in grid.lines] == ["fog", "dirt", "rain"]
    assert grid.severities == ("9", "10")


def test_each_cell_is_the_finding_of_its_corruption_and_severity(corrupted: Evidence) -> None:
    for grid in cells.grids(corrupted):
        for line in grid.lines:
            for severity, point in zip(grid.severities, line.cells, strict=True):
                if point is not None:
                    name = line.name.replace(" ", "_")
                    assert point.finding.claim == f"{grid.metric}@corruption={name},severity={severity}"


def test_cells_without_a_finding_or_a_value_are_told_apart(corrupted: Evidence) -> None:
    lines = {line.name: line.cells for line in cells.grids(corrupted)[0].lines}
    assert lines["spatter"][3] is None
    missing = lines["saturate"][1]
    assert missing is not None
    assert missing.row is not None
    assert (missing.value, missing.words, missing.row.word) == (None, "not measured", "NOT EVALUATED")


def test_the_mean_of_a_line_is_that_of_its_numbers() -> None:
    grid = of_losses(loss("fog", 1, 1.0), loss("fog", 2, None, reason="failed"), loss("fog", 3, 2.0),
                     loss("snow", 2, None, reason="failed"))  # fmt: skip
    assert [line.mean for line in grid.lines] == [None, 1.5]
    table = cells.tables((grid,))[0]
    assert table.columns == ("severity 1", "severity 2", "severity 3", "mean")
    assert [line[-1].words for _, line in table.lines if line[-1]] == ["–", "1.50"]
    assert "mean" not in cells.tables((of_losses(loss("fog", 1, 1.0)),))[0].columns


def test_tables_hold_every_value(corrupted: Evidence) -> None:
    grids = cells.grids(corrupted)
    for grid, table in zip(grids, cells.tables(grids), strict=True):
        told = [cell for _, line in table.lines for cell in line]
        assert all(point in told for point in grid.points)
    first, excess, reference, *_ = cells.tables(grids)
    assert first.limit == excess.limit == "≤\N{NO-BREAK SPACE}3\N{NO-BREAK SPACE}points"
    assert (first.contents, reference.contents) == (
        "estimate, one-sided bounds and verdict", "estimate and one-sided bounds",
    )  # fmt: skip


def test_limits_that_differ_stand_in_the_cells() -> None:
    strict = loss("snow", 1, 0.1).model_copy(update={"limit": 1.0, "margin": 0.9})
    table = cells.tables((of_losses(loss("fog", 1, 0.1), strict),))[0]
    assert (table.limit, table.contents) == ("", "estimate, one-sided bounds, limit and verdict")


def test_claims_over_all_cells_are_told_with_bounds_and_verdict(corrupted: Evidence) -> None:
    told = {it.claim: it for it in cells.overall(corrupted)}
    assert list(told) == [
        "corruption.mean_drop", "corruption.mean_excess_drop", "corruption.mean_error@role=reference",
        "corruption.mean_error@role=candidate", "corruption.mce", "corruption.worst_drop",
    ]  # fmt: skip
    mean = told["corruption.mean_drop"]
    assert mean.words == "0.93\N{NO-BREAK SPACE}points [0.70, 1.16]"
    assert mean.row is not None
    assert mean.row.word == "PASS"
    assert told["corruption.worst_drop"].words == "6.14\N{NO-BREAK SPACE}points"
    assert told["corruption.worst_drop"].row is None


def test_what_was_not_measured_over_all_cells_says_why() -> None:
    missing = decision("corruption.mce", "Mean corruption error", 110.0, None, unit="%", detail="One cell is missing.")
    (told,) = cells.overall(build((loss("fog", 1, 0.1), missing), others=0))
    assert told.words == "not measured: One cell is missing."


def test_without_losses_in_cells_there_is_nothing(passing: Evidence) -> None:
    assert cells.grids(passing) == ()
    scopes = ("corruption=fog", "corruption=fog,severity=high", "corruption=fog,role=x,severity=1")
    odd = [decision(f"accuracy.drop@{scope}", "t", 1.0, 0.1) for scope in scopes]
    assert cells.grids(build((*odd, *WITHIN), others=0)) == ()


def test_the_picture_in_words_has_its_range_and_names_what_failed(corrupted: Evidence) -> None:
    assert cells.described(cells.grids(corrupted)[0]) == (
        "Heat map of Loss of accuracy in points by corruption and severity, 19 × 5: −0.42 to 5.67. "
        "FAIL: corruption glass_blur, severity 4; corruption glass_blur, severity 5. The table below has every value."
    )
    many = of_losses(*(loss("fog", severity, 9.0) for severity in SEVERITIES))
    assert "severity 3 and 2 more. The" in cells.described(many)
    nothing = of_losses(loss("fog", 1, None, reason="failed"))
    assert "1 × 1: no value. FAIL: nowhere." in cells.described(nothing)


def test_hostile_names_stay_text() -> None:
    name = HOSTILE.replace(",", "").replace("=", "")
    evidence = build((loss(name, 1, 9.0), loss(name, 2, 0.1)), others=0)
    text = html.render(evidence)
    assert "By corruption" in text
    assert "<script" not in text
    assert "\u202e" not in text


def excess(level: str, estimate: float | None, kind: str = "uniform") -> FindingRecord:
    return FindingRecord(claim=f"baseline.excess_distance@level={level},noise={kind}", title="t", unit="distance",
                         better="at_most", method="", estimate=estimate)  # fmt: skip


@pytest.mark.parametrize(
    ("estimates", "where"),
    [
        ((-0.1,), "at all 1 level"),
        ((-0.1, -0.2), "at all 2 levels"),
        ((0.1, 0.0), "at none of 2 levels"),
        ((-0.1, -0.1, 0.1), "at all but 1 of 3 levels (3/255)"),
        ((-0.1, 0.1, 0.1, None), "at 1 of 3 levels (1/255)"),
        ((*[-0.1] * 6, *[0.1] * 5), "at all but 5 of 11 levels"),
    ],
)
def test_levels_at_which_the_candidate_is_nearer_are_counted_by_the_estimates(
    estimates: tuple[float | None, ...], where: str, passing: Evidence
) -> None:
    found = tuple(excess(f"{level}/255", estimate) for level, estimate in enumerate(estimates, start=1))
    assert nearness.told(with_findings(passing, found)) == (
        f"By the estimates the candidate is nearer to the reference than the baseline is: under noise uniform {where}."
    )


def test_nothing_is_said_of_a_baseline_that_was_not_measured(passing: Evidence) -> None:
    assert nearness.told(with_findings(passing, (excess("1/255", None),))) == ""


def test_the_sentence_stands_below_the_curves(corrupted: Evidence) -> None:
    told = (
        "under noise gaussian at all 4 levels; under noise normalised at all but 1 of 15 levels (0.3); "
        "under noise salt_and_pepper at all 4 levels; under noise uniform at all but 1 of 4 levels (16/255)."
    )
    assert nearness.told(corrupted).endswith(told)
    assert told in html.render(corrupted)
