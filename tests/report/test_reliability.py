"""Confidence on the certificate: a line for each figure of both models, and the same values as drawn and in words."""

from collections.abc import Callable

from class_samples import added, finding, limited
from report_samples import HOSTILE, WITHIN, build
from test_classes import section_of
from test_html import Page, rendered

from audit.evidence import Evidence, FindingRecord
from audit.report import html, reliability

SPACE = "\N{NO-BREAK SPACE}"


def of(*found: FindingRecord, limits: tuple[object, ...] = ()) -> Evidence:
    return added(build((*WITHIN[:1], *limits), others=0), found)  # type: ignore[arg-type]


def told(evidence: Evidence) -> reliability.Confidence:
    section = reliability.told(evidence)
    assert section is not None
    return section


def test_there_is_no_section_without_a_figure_on_clean_data(passing: Evidence) -> None:
    assert reliability.told(passing) is None
    assert reliability.told(of(finding("calibration", "brier_increase", 0.1, noise="uniform", level="8/255"))) is None
    assert 'id="calibration"' not in rendered(passing)


def test_each_line_has_both_models_and_the_change_with_its_bounds_and_unit(confident: Evidence) -> None:
    lines = {line.title: line for line in told(confident).lines}
    brier = lines["Brier score"]
    assert brier.reference == f"0.0120 [0.0100,{SPACE}0.0140]"
    assert brier.candidate == f"0.0305 [0.0285,{SPACE}0.0325]"
    assert brier.change == f"0.0185 [0.0136,{SPACE}0.0234]"
    width = lines["Expected calibration error, bins of equal width"]
    assert (width.reference, width.candidate, width.change) == (
        f"1.50{SPACE}%", f"4.25{SPACE}%", f"2.75{SPACE}points",
    )  # fmt: skip
    assert lines["Area under the risk–coverage curve"].change == "–"
    assert lines["More errors let through, coverage 90 %, threshold: own"].change.startswith(f"0.60{SPACE}points [")


def test_lines_stand_in_their_order_and_know_their_criteria(confident: Evidence) -> None:
    lines = told(confident).lines
    assert [line.title.partition(",")[0] for line in lines] == [
        "Brier score", "Expected calibration error", "Rise of the expected calibration error",
        "Confidence in wrong answers", "More confident errors", "Area under the risk–coverage curve",
        "More errors let through",
    ]  # fmt: skip
    decided = {line.title: [(label, row.word) for label, row in line.criteria] for line in lines if line.criteria}
    assert decided == {
        "Brier score": [("", "CONDITIONAL PASS")],
        "More confident errors, from 90 % on": [("", "FAIL")],
    }
    assert not told(of(finding("calibration", "brier", 0.1, role="reference"))).decided


def test_a_limit_on_one_model_says_on_which() -> None:
    limit = limited("calibration", "brier", 0.1, 0.3, 0.01, role="candidate")
    (line,) = told(of(limits=(limit,))).lines
    assert [(label, row.word) for label, row in line.criteria] == [("Brier score, candidate", "FAIL")]


def test_a_limit_at_a_coverage_makes_a_line() -> None:
    limit = limited("calibration", "risk", 1.0, 3.0, 0.0, coverage="90", role="candidate")
    section = told(of(finding("calibration", "risk", 2.0, 0.0, coverage="80", role="candidate"), limits=(limit,)))
    (line,) = section.lines
    assert (line.title, line.candidate) == ("Errors at a coverage, coverage 90 %", f"3.00{SPACE}%")
    assert section.risks == (("80", ("–", "2.00")), ("90", ("–", "3.00")))


def test_scores_at_a_temperature_stand_here_too() -> None:
    found = [finding("calibration", "temperature", 1.5 + place, 0.0, role=role) for place, role in
             enumerate(("reference", "candidate"))]  # fmt: skip
    found += [finding("calibration", "brier_increase", 0.03, 0.01, temperature=whose) for whose in ("reference", "own")]
    lines = [(line.title, line.reference, line.candidate) for line in told(of(*found)).lines]
    assert [title for title, _, _ in lines] == [
        "Rise of the Brier score, temperature: own", "Rise of the Brier score, temperature: reference", "Temperature",
    ]  # fmt: skip
    assert lines[-1][1:] == ("1.5000", "2.5000")


def test_what_was_not_measured_says_why(confident: Evidence) -> None:
    notes = {line.title: line.notes for line in told(confident).lines if line.notes}
    assert notes == {
        "Rise of the expected calibration error, at most": ("150 items are too few",),
        "Confidence in wrong answers": ("the reference makes no error",),
    }
    assert "not measured: 150 items are too few" in Page(rendered(confident)).text


def test_only_bins_with_items_are_drawn_and_the_table_has_them_all(confident: Evidence) -> None:
    section = told(confident)
    reference, candidate = section.sides
    assert (len(reference.bins), len(candidate.bins), len(section.bins)) == (11, 10, 15)
    name, cells = section.bins[4]
    assert (name, cells) == ("05", ("3.81", "30.00", "30.00", "0.00", "–", "–"))
    assert [round(value, 2) for value in reference.bins[0]] == [3.81, 30.0, 30.0]


def test_coverages_rise_by_their_value(confident: Evidence) -> None:
    section = told(confident)
    assert [name for name, _ in section.risks] == [str(coverage) for coverage in range(5, 101, 5)]
    assert [coverage for coverage, _ in section.sides[1].risks] == [*range(5, 101, 5)]
    assert section.risks[-1] == ("100", ("4.00", "8.00"))
    assert section.described == (
        "Accuracy over confidence, and errors over coverage. Errors by coverage: the reference at 100 % 4.00 %, "
        "the candidate at 100 % 8.00 %. The tables below have every value."
    )


def test_without_bins_or_coverages_there_is_no_figure() -> None:
    evidence = of(finding("calibration", "brier", 0.1, role="reference"))
    assert told(evidence).sides == ()
    page = Page(html.render(evidence))
    assert "The values of these diagrams" not in page.text
    assert not [image for image in page.all("img") if "confidence" in str(image["alt"])]


def test_a_share_of_nothing_is_not_drawn() -> None:
    values = {"bin_share": 0.0, "bin_confidence": 50.0, "bin_accuracy": 50.0}
    found = [finding("calibration", metric, value, bin="01", role="candidate") for metric, value in values.items()]
    assert told(of(*found)).sides == ()


def test_what_stands_here_stands_in_no_other_list(confident: Evidence) -> None:
    text = rendered(confident)
    others = text[text.index('<h2 id="others">') :].partition("</section>")[0]
    assert "calibration.brier_increase@level=8/255,noise=uniform" in others
    assert others.count("calibration.") == 1


def test_hostile_scopes_stay_text() -> None:
    value = HOSTILE.replace(",", "").replace("=", "")
    text = section_of(html.render(of(finding("calibration", "ece", 1.0, bins=value, role="candidate"))), "calibration")
    assert "<script" not in text
    assert "{{7*7}}" in Page(text).text


def test_golden(confident: Evidence, golden: Callable[[str, str, Evidence], None]) -> None:
    golden("confidence.html", section_of(rendered(confident), "calibration"), confident)
