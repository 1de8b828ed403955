"""Slices on the certificate: which stand first, that nothing unmeasured looks harmless, that names stay apart."""

from collections.abc import Callable

from class_samples import added, finding, limited
from report_samples import HOSTILE, WITHIN, build
from slice_samples import ATTRIBUTES, Values, described, of_slice, scope, scope_of, under
from test_classes import SPACE, section_of
from test_html import Page, rendered

from audit.evidence import Evidence, FindingRecord
from audit.report import groups, html, slices

MANY: Values = {"rig": tuple(f"r{number:03}" for number in range(200))}


def of(*found: FindingRecord, limits: tuple[object, ...] = (), attributes: Values = ATTRIBUTES) -> Evidence:
    return added(described(build((*WITHIN[:1], *limits), others=0), attributes), found)  # type: ignore[arg-type]


def told(*found: FindingRecord, limits: tuple[object, ...] = (), attributes: Values = ATTRIBUTES) -> slices.Slices:
    section = slices.told(of(*found, limits=limits, attributes=attributes))
    assert section is not None
    return section


def losing(loss: float, **values: str) -> list[FindingRecord]:
    return of_slice(values, 90.0, 90.0 - loss)


def page_of(*found: FindingRecord) -> str:
    return Page(section_of(html.render(of(*found)), "slices")).text


def names(listed: groups.Listed) -> list[tuple[str, ...]]:
    return [line.names for line in listed.lines]


def test_there_is_no_section_without_slices(passing: Evidence) -> None:
    assert slices.told(passing) is None
    assert slices.told(of(finding("slices", "worst_drop", 1.0))) is None
    assert slices.told(of(under({"site": "north"}, 1.0, shift="night"))) is None
    assert 'id="slices"' not in rendered(passing)


def test_failed_slices_stand_first_then_those_not_evaluated_then_the_largest_losses() -> None:
    limits = (
        limited("slices", "accuracy_drop", 10.0, 1.0, **scope(site="north")),
        limited("slices", "negative_flips", 1.0, 9.0, **scope(site="south")),
        limited("slices", "accuracy", 5.0, None, role="candidate", **scope(weather="dry")),
    )
    section = told(*losing(1.0, site="north"), *losing(-1.0, site="south"), *losing(0.0, weather="dry"),
                   *losing(4.0, weather="rain"), *of_slice({"site": "depot"}, None, 0.0), limits=limits)  # fmt: skip
    assert names(section.clean) == [
        ("site", "south"), ("weather", "dry"), ("weather", "rain"), ("site", "north"), ("site", "depot"),
    ]  # fmt: skip
    words = [[(label, row.word) for label, row in line.criteria] for line in section.clean.lines]
    assert words[0] == [("Right before, wrong now", "FAIL")]
    assert words[1] == [("Accuracy in a slice, candidate", "NOT EVALUATED")]
    assert words[3] == [("", "PASS")]


def test_a_line_tells_both_models_and_the_loss_with_its_bounds() -> None:
    (line,) = told(*of_slice({"weather": "rain"}, 95.0, 61.0, n=1234)).clean.lines
    assert (line.names, line.items, line.criteria, line.notes) == (("weather", "rain"), "1,234", (), ())
    assert line.cells == ("95.00 → 61.00", f"34.00 [33.50,{SPACE}34.50]", "34.00")


def test_a_slice_without_items_says_so(sliced: Evidence) -> None:
    section = slices.told(sliced)
    assert section is not None
    empty = section.clean.lines[-1]
    assert (empty.names, empty.items, empty.cells) == (("weather", "snow, heavy"), "0", ("–", "–", "–"))
    assert "not measured: no item of these has attribute=weather,value=snow%2C heavy" in Page(rendered(sliced)).text


def test_names_print_as_their_owner_wrote_them_and_none_passes_for_another() -> None:
    attributes = {"a+b": ("x, y", "=*"), "a": ("b c", "x"), "a b": ("c",), "b": ("y",)}
    single = [{name: value} for name, values in attributes.items() for value in values]
    pairs = [{"a": "x", "b": "y"}, {"a+b": "x, y", "a": "x"}]
    found = [each for values in (*single, *pairs) for each in of_slice(values, 90.0, 89.0)]
    found += [under(values, 1.0, shift="night") for values in single]
    section = told(*found, attributes=attributes)
    assert section.pairs is not None
    assert section.conditions is not None
    assert names(section.clean) == [pair for values in single for pair in values.items()]
    assert names(section.pairs) == [("a", "b", "x", "y"), ("a+b", "a", "x, y", "x")]
    assert section.conditions.grid.severities == ("a+b = x, y", "a+b = =*", "a = b c", "a = x", "a b = c", "b = y")


def test_of_very_many_values_the_worst_are_listed_and_the_others_counted() -> None:
    limits = tuple(limited("slices", "accuracy_drop", 1.0, 9.0, **scope(rig=rig)) for rig in MANY["rig"][-45:])
    found = [each for number, rig in enumerate(MANY["rig"]) for each in losing(number % 7 / 2, rig=rig)]
    evidence = of(*found, limits=limits, attributes=MANY)
    section = slices.told(evidence)
    assert section is not None
    assert (len(section.clean.lines), section.clean.more, section.clean.more_blocked) == (40, 160, 5)
    text = Page(html.render(evidence)).text
    assert "160 more slices are in evidence.json alone; a criterion failed or was not evaluated in 5 of them." in text


def test_what_was_not_measured_of_the_listed_ones_alone_is_not_said_of_all() -> None:
    why = "the sensor had no label"
    gone = tuple(limited("slices", "accuracy_drop", 1.0, None, why=why, **scope(rig=rig)) for rig in MANY["rig"][:42])
    measured = [each for rig in MANY["rig"][42:50] for each in losing(5.0, rig=rig)]
    text = Page(html.render(of(*measured, limits=gone, attributes=MANY))).text
    assert "Not measured of any slice" not in text
    assert f"not measured: {why}" in text
    assert f"Not measured of any slice: {why}" in Page(html.render(of(limits=gone[:3], attributes=MANY))).text


def test_the_pairs_that_stand_worst_are_listed_and_the_others_and_the_small_ones_counted() -> None:
    pairs = [{"rig": rig, "site": "north"} for rig in MANY["rig"]]
    found = [each for place, values in enumerate(pairs) for each in of_slice(values, 90.0, 91.0 - place / 10)]
    found += [finding("slices", "small_crossings", count, 0.0, attribute=of_both)
              for of_both, count in (("rig+site", 1200.0), ("rig+weather", 34.0))]  # fmt: skip
    limits = tuple(limited("slices", "accuracy_drop", 1.0, 9.0, **scope_of(values)) for values in pairs[3:15])
    evidence = of(*losing(1.0, site="north"), *found, limits=limits, attributes={**ATTRIBUTES, **MANY})
    section = slices.told(evidence)
    assert section is not None
    assert section.pairs is not None
    assert names(section.pairs) == [("rig", "site", f"r{number:03}", "north") for number in range(3, 13)]
    assert (section.pairs.more, section.pairs.more_blocked, section.small) == (190, 2, 1234)
    assert "Pairs that have items, but too few to be looked at: 1,234." in Page(html.render(evidence)).text


def test_no_pair_that_lost_is_not_the_same_as_none_that_was_looked_at_or_measured() -> None:
    one, both = losing(1.0, site="north"), {"site": "north", "weather": "rain"}
    small = finding("slices", "small_crossings", 0.0, 0.0, attribute="site+weather")
    assert told(*one).pairs is None
    assert "Pairs of values" not in page_of(*one)
    alone = page_of(*one, small)
    assert "Pairs of values" in alone
    assert "no pair of values lost" not in alone
    assert "too few to be looked at: none." in alone
    assert "By the estimates no pair of values lost accuracy." in page_of(*one, small, *of_slice(both, 90.0, 90.0))
    gone = finding("slices", "accuracy_drop", None, why="the probe failed", **scope_of(both))
    unknown = finding("slices", "small_crossings", None, why="the probe failed", attribute="site+weather")
    text = page_of(*one, unknown, gone)
    assert "By the estimates no pair of values lost accuracy where it was measured." in text
    assert "Not measured of some of them: the probe failed" in text
    assert "too few to be looked at: not known." in text


def test_what_was_counted_stands_above_and_small_pairs_only_where_they_have_a_limit(sliced: Evidence) -> None:
    section = slices.told(sliced)
    assert section is not None
    assert [(it.claim, it.words, it.row and it.row.word) for it in section.overall] == [
        ("slices.worst_drop", f"8.50{SPACE}points", None),
        ("slices.small_crossings@attribute=site+weather", f"2{SPACE}items", "FAIL"),
    ]
    free = finding("slices", "small_crossings", 2.0, 0.0, attribute="site+weather")
    assert told(*losing(1.0, site="north"), free).overall == ()


def test_under_a_condition_each_slice_has_its_worst_level_what_failed_first(sliced: Evidence) -> None:
    section = slices.told(sliced)
    assert section is not None
    assert section.conditions is not None
    grid = section.conditions.grid
    assert [line.name for line in grid.lines] == ["fog", "noise uniform"]
    assert grid.severities == ("weather = rain", "weather = dry", "site = south", "site = north", "site = depot")
    assert [point and (point.value, point.text) for point in (line.cells[0] for line in grid.lines)] == [
        (12.0, "severity 3"), (3.0, "level 8/255"),
    ]  # fmt: skip
    assert [(it.name, it.condition) for it in section.conditions.worst[:2]] == [
        ("weather = rain", "corruption fog, severity 3"), ("weather = rain", "noise uniform, level 8/255"),
    ]  # fmt: skip


def test_the_map_says_how_much_of_it_is_drawn() -> None:
    found = [each for rig in MANY["rig"] for each in losing(0.0, rig=rig)]
    found += [under({"rig": rig}, number / 9 + kind, corruption=f"k{kind:02}", severity="1")
              for number, rig in enumerate(MANY["rig"]) for kind in range(30)]  # fmt: skip
    text = html.render(of(*found, attributes=MANY))
    assert "Drawn are what stands worst: 24 of 30 conditions and 11 of 200 slices." in Page(text).text
    assert len(text.encode()) < 1_000_000
    assert text.count("<tr") < 300
    assert f"All {len(found):,} findings of slices are in evidence.json" in Page(text).text


def test_nothing_unmeasured_reads_as_nothing_lost() -> None:
    why = "night is not labelled"
    gone = [under({"site": site}, None, why, shift="night") for site in ATTRIBUTES["site"]]
    text = page_of(*losing(0.0, site="north"), *gone)
    assert "By the estimates no slice lost accuracy under any condition under which it was measured." in text
    assert f"Not measured everywhere: {why}" in text
    unlabelled = [finding("slices", "accuracy_drop", None, why=why, **scope(site=site)) for site in ATTRIBUTES["site"]]
    assert page_of(*unlabelled).count(f"Not measured of any slice: {why}") == 1


def test_what_stands_here_stands_in_no_other_list(sliced: Evidence) -> None:
    text = rendered(sliced)
    others = text[text.index('<h2 id="others">') :].partition("</section>")[0]
    assert "slices.accuracy" not in others
    assert "and what evidence.json has of slices." in others
    both = added(sliced, [finding("per_class", "recall_drop", 1.0, **{"class": "cat"}), finding("noise", "ece", 1.0)])
    assert "; all of classes and of slices are in evidence.json. Bounds" in html.render(both)


def test_hostile_names_stay_text() -> None:
    attributes: Values = {HOSTILE: (HOSTILE, "\u202e" * 60), "b": (HOSTILE,)}
    single = [{name: value} for name, values in attributes.items() for value in values]
    found = [each for values in (*single, {HOSTILE: HOSTILE, "b": HOSTILE}) for each in of_slice(values, 90.0, 80.0)]
    text = html.render(of(*found, *(under(values, 1.0, shift="night") for values in single), attributes=attributes))
    assert "<script" not in text
    assert not {"\u202e", "\x07"} & set(text)
    section = section_of(text, "slices")
    assert "<script>alert(1)</script>"[:20] in Page(section).text


def test_golden(sliced: Evidence, golden: Callable[[str, str, Evidence], None]) -> None:
    golden("slices.html", section_of(rendered(sliced), "slices"), sliced)
