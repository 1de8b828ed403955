"""The heat map: a number in every cell, legible by day, by night and on paper, and marked where a limit is broken."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest
from corruption_samples import SEVERITIES, loss
from report_samples import HOSTILE, build

from audit.evidence import Evidence
from audit.report import cells, drawing, heatmap
from audit.report.rows import MARKS
from audit.report.scopes import CORRUPTIONS

SVG = "{http://www.w3.org/2000/svg}"
PAGE = 255 / 25.4 * 72  # points of the text block


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def drawn(*losses: object) -> str:
    return heatmap.draw(cells.grids(build(losses, others=0))[0])  # type: ignore[arg-type]


def size(svg: str) -> tuple[float, float]:
    root = ET.fromstring(svg)
    return float(root.attrib["width"].removesuffix("pt")), float(root.attrib["height"].removesuffix("pt"))


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2.2."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("light", [0, 1], ids=["day", "night"])
def test_text_is_legible_on_every_colour(light: int) -> None:
    assert min(contrast(pair[light], drawing.INK[light]) for pair in heatmap.COLOURS) >= 4.5


def test_colours_run_from_blue_over_the_page_to_orange_and_mean_nothing_else() -> None:
    days = [day for day, _ in heatmap.COLOURS]
    assert len(set(days)) == len(days) == 21
    assert heatmap.COLOURS[10] == ("#ffffff", "#14171a")
    assert days[0] == "#5b9bd8"
    assert days[-1] == "#ef8f3a"
    others = {drawing.INK[0], drawing.FAINT[0], drawing.BAND[0], drawing.TINT[0], *(it.light for it in MARKS.values())}
    assert not others & set(days)


@pytest.mark.parametrize("value", [0.004, 0.3, 2.0, 5.0])
def test_gains_and_losses_of_one_size_are_equally_far_from_zero(value: float) -> None:
    assert heatmap.shade(value, 5.0) - 10 == 10 - heatmap.shade(-value, 5.0) > 0


def test_every_cell_has_its_number_and_every_line_its_mean(corrupted: Evidence) -> None:
    grid = cells.grids(corrupted)[0]
    told = texts(heatmap.draw(grid))
    assert [word for word in told if word in {line.name for line in grid.lines}] == [line.name for line in grid.lines]
    for point in grid.points:
        assert point.value is None or point.words.split(" ")[0] in told
    assert told.count("–") == 2
    assert {"severity", *"12345", "mean", "−5.67", "5.67\N{NO-BREAK SPACE}points lost"} <= set(told)


def test_a_colour_stands_for_a_value_in_the_dark_too() -> None:
    svg = drawn(loss("fog", 1, 2.0), loss("fog", 2, -2.0), loss("fog", 3, 0.0))
    for day, night in (heatmap.COLOURS[place] for place in (0, 10, 20)):
        assert f"fill: {day}" in svg
        assert f'[style*="fill: {day}"]{{fill:{night}!important}}' in svg


def hatched(svg: str) -> int:
    return len(re.findall(rf'style="[^"]*stroke: {MARKS["FAIL"].light}', svg))


def test_only_what_failed_is_hatched_and_the_key_names_the_marks() -> None:
    broken, passed = drawn(loss("fog", 1, 9.0), loss("fog", 2, 0.1)), drawn(loss("fog", 1, 0.1))
    assert hatched(broken) > 10
    assert hatched(passed) == 0
    assert "FAIL" in texts(broken)
    assert not {"FAIL", "PASS", "not measured"} & set(texts(passed))


def test_other_verdicts_are_marked_and_named(corrupted: Evidence) -> None:
    told = texts(heatmap.draw(cells.grids(corrupted)[0]))
    assert {"FAIL", "NOT EVALUATED", "COND. FAIL", "COND. PASS", "not applicable", "not measured"} <= set(told)
    assert "PASS" not in told


def test_a_waived_criterion_that_failed_is_still_hatched() -> None:
    waived = loss("fog", 1, 9.0).model_copy(update={"required": False})
    assert hatched(drawn(waived)) > 10


def test_all_corruptions_fit_a_page_at_any_number_of_severities() -> None:
    for count in range(1, 6):
        svg = drawn(*(loss(name, severity, 1.0) for name in CORRUPTIONS for severity in SEVERITIES[:count]))
        width, height = size(svg)
        assert width == pytest.approx(drawing.WIDTH * 72)
        assert height < 0.6 * PAGE
        assert {name.replace("_", " ") for name in CORRUPTIONS} <= set(texts(svg))


def test_one_severity_stands_in_two_blocks() -> None:
    svg = drawn(*(loss(name, 3, 1.0) for name in CORRUPTIONS))
    assert texts(svg).count("corruption") == 2
    assert "mean" not in texts(svg)


def test_very_many_cells_are_cut_to_the_page() -> None:
    svg = drawn(*(loss(f"kind{number:02}", severity, 1.0) for number in range(40) for severity in range(1, 13)))
    told = texts(svg)
    assert sum(word.startswith("kind") for word in told) == heatmap.MOST_LINES
    assert "11" in told
    assert "12" not in told
    assert size(svg)[1] < 0.75 * PAGE


def test_nothing_measured_draws_empty_cells_and_no_scale() -> None:
    told = texts(drawn(loss("fog", 1, None, reason="failed")))
    assert {"–", "NOT EVALUATED", "not measured"} <= set(told)
    assert not any("lost" in word for word in told)


def test_hostile_names_are_cut_to_their_column_and_stay_text() -> None:
    svg = drawn(loss(HOSTILE.replace(",", "").replace("=", ""), 1, 1.0))
    assert "<script" not in svg
    assert max(map(len, texts(svg))) < 40


def test_what_the_font_lacks_of_a_heading_is_a_box(corrupted: Evidence) -> None:
    grid = cells.grids(corrupted)[0]
    named = dataclasses.replace(grid, severities=("\N{CJK UNIFIED IDEOGRAPH-96E8}", *grid.severities[1:]))
    assert "□" in texts(heatmap.draw(named))


def test_equal_cells_give_equal_bytes(corrupted: Evidence) -> None:
    assert heatmap.draw(cells.grids(corrupted)[0]) == heatmap.draw(cells.grids(corrupted.model_copy(deep=True))[0])
