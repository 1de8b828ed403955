"""What is left out of the overall verdict, or may settle it, is said in every form."""

import xml.etree.ElementTree as ET

import pytest
from noise_samples import WAIVER
from report_samples import WITHIN, build, decision

from audit import console
from audit.evidence import DecisionRecord, Evidence, MoreItems
from audit.report import html, junit, markdown, sentences
from audit.report.rows import Row
from audit.report.view import results

WAIVED = f"waived until 2026-03-31 by Release board: {WAIVER.reason}"
FORECAST = "At the observed rates about 48,000 items in all would give an 80\N{NO-BREAK SPACE}% chance of PASS"


def forecast(**more: object) -> str:
    record = decision("a.b", "t", 1.0, 0.9).model_copy(update={"more_items": MoreItems.model_validate(more)})
    return sentences.forecast(Row(1, record)).replace("\N{NO-BREAK SPACE}", " ")


def test_forecasts_say_no_more_than_they_know() -> None:
    start = "At the observed rates "
    end = " items in all would give an 80 % chance of PASS"
    assert forecast(hopeless=False, about=8123, low=2534, high=99_999) == (
        f"{start}about 8,100{end}; plausible: 2,500 to 100,000."
    )
    assert forecast(hopeless=False, about=8123, low=2534).endswith("plausible: 2,500 to more than a million.")
    assert forecast(hopeless=False) == f"{start}more than a million{end}."
    assert forecast(hopeless=True) == "More items are not expected to help: the estimate is beyond the limit."
    assert sentences.forecast(Row(1, WITHIN[0])) == ""


def test_near_ties_name_both_p_values(noisy: Evidence) -> None:
    row = next(row for row in results(noisy).rows if row.record.reason == "near-ties")
    (note,) = sentences.notes(row)
    assert "p = 0.027" in note
    assert "p = 0.072" in note


def test_the_headline_counts_what_the_verdict_leaves_out(noisy: Evidence) -> None:
    assert sentences.headline(noisy, results(noisy)).endswith("Left out of the verdict: 1 waived.")
    text = sentences.guarantee(noisy, results(noisy))
    assert "all required criteria that are not left out (1 waived)" in text


def test_a_pass_with_a_waiver_says_so() -> None:
    waived = decision(WAIVER.claim, "Drop", 2.0, 3.9, 0.3).model_copy(update={"waiver": WAIVER.id})
    evidence = build((*WITHIN, waived), waivers=(WAIVER,))
    found = results(evidence)
    assert evidence.body.verdict.overall == "PASS"
    assert sentences.conformity(evidence, found).endswith("meets policy standard/1, with 1 required criterion waived.")
    text = html.render(evidence)
    assert text.index("WITH WAIVERS.") < text.index("Statement of conformity")
    assert "NOT FOR RELEASE" not in text
    assert WAIVED in text[: text.index("Statement of conformity")]


def test_required_criteria_that_do_not_apply_are_counted() -> None:
    held = decision("accuracy.drop@level=16/255,noise=uniform", "Drop", 2.0, None, reason="reference-floor")
    remaining = WITHIN[0].model_copy(update={"claim": "accuracy.drop@level=2/255,noise=uniform"})
    evidence = build((*WITHIN, remaining, held.model_copy(update={"applicable": False})))
    assert evidence.body.verdict.overall == "PASS"
    assert sentences.headline(evidence, results(evidence)) == (
        "8 of 8 required criteria: PASS. Left out of the verdict: 1 not applicable."
    )


def excused(*scopes: str) -> list[DecisionRecord]:
    """Required criteria that do not apply, for the reference fails there."""
    held = [decision(f"slices.accuracy_drop@{scope}", "Drop", 5.0, None, reason="reference-floor") for scope in scopes]
    return [each.model_copy(update={"applicable": False}) for each in held]


def headline(remaining: tuple[str, ...], *left_out: DecisionRecord) -> str:
    """That of an audit with these scopes among the criteria that count."""
    counting = [WITHIN[0].model_copy(update={"claim": f"slices.accuracy_drop@{scope}"}) for scope in remaining]
    evidence = build((*WITHIN, *counting, *left_out))
    return sentences.headline(evidence, results(evidence))


def test_what_applies_at_no_level_is_named_at_once() -> None:
    remaining = ("class=car", "class=car,level=2/255,noise=uniform")
    lost = excused("class=truck", "class=truck,level=2/255,noise=uniform", "class=car,level=4/255,noise=uniform")
    assert headline(remaining, *lost).endswith(
        "Left out of the verdict: 3 not applicable. Nowhere judged: class truck."
    )
    somewhere = (*remaining, "class=truck,corruption=fog,severity=1")
    assert headline(somewhere, *lost).endswith("Left out of the verdict: 3 not applicable.")


@pytest.mark.parametrize(("left", "lost", "said"), [
    ("level=1/255,norm=linf", "level=2/255,norm=l2", "norm l2"),
    ("score=energy,set=a", "score=energy,set=b", "set b"),
    ("shift=night", "shift=rain", "shift rain"),
])  # fmt: skip
def test_what_is_shown_is_named_whatever_it_is(left: str, lost: str, said: str) -> None:
    assert headline((left,), *excused(lost)).endswith(f"Nowhere judged: {said}.")


def test_a_slice_is_an_attribute_with_its_value() -> None:
    told = headline(
        ("attribute=weather,value=sun",), *excused("attribute=weather,value=rain", "attribute=site,value=sun")
    )
    assert told.endswith("Nowhere judged: attribute site, value sun, attribute weather, value rain.")


def test_names_give_no_commands_to_a_terminal() -> None:
    told = headline(("class=bus",), *excused("class=tr\x1b[31m\u202euck"))
    assert "Nowhere judged: class tr" in told and told.isprintable()


def test_parameters_are_no_conditions_and_numbers_stand_in_their_order() -> None:
    assert headline(("k=1",), *excused("k=5")).endswith("1 not applicable.")
    told = headline(("class=bus",), *excused("class=10", "class=2"))
    assert told.endswith("Nowhere judged: class 2, class 10.")


def test_page_one_names_three_of_many() -> None:
    told = headline(("class=bus",), *excused(*(f"class={name}" for name in ("car", "cat", "dog", "ship", "truck"))))
    assert told.endswith("Nowhere judged: class car, class cat, class dog and 2 more.")


@pytest.mark.parametrize("form", [html.render, markdown.render, junit.render])
def test_every_form_names_waivers_and_forecasts(form: object, noisy: Evidence) -> None:
    assert callable(form)
    text = form(noisy)
    assert WAIVED in text
    assert FORECAST in text
    assert "not expected to help" in text
    assert "not applicable" in text


def test_the_last_screen_names_them_too(noisy: Evidence, capsys: pytest.CaptureFixture[str]) -> None:
    console.last_screen(noisy, (), ())
    text = capsys.readouterr().err
    for part in (WAIVED, FORECAST, "FAIL, waived: Loss of accuracy, uniform noise ±8/255", "not applicable: 2"):
        assert part in text


def test_ci_sees_a_waiver_as_passed_and_what_does_not_apply_as_skipped(noisy: Evidence) -> None:
    suite = ET.fromstring(junit.render(noisy))[0]
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    waived = cases[WAIVER.claim]
    assert [child.tag for child in waived] == ["system-out"]
    assert (waived[0].text or "").startswith("waived: FAIL\n")
    skipped = [name for name, case in cases.items() if case.find("skipped") is not None]
    assert skipped == ["accuracy.drop@level=16/255,noise=gaussian", "accuracy.drop@level=16/255,noise=uniform"]
    assert suite.attrib["skipped"] == "2"
    properties = {node.attrib["name"]: node.attrib["value"] for node in suite.iter("property")}
    assert properties["waived.11"].endswith(WAIVED)


def test_the_page_tells_models_probes_settings_and_self_test(noisy: Evidence) -> None:
    text = html.render(noisy)
    settings = "[&#34;uniform&#34;, &#34;gaussian&#34;]"
    told = ("chosen by the policy", "passed (digest", "Inputs that all models saw", "<td>test, 4</td>", settings)
    for part in (">Baseline</th>", "Out-of-distribution data", *told):
        assert part in text
