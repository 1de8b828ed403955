"""Classes on the certificate: which stand first, that nothing unmeasured looks harmless, that the page stays small."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from class_samples import NAMES, added, finding, limited, of_class, under
from report_samples import HOSTILE, WITHIN, build
from test_html import Page, rendered

from audit.evidence import Evidence, FindingRecord
from audit.report import classes, drawing, groups, heatmap, html
from audit.types import scope_value

SPACE = "\N{NO-BREAK SPACE}"
SVG = "{http://www.w3.org/2000/svg}"
MARK = 5.6  # points


def of(*found: FindingRecord, limits: tuple[object, ...] = (), names: tuple[str, ...] = NAMES) -> Evidence:
    return added(build((*WITHIN[:1], *limits), others=0, classes=names), found)  # type: ignore[arg-type]


def told(*found: FindingRecord, limits: tuple[object, ...] = (), names: tuple[str, ...] = NAMES) -> classes.Classes:
    section = classes.told(of(*found, limits=limits, names=names))
    assert section is not None
    return section


def losing(name: str, loss: float) -> list[FindingRecord]:
    return of_class(name, 90.0, 90.0 - loss)


def section_of(text: str, name: str = "classes") -> str:
    """The part of the page that a golden compares; figures are for eyes."""
    start = text.index(f'<section aria-labelledby="{name}">')
    return re.sub(r"base64,[\w+/=]+", "base64,", text[start : text.index("</section>", start) + len("</section>")])


def test_there_is_no_section_without_classes(passing: Evidence) -> None:
    assert classes.told(passing) is None
    assert classes.told(of(finding("per_class", "worst_recall_drop", 1.0))) is None
    assert classes.told(of(*under("cat", 1.0, shift="night"))) is None
    assert 'id="classes"' not in rendered(passing)


def test_failed_classes_stand_first_then_those_not_evaluated_then_the_largest_losses() -> None:
    limits = (
        limited("per_class", "recall_drop", 10.0, 1.0, **{"class": "frog"}),
        limited("per_class", "negative_flips", 1.0, 9.0, **{"class": "ship"}),
        limited("per_class", "precision", 5.0, None, role="candidate", **{"class": "dog"}),
    )
    found = [each for name, loss in (("cat", 4.0), ("dog", 0.0), ("frog", 1.0), ("ship", -1.0), ("deer", 2.0))
             for each in losing(name, loss)]  # fmt: skip
    section = told(*found, *of_class("truck", None, 0.0), limits=limits)
    assert [line.names[0] for line in section.clean.lines] == ["ship", "dog", "cat", "deer", "frog", "truck"]
    words = [[(label, row.word) for label, row in line.criteria] for line in section.clean.lines]
    assert words[0] == [("Right before, wrong now", "FAIL")]
    assert words[1] == [("Precision, candidate", "NOT EVALUATED")]
    assert words[4] == [("", "PASS")]


def test_a_line_tells_both_models_and_the_loss_with_its_bounds() -> None:
    (line,) = told(*of_class("cat", 95.0, 61.0, n=1234)).clean.lines
    assert (line.names, line.items, line.criteria, line.notes) == (("cat",), "1,234", (), ())
    assert line.cells == ("95.00 → 61.00", f"34.00 [33.50,{SPACE}34.50]", "98.50 → 97.50", "34.00", "0.25")


def test_a_class_without_items_says_so_by_its_name(classed: Evidence) -> None:
    section = classes.told(classed)
    assert section is not None
    truck = section.clean.lines[1]
    assert (truck.names, truck.items, truck.cells[:2]) == (("truck",), "0", ("–", "–"))
    assert truck.notes == ("there is no item of class 'truck'",)
    assert "not measured: there is no item of class 'truck'" in Page(rendered(classed)).text


def test_what_was_measured_of_no_class_is_said_once() -> None:
    why = {"why": "the test set is not labelled", "reason": "unlabelled"}
    found = [finding("per_class", "recall_drop", None, **why, **{"class": name}) for name in NAMES]
    section = told(*found, finding("per_class", "worst_recall_drop", None, **why))
    assert {line.items for line in section.clean.lines} == {"–"}
    assert [line.notes for line in section.clean.lines] == [()] * len(NAMES)
    assert section.clean.notes == ("the test set is not labelled",)
    assert [it.words for it in section.overall] == ["not measured: the test set is not labelled"]


def test_of_very_many_classes_the_worst_are_listed_and_the_others_counted() -> None:
    names = tuple(f"class-{number}" for number in range(1000))
    limits = tuple(limited("per_class", "recall_drop", 1.0, 9.0, **{"class": name}) for name in names[-45:])
    found = [each for number, name in enumerate(names) for each in losing(name, number % 7 / 2)]
    evidence = of(*found, limits=limits, names=names)
    section = classes.told(evidence)
    assert section is not None
    assert (len(section.clean.lines), section.clean.more, section.clean.more_blocked) == (40, 960, 5)
    text = Page(html.render(evidence)).text
    assert "960 more classes are in evidence.json alone; a criterion failed or was not evaluated in 5 of them" in text


def test_names_print_as_their_owner_wrote_them_and_long_ones_without_their_middle() -> None:
    names = ("stop, all = 4 ways", "x" * 100 + "1", "x" * 100 + "2")
    section = told(*(each for name in names for each in losing(name, 1.0)), names=names)
    assert [line.names[0] for line in section.clean.lines] == [
        names[0],
        *(f"{'x' * 24}…{'x' * 22}{end}" for end in "12"),
    ]


def test_the_largest_confusions_that_grew_and_all_that_the_policy_names() -> None:
    found = [finding("per_class", "confusion_increase", place - 4.0, named=name, **{"class": "cat"})
             for place, name in enumerate(NAMES) if name != "cat"]  # fmt: skip
    found += [finding("per_class", "confusion_increase", 0.5 + place, named=name, **{"class": "dog"})
              for place, name in enumerate(NAMES) if name != "dog"]  # fmt: skip
    stated = finding("per_class", "confusion", 2.0, named="plane", **{"class": "cat"})
    limit = limited("per_class", "confusion", 1.0, 7.0, named="car", **{"class": "cat"})
    section = told(*losing("cat", 0.0), *found, stated, limits=(limit,))
    assert section.confusions is not None
    pairs = [(it.name, it.named) for it in section.confusions]
    assert pairs[0] == ("cat", "car")
    assert [(label, row.word) for label, row in section.confusions[0].criteria] == [("", "FAIL")]
    assert pairs[1:4] == [("dog", "truck"), ("dog", "ship"), ("dog", "horse")]
    assert pairs[-1] == ("cat", "plane")
    assert len(pairs) == 2 + classes.MOST_CONFUSIONS


def test_a_named_confusion_tells_where_it_grew_most(classed: Evidence) -> None:
    section = classes.told(classed)
    assert section is not None
    assert section.confusions is not None
    first, *others = section.confusions
    assert (first.name, first.named, first.elsewhere) == ("cat", "dog", "35.00 (corruption fog, severity 5)")
    assert {it.elsewhere for it in others} == {"–"}


def test_no_confusion_that_grew_is_not_the_same_as_none_that_was_looked_at() -> None:
    smaller = finding("per_class", "confusion_increase", 0.0, named="dog", **{"class": "cat"})
    assert told(*losing("cat", 1.0)).confusions is None
    assert told(*losing("cat", 1.0), smaller).confusions == ()
    assert "None, by the estimates." in Page(html.render(of(*losing("cat", 1.0), smaller))).text


def test_under_a_condition_each_class_has_its_worst_level_what_failed_first() -> None:
    noise = [each for level, loss in (("2/255", 1.0), ("8/255", 3.0), ("16/255", 2.0))
             for each in under("cat", loss, noise="uniform", level=level)]  # fmt: skip
    fog = [
        each for severity in (1, 2) for each in under("cat", 9.0 - severity, corruption="fog", severity=str(severity))
    ]
    limits = (
        limited("per_class", "recall_drop", 1.0, 7.0, corruption="fog", severity="2", **{"class": "cat"}),
        limited("per_class", "recall_drop", 9.0, None, why="the probe failed", shift="night", **{"class": "cat"}),
    )
    conditions = told(*losing("cat", 0.0), *noise, *fog, *under("dog", 0.5, shift="night"), limits=limits).conditions
    assert conditions is not None
    grid = conditions.grid
    assert [line.name for line in grid.lines] == ["fog", "noise uniform", "shift night"]
    assert grid.severities == ("cat", "dog")
    cat = [line.cells[0] for line in grid.lines]
    assert [(point.value, point.text) for point in cat if point] == [
        (7.0, "severity 2"),
        (3.0, "level 8/255"),
        (None, ""),
    ]
    assert [line.cells[1] is None for line in grid.lines] == [True, True, False]
    assert [(it.name, it.condition) for it in conditions.worst] == [
        ("cat", "corruption fog, severity 2"),
        ("cat", "shift night"),
        ("cat", "noise uniform, level 8/255"),
        ("dog", "shift night"),
    ]
    assert conditions.notes == ("the probe failed",)


def test_the_map_shows_what_stands_worst_of_many_conditions_and_classes() -> None:
    names = tuple(f"c{number:02}" for number in range(30))
    found = [each for name in names for each in losing(name, 0.0)]
    found += [each for kind in range(30) for number, name in enumerate(names)
              for each in under(name, number + kind / 100, corruption=f"k{kind:02}", severity="1")]  # fmt: skip
    found += [finding("per_class", "worst_recall_drop", 29.0, 0.0, corruption=f"k{kind:02}", severity="1")
              for kind in range(30)]  # fmt: skip
    evidence = of(*found, names=names)
    section = classes.told(evidence)
    assert section is not None
    assert section.conditions is not None
    grid = section.conditions.grid
    assert grid.severities == ("any class", *reversed(names[-10:]))
    assert [line.name for line in grid.lines] == [f"k{kind:02}" for kind in range(6, 30)]
    assert len(section.conditions.worst) == groups.MOST_WORST
    assert "24 of 30 conditions and 10 of 30 classes" in Page(html.render(evidence)).text


def test_nothing_unmeasured_reads_as_nothing_lost() -> None:
    why = {"why": "night is not labelled", "reason": "unlabelled"}
    found = [finding("per_class", "recall_drop", None, shift="night", **why, **{"class": name}) for name in NAMES]
    text = Page(html.render(of(*losing("cat", 0.0), *found))).text
    assert "By the estimates no class lost recall under any condition under which it was measured." in text
    assert "Not measured everywhere: night is not labelled" in text


def test_long_names_stand_slanted_above_their_columns() -> None:
    names = ("pedestrian crossing", *(f"speed limit {number}" for number in range(10, 110, 10)))
    found = [each for name in names for each in (*losing(name, 0.0), *under(name, 1.0, shift="night"))]
    conditions = told(*found, names=names).conditions
    assert conditions is not None
    assert "rotate(-45" in heatmap.draw(conditions.grid, "condition", "class")
    short = told(
        *(each for name in NAMES for each in (*losing(name, 0.0), *under(name, 1.0, shift="night")))
    ).conditions
    assert short is not None
    assert "rotate(-45" not in heatmap.draw(short.grid, "condition", "class")


def test_a_mark_beside_a_number_never_covers_it() -> None:
    names = tuple(f"speed limit {number}" for number in range(10, 110, 10))
    failed = limited("per_class", "recall_drop", 9.0, 31.0, shift="night", **{"class": names[0]})
    found = [each for name in names for each in (*losing(name, 0.0), *under(name, 1.0, shift="night"))]
    conditions = told(*found, finding("per_class", "worst_recall_drop", 31.0, shift="night"), limits=(failed,),
                      names=names).conditions  # fmt: skip
    assert conditions is not None
    root = ET.fromstring(heatmap.draw(conditions.grid, "condition", "class"))
    number = [node for node in root.iter(f"{SVG}text") if node.text == "31.00"][-1]
    (mark,) = (
        float(node.attrib["x"])
        for node in root.iter(f"{SVG}use")
        if abs(float(node.attrib["y"]) - float(number.attrib["y"])) < MARK
    )
    assert mark - MARK / 2 > float(number.attrib["x"]) + drawing.width("31.00", 7.6) / 2


def test_what_stands_here_stands_in_no_other_list(classed: Evidence) -> None:
    text = rendered(classed)
    others = text[text.index('<h2 id="others">') :].partition("</section>")[0]
    assert "per_class.confusion_distance@level=8/255,noise=uniform" in others
    assert others.count("per_class.") == 1
    assert "all of classes are in evidence.json" in others


def test_a_hundred_conditions_of_ten_classes_keep_the_page_small() -> None:
    found = [each for name in NAMES for each in losing(name, 1.0)]
    found += [each for kind in range(20) for severity in range(1, 6) for place, name in enumerate(NAMES)
              for each in under(name, place / 3, corruption=f"kind{kind}", severity=str(severity))]  # fmt: skip
    found += [finding("per_class", metric, 3.0, 0.0, corruption=f"kind{kind}", severity=str(severity))
              for metric in ("worst_recall_drop", "confusion_distance")
              for kind in range(20) for severity in range(1, 6)]  # fmt: skip
    text = html.render(of(*found))
    assert len(text.encode()) < 1_000_000
    assert text.count("<tr") < 300
    assert f"All {len(found) - 100:,} findings of classes are in evidence.json" in Page(text).text


def test_hostile_names_stay_text() -> None:
    confused = finding("per_class", "confusion_increase", 1.0, named="cat", **{"class": scope_value(HOSTILE)})
    found = (*losing(HOSTILE, 1.0), *under(HOSTILE, 1.0, shift="night"), confused)
    text = html.render(of(*found, names=(HOSTILE, "cat")))
    assert "<script" not in text
    assert "\u202e" not in text
    assert "<script>alert(1)</script>"[:20] in Page(section_of(text)).text


def test_golden(classed: Evidence, golden: Callable[[str, str, Evidence], None]) -> None:
    golden("classes.html", section_of(rendered(classed)), classed)


@pytest.mark.parametrize("name", ["", "cat", "x" * 48, "x" * 49, "\u202e" * 60])
def test_no_name_is_longer_than_its_place(name: str) -> None:
    assert len(groups.short(name)) <= 48
    assert "\u202e" not in groups.short(name)
