"""JUnit XML: what CI counts as red is what the policy does not accept."""

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from report_samples import CONDITIONAL, WITHIN, build

from audit.evidence import Evidence
from audit.report import junit


def cases(evidence: Evidence) -> dict[str, ET.Element]:
    suite = ET.fromstring(junit.render(evidence))[0]
    found = {case.attrib["name"]: case for case in suite.findall("testcase")}
    assert len(found) == int(suite.attrib["tests"])
    for tag, tally in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        marked = sum(case.find(tag) is not None for case in found.values())
        assert marked == int(suite.attrib[tally])
    return found


def colour(case: ET.Element) -> str:
    tags = {child.tag for child in case}
    assert len(tags) == 1
    return tags.pop()


def test_one_case_per_criterion_and_one_for_the_whole(forty: Evidence) -> None:
    found = cases(forty)
    assert list(found) != sorted(found)
    assert set(found) == {record.claim for record in forty.body.decisions} | {"overall"}
    expected = {"FAIL": "failure", "CONDITIONAL FAIL": "failure", "CONDITIONAL PASS": "failure"}
    for record in forty.body.decisions:
        case = found[record.claim]
        advisory = "system-out" if not record.required else None
        unknown = "error" if record.verdict == "NOT EVALUATED" else "system-out"
        assert colour(case) == (advisory or expected.get(record.verdict, unknown))
        assert case.attrib["classname"] == f"prune-audit.{record.claim.split('.')[0]}"
    assert colour(found["overall"]) == "failure"


def test_passing_audit_is_green(passing: Evidence) -> None:
    assert {colour(case) for case in cases(passing).values()} == {"system-out"}


def test_accepted_conditional_verdict_is_green(conditional: Evidence) -> None:
    assert {colour(case) for case in cases(conditional).values()} == {"system-out"}
    strict = cases(build(WITHIN + CONDITIONAL[:1]))
    assert [name for name, case in strict.items() if colour(case) == "failure"] == [
        CONDITIONAL[0].claim,
        "overall",
    ]


def test_fail_is_red_even_where_a_policy_would_accept_it(failing: Evidence) -> None:
    policy = failing.body.policy.model_copy(update={"accept": ("PASS", "FAIL")})
    lenient = failing.model_copy(update={"body": failing.body.model_copy(update={"policy": policy})})
    assert colour(cases(lenient)["accuracy.drop@noise=uniform,level=8/255"]) == "failure"


def test_what_was_not_measured_is_an_error(missing: Evidence, empty: Evidence) -> None:
    found = cases(missing)
    assert colour(found["accuracy.drop@noise=uniform,level=16/255"]) == "error"
    assert colour(found["overall"]) == "error"
    assert {name: colour(case) for name, case in cases(empty).items()} == {
        "required criteria": "error",
        "overall": "error",
    }


def test_every_cell_is_a_case_and_what_failed_is_red(corrupted: Evidence) -> None:
    found = cases(corrupted)
    assert len(found) == len(corrupted.body.decisions) + 1
    red = [name for name, case in found.items() if case.find("failure[@type='FAIL']") is not None]
    assert red == [f"accuracy.drop@corruption=glass_blur,severity={severity}" for severity in (5, 4)] + ["overall"]
    assert colour(found["accuracy.drop@corruption=saturate,severity=2"]) == "error"
    assert colour(found["accuracy.drop@corruption=gaussian_noise,severity=5"]) == "skipped"


def test_exploratory_pass_is_red_as_a_whole(exploratory: Evidence) -> None:
    assert colour(cases(exploratory)["overall"]) == "failure"


def test_properties_identify_what_was_judged(failing: Evidence) -> None:
    suite = ET.fromstring(junit.render(failing))[0]
    values = {node.attrib["name"]: node.attrib["value"] for node in suite.iter("property")}
    assert values["certificate.id"] == failing.id
    assert values["candidate.sha256"] == failing.body.models[1].sha256
    assert values["reference.sha256"] == failing.body.models[0].sha256
    assert values["policy.sha256"] == failing.body.policy.sha256
    assert (values["verdict"], values["accepted"]) == ("FAIL", "false")


def test_hostile_strings_stay_data(hostile: Evidence) -> None:
    text = junit.render(hostile)
    assert "\x07" not in text
    assert "\u202e" not in text
    assert any("<script>" in name for name in cases(hostile))


@pytest.mark.parametrize("kind", ["failing", "missing", "empty", "noisy"])
def test_golden(kind: str, request: pytest.FixtureRequest, golden: Callable[[str, str, Evidence], None]) -> None:
    evidence = request.getfixturevalue(kind)
    golden(f"{kind}.xml", junit.render(evidence), evidence)
