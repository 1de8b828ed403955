"""Curves over levels: which there are, what is on them, and that the tables say the same."""

import xml.etree.ElementTree as ET
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_samples import LEVELS, noise
from report_samples import HOSTILE, WITHIN, build, decision

from audit import evidence as ev
from audit.evidence import Evidence
from audit.report import curves, drawing, levels, scopes
from audit.report.rows import INAPPLICABLE, MARKS

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def drop(level: str, kind: str = "uniform", metric: str = "accuracy.drop") -> ev.DecisionRecord:
    return decision(f"{metric}@level={level},noise={kind}", "t", 2.0, 1.0)


def test_metrics_in_their_order_with_conditions_side_by_side(noisy: Evidence) -> None:
    drawn = levels.panels(noisy)
    assert [(panel.metric, panel.condition) for panel in drawn] == [
        (metric, condition)
        for metric in ("accuracy.drop", "functional.agreement", "functional.softmax_l2")
        for condition in ("noise gaussian", "noise uniform")
    ]
    assert levels.heading(drawn) == "By level of noise"
    assert [len(sheet) for sheet in levels.sheets(drawn)] == [2, 2, 2]


def test_a_curve_runs_from_the_clean_value_through_every_level(noisy: Evidence) -> None:
    for panel in levels.panels(noisy):
        assert [point.text for point in panel.points] == ["none", *LEVELS]
        assert [point.level for point in panel.points] == [0, *map(Fraction, LEVELS)]
        assert bool(panel.baseline) == (panel.metric != "accuracy.drop")
        for _, points in panel.curves:
            for point in points[1:]:
                assert f"level={point.text}" in point.finding.claim


def test_points_know_their_criterion(noisy: Evidence) -> None:
    gaussian, uniform = levels.panels(noisy)[:2]
    words = [[point.row.word for point in panel.points if point.row] for panel in (gaussian, uniform)]
    assert words[0] == ["PASS", "PASS", "CONDITIONAL PASS", "CONDITIONAL PASS", "not applicable"]
    assert words[1] == ["PASS", "PASS", "PASS", "FAIL", "not applicable"]


def test_one_level_is_no_curve_and_other_metrics_are_not_drawn() -> None:
    assert levels.panels(build((drop("8/255"),), others=0)) == ()
    other = tuple(drop(level, metric="a.b") for level in LEVELS)
    assert levels.panels(build(other, others=0)) == ()
    assert len(levels.panels(build((drop("8/255"), drop("2/255")), others=0))) == 1


def test_levels_that_measured_nothing_are_no_curve() -> None:
    missing = [decision(f"accuracy.drop@level={level},noise=uniform", "t", 2.0, None, reason="failed")
               for level in LEVELS]  # fmt: skip
    assert levels.panels(build(tuple(missing), others=0)) == ()


def test_never_more_than_twelve_panels() -> None:
    rows = tuple(drop(level, kind) for level in LEVELS for kind in "abcdefghijklmn")
    drawn = levels.panels(build(rows, others=0))
    assert len(drawn) == levels.MOST_PANELS
    assert texts(curves.draw(drawn)).count("level, 255ths of the range of a value") == levels.MOST_PANELS


def test_one_condition_puts_all_metrics_into_one_figure(noisy: Evidence) -> None:
    drawn = [panel for panel in levels.panels(noisy) if panel.condition == "noise uniform"]
    assert [len(sheet) for sheet in levels.sheets(drawn)] == [3]


def test_equal_panels_give_equal_bytes(noisy: Evidence) -> None:
    drawn = levels.panels(noisy)
    assert curves.draw(drawn) == curves.draw(levels.panels(noisy.model_copy(deep=True)))


def test_the_figure_marks_every_verdict_by_its_word_and_colour(noisy: Evidence) -> None:
    svg = curves.draw(levels.sheets(levels.panels(noisy))[0])
    told = texts(svg)
    for verdict, word in (("PASS", "PASS"), ("CONDITIONAL PASS", "COND. PASS"), ("FAIL", "FAIL")):
        assert word in told
        assert MARKS[verdict].light in svg
    assert "not applicable" in told
    assert INAPPLICABLE.light in svg
    assert "NOT EVALUATED" not in told
    assert {"0", "2", "4", "8", "16"} <= set(told)


def test_only_what_is_drawn_stands_in_the_legend() -> None:
    told = texts(curves.draw(levels.panels(build((drop("8/255"), drop("2/255")), others=0))))
    assert "baseline" not in told
    assert "FAIL" not in told


def test_limits_without_curve_values_still_lie_on_the_scale() -> None:
    rows = (noise("accuracy.drop", "uniform", "2/255", 40.0, 1.0, 0.1), drop("8/255"))
    told = texts(curves.draw(levels.panels(build(rows, others=0))))
    assert max(int(word) for word in told if word.isdigit()) >= 30


def test_a_point_that_was_not_measured_is_marked_and_said() -> None:
    gap = decision("accuracy.drop@level=4/255,noise=uniform", "t", 2.0, None, reason="failed")
    drawn = levels.panels(build((drop("2/255"), gap, drop("8/255")), others=0))
    assert "NOT EVALUATED" in texts(curves.draw(drawn))
    lines = levels.tables(drawn)[0].lines
    assert [line[1][0].words.split(" [")[0] for line in lines if line[1][0]] == ["1.00", "not measured", "1.00"]


def test_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match="no curve"):
        curves.draw(())


def test_tables_hold_every_value_of_the_curves(noisy: Evidence) -> None:
    drawn = levels.panels(noisy)
    tables = levels.tables(drawn)
    assert [len(table.columns) for table in tables] == [2, 4, 4]
    assert tables[1].metrics == ("functional.agreement", "baseline.agreement")
    points = [point for table in tables for _, cells in table.lines for point in cells]
    assert all(point in points for panel in drawn for _, curve in panel.curves for point in curve)
    assert [text for text, _ in tables[0].lines] == ["none", *LEVELS]


def test_a_zero_bound_is_printed() -> None:
    finding = ev.FindingRecord(claim="a.b", title="t", unit="%", better="at_most", method="", estimate=0.0, lower=0.0,
                               upper=0.0, n=1)  # fmt: skip
    assert levels.Point(Fraction(0), "none", finding, None).words == "0.00 [0.00, 0.00]"


def test_levels_that_are_no_255ths_are_drawn_as_they_are() -> None:
    rows = tuple(drop(level) for level in ("0.1", "0.4"))
    told = texts(curves.draw(levels.panels(build(rows, others=0))))
    assert {"0.1", "0.4", "level"} <= set(told)


def test_each_noise_names_its_levels_and_no_label_touches_another(corrupted: Evidence) -> None:
    drawn = levels.panels(corrupted)
    assert len(drawn) == levels.MOST_PANELS
    axes = {panel.condition: panel.axis for panel in drawn}
    assert axes == {
        "noise gaussian": "level, 255ths of the range of a value",
        "noise normalised": "level, standard deviations of the input",
        "noise salt_and_pepper": "level, share of the pixels",
        "noise uniform": "level, 255ths of the range of a value",
    }
    for sheet in levels.sheets(drawn):
        assert set(axes.values()) <= set(texts(curves.draw(sheet)))
    assert levels.units(drawn) == (
        "Levels of noise after normalisation are in standard deviations of the normalised input. "
        "Levels of salt and pepper are shares of the pixels."
    )


@pytest.mark.parametrize("room", [60.0, 130.0, 900.0])
def test_labels_of_fifteen_levels_never_touch(room: float, corrupted: Evidence) -> None:
    panel = next(panel for panel in levels.panels(corrupted) if panel.condition == "noise normalised")
    ticks = [float(point.level) ** 0.5 for point in panel.points]
    kept = curves.legible(ticks, room)
    assert kept[0] == ticks[-1]
    for right, left in pairwise(kept):
        half = sum(drawing.width(f"{tick**2:g}", 7) for tick in (left, right)) / 2
        assert half < room * (right - left) / (ticks[-1] - ticks[0])
    assert len(kept) == len(ticks) if room == 900.0 else 2 <= len(kept) < len(ticks)


def test_tables_hold_conditions_of_one_unit_only(corrupted: Evidence) -> None:
    drawn = levels.panels(corrupted)
    assert len(levels.tables(drawn)) == 3 * len({panel.metric for panel in drawn})
    for table in levels.tables(drawn):
        assert all(None not in cells for level, cells in table.lines if level != "none")


def test_hostile_conditions_are_cut_and_stay_text() -> None:
    kind = HOSTILE.replace(",", "").replace("=", "")
    rows = tuple(drop(level, kind) for level in LEVELS)
    drawn = levels.panels(build((WITHIN[0].model_copy(update={"title": HOSTILE}), *rows), others=0))
    assert len(drawn) == 1
    svg = curves.draw(drawn)
    assert "<script" not in svg
    assert max(map(len, texts(svg))) < len(HOSTILE)


@given(st.text(max_size=20))
def test_no_text_of_a_level_breaks_anything(text: str) -> None:
    value = scopes.level(text)
    assert value is None or 0 <= value < 10**6


@pytest.mark.parametrize("text", ["", "-1/255", "1/0", "1e9", "9" * 9, "8/255 ", "٣/255", "1//2", "nan"])
def test_what_is_no_level_is_none(text: str) -> None:
    assert scopes.level(text) is None
