"""Reliability diagrams and risk–coverage curves: both models told apart without colour, by day and by night."""

import re
import xml.etree.ElementTree as ET

import pytest

from audit.evidence import Evidence
from audit.report import diagrams, drawing, reliability
from audit.report.reliability import Side

SVG = "{http://www.w3.org/2000/svg}"
BINS = ((1.0, 40.0, 35.0), (99.0, 95.0, 90.0))
RISKS = ((50.0, 0.0), (100.0, 4.0))


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def drawn(evidence: Evidence) -> str:
    section = reliability.told(evidence)
    assert section is not None
    return diagrams.draw(section.sides)


def test_both_diagrams_stand_side_by_side_with_their_axes(confident: Evidence) -> None:
    told = texts(drawn(confident))
    assert {"Accuracy of the items in a bin, %", "Errors among the items that are accepted, %"} <= set(told)
    assert {"reference", "candidate", "as sure as right", "0", "20", "100", "8"} <= set(told)


def test_models_are_told_apart_by_shape_filling_and_line() -> None:
    reference, candidate = diagrams.LOOKS["reference"], diagrams.LOOKS["candidate"]
    for way in ("marker", "fillstyle", "linestyle"):
        assert reference[way] != candidate[way]
    alone = [diagrams.draw([Side(role, (), RISKS)]) for role in reliability.ROLES]
    assert ["stroke-dasharray" in svg for svg in alone] == [True, False]


def test_every_colour_has_one_for_the_night(confident: Evidence) -> None:
    svg = drawn(confident)
    used = set(re.findall(r'style="[^"]*?(?:fill|stroke): (#[0-9a-f]{6})', svg))
    assert used == {drawing.INK[0], drawing.FAINT[0]}
    for day, night in (drawing.INK, drawing.FAINT):
        assert f'[style*="stroke: {day}"]{{stroke:{night}!important}}' in svg


@pytest.mark.parametrize(
    ("sides", "there", "missing"),
    [
        (
            [Side("candidate", BINS, ())],
            "Accuracy of the items in a bin, %",
            "Errors among the items that are accepted, %",
        ),
        ([Side("candidate", (), RISKS)], "Errors among the items that are accepted, %", "as sure as right"),
        ([Side("reference", BINS, ()), Side("candidate", (), RISKS)], "as sure as right", "FAIL"),
        ([Side("candidate", BINS, RISKS)], "candidate", "reference"),
    ],
)
def test_what_is_missing_is_neither_drawn_nor_named(sides: list[Side], there: str, missing: str) -> None:
    told = texts(diagrams.draw(sides))
    assert there in told
    assert missing not in told


def test_no_error_anywhere_still_has_an_axis() -> None:
    assert "0" in texts(diagrams.draw([Side("candidate", (), ((50.0, 0.0), (100.0, 0.0)))]))


@pytest.mark.parametrize("share", [100.0, 1.0, 0.1, 1e-4])
def test_a_bin_of_any_share_has_its_place(share: float) -> None:
    told = texts(diagrams.draw([Side("candidate", ((share, 50.0, 50.0),), ())]))
    floor = min(float(word) for word in told if re.fullmatch(r"[\d.e-]+", word) and float(word) > 0)
    assert floor <= share


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no bin"):
        diagrams.draw([])


def test_equal_sides_give_equal_bytes(confident: Evidence) -> None:
    assert drawn(confident) == drawn(confident.model_copy(deep=True))
