"""The figure: well-formed, deterministic, and complete at its edges."""

import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.font_manager import get_font
from report_samples import HOSTILE, WITHIN, build, decision, many

import audit
from audit.evidence import Evidence
from audit.report import plots, templates
from audit.report.rows import MARKS
from audit.report.sentences import FIRST_PARTY, UNSIGNED

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def test_equal_evidence_gives_equal_bytes_whatever_the_settings(forty: Evidence) -> None:
    once = plots.forest(forty)
    settings = {"svg.hashsalt": "other", "svg.fonttype": "path", "font.size": 30}
    with mpl.rc_context(settings):
        assert plots.forest(forty) == once
        assert mpl.rcParams["svg.hashsalt"] == "other"


@pytest.mark.parametrize("count", [1, 2, 20, plots.MOST_ROWS])
def test_every_criterion_has_a_line(count: int) -> None:
    words = texts(plots.forest(build(many(count), others=0)))
    assert sum(word.startswith("Accuracy drop, ") for word in words) == count
    assert {str(number) for number in range(1, count + 1)} <= set(words)


def test_too_many_criteria_are_cut_and_never_taller_than_a_page() -> None:
    rows = tuple(decision(f"a.b@i={i}", f"Criterion {i}", 5.0, 1.0) for i in range(plots.MOST_ROWS + 15))
    svg = plots.forest(build(rows, others=0))
    assert sum(word.startswith("Criterion ") for word in texts(svg)) == plots.MOST_ROWS
    height = float(ET.fromstring(svg).attrib["height"].removesuffix("pt"))
    assert height < 255 / 25.4 * 72 - 60


def test_a_result_without_place_is_labelled_and_hollow(missing: Evidence) -> None:
    svg = plots.forest(missing)
    assert "NOT EVALUATED" in texts(svg)
    assert "stroke-dasharray" in svg


def test_exact_values_draw_without_whiskers_and_warnings() -> None:
    rows = (decision("i.a", "kept", 0.1, 0.0, 0.0), decision("i.b", "at the limit", 0.1, 0.1, 0.0),
            decision("i.c", "broken", 0.1, 4.0, 0.0))  # fmt: skip
    assert {"+0.10", "0.00", "−3.90"} <= set(texts(plots.forest(build(rows, others=0))))


def test_nothing_decided_draws_an_empty_axis(empty: Evidence) -> None:
    assert "criterion" in texts(plots.forest(empty))


def test_hostile_titles_are_cut_to_the_column_and_stay_text(hostile: Evidence) -> None:
    svg = plots.forest(hostile)
    assert "<script" not in svg
    title = next(word for word in texts(svg) if word.startswith("<script>"))
    assert "…" in title
    assert title.endswith("www")
    assert len(title) < len(HOSTILE)
    characters = build((decision("a.b", "类别 $x^2$ 猫", 1.0, 0.1),), others=0)
    assert "□□ $x^2$ □" in texts(plots.forest(characters))


def test_advisory_criteria_say_so() -> None:
    rows = (*WITHIN, decision("a.b", "t" * 90, 1.0, 0.1, required=False))
    assert any("…" in word and word.endswith("t (advisory)") for word in texts(plots.forest(build(rows))))


def test_the_font_has_every_sign_that_the_project_prints() -> None:
    root = Path(audit.__file__).parent.parent
    ours = [*(root / "audit" / "report").glob("*.py"), *(root / "templates").glob("*.j2")]
    theirs = [*(root / "checks").rglob("*.py"), *(root / "audit" / "policies").glob("*.toml")]
    for path in (*ours, *theirs):
        printed = set(path.read_text(encoding="utf-8")) - {"\n"}
        assert {char for char in printed if ord(char) not in charmap("Regular")} == set(), path
    bold = "".join(f"{mark.glyph} {verdict}" for verdict, mark in MARKS.items()) + FIRST_PARTY + UNSIGNED
    assert {char for char in bold if ord(char) not in charmap("Bold")} == set()


def charmap(weight: str) -> dict[int, int]:
    return get_font(str(templates.FONTS[weight])).get_charmap()
