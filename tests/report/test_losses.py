"""Pruning loss and conversion loss, side by side on the page."""

import pytest
from noise_samples import noisy
from report_samples import WITHIN, build
from test_html import Page

from audit import evidence as ev
from audit import grounds
from audit.report import html, losses


def record(claim: str, estimate: float | None, unit: str, better: str = "at_most") -> ev.FindingRecord:
    bounds = {} if estimate is None else {"lower": estimate - 0.25, "upper": estimate + 0.5}
    missing = None if estimate is not None else "non-finite"
    return ev.FindingRecord.model_validate(
        {"claim": claim, "title": claim, "unit": unit, "better": better, "method": "exact", "n": 400,
         "estimate": estimate, "missing": missing, "detail": "no numbers" if missing else "", **bounds}
    )  # fmt: skip


def exported(*more: ev.FindingRecord, roles: tuple[str, ...] = ("origin",)) -> ev.Evidence:
    """An audit in which further models take part, with further findings."""
    plain = build(WITHIN, others=0)
    body, run = plain.body.model_dump(), plain.run.model_dump()
    reference = body["models"][0]
    body["models"] += tuple({**reference, "role": role, "sha256": f"{place + 10:x}bcd" * 16}
                            for place, role in enumerate(roles))  # fmt: skip
    body["findings"] += tuple(each.model_dump() for each in more)
    body["plan"]["claims"] = len(body["findings"])
    plan = ev.PlanRecord.model_validate(body["plan"])
    body["plan"]["sha256"] = grounds.plan_digest(plan, [each["claim"] for each in body["findings"]])
    run["names"] |= {role: f"{role}.pt" for role in roles}
    return ev.seal(ev.Body.model_validate(body), ev.Run.model_validate(run))


FOUND = (
    record("pruning.drop", 1.0, "points"), record("pruning.flips", 2.0, "%"),
    record("conversion.drop", 0.5, "points"), record("conversion.flips", None, "%"),
)  # fmt: skip


def test_each_step_has_its_loss() -> None:
    pruning, conversion, both = losses.steps(exported(*FOUND))
    assert (pruning.lost.split(), pruning.changed.split()) == (
        ["1.00", "points", "[0.75,", "1.50]"], ["2.00", "%", "[1.75,", "2.50]"],
    )  # fmt: skip
    assert (conversion.lost.split()[0], conversion.changed) == ("0.50", "not measured: no numbers")
    assert (both.lost.split()[:2], both.changed) == (["0.21", "points"], "not measured")


def test_an_agreement_is_told_by_its_contrary() -> None:
    agreed = record("functional.agreement", 97.0, "%", "at_least")
    evidence = exported(*FOUND)
    findings = tuple(each for each in evidence.body.findings if each.claim != "functional.agreement")
    changed = evidence.model_copy(update={"body": evidence.body.model_copy(update={"findings": (*findings, agreed)})})
    assert losses.steps(changed)[2].changed.split() == ["3.00", "%", "[2.50,", "3.25]"]


@pytest.mark.parametrize(("roles", "shown"), [(("origin",), True), (("baseline", "origin"), True), ((), False)])
def test_the_page_shows_them_where_an_origin_takes_part(roles: tuple[str, ...], shown: bool) -> None:
    page = Page(html.render(exported(*FOUND, roles=roles)))
    text = page.text
    assert ("Pruning loss and conversion loss" in text) is shown
    assert ("Conversion: origin to candidate0.50" in text) is shown
    assert ("the origin saw the test items as they are and nothing else" in text) is shown
    for role in roles:
        assert f"{role}.pt" in text
    (models, _) = (each for each in page.all("table") if "items" in str(each.get("class")))
    assert str(models["class"]).split() == ["items", *("three", "four")[: len(roles)]]


def test_a_page_with_an_origin_and_no_baseline_speaks_of_no_whiskers() -> None:
    evidence = noisy()
    assert "as do the whiskers of the baseline" in html.render(evidence)
    models = (*evidence.body.models[:2], evidence.body.models[2].model_copy(update={"role": "origin"}))
    other = evidence.model_copy(update={"body": evidence.body.model_copy(update={"models": models})})
    assert "as do the whiskers of the baseline" not in html.render(other)
