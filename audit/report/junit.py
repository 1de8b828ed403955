"""The verdicts as JUnit XML, which every CI system displays."""

import xml.etree.ElementTree as ET

from audit.evidence import Evidence
from audit.report import sentences
from audit.report.rows import Part, Row, clean
from audit.report.view import certificate_number, issued, results

SUITE = "prune-audit"


def render(evidence: Evidence) -> str:
    """One test case per criterion and one for the whole; only what the policy accepts is green.

    FAIL, and a conditional verdict that the policy does not accept, is a failure; NOT EVALUATED is an error,
    never a skip, because CI systems show skipped tests as harmless. Advisory and waived criteria never fail;
    what does not apply is skipped.
    """
    found = results(evidence)
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name=SUITE)
    _properties(suite, evidence)
    for row in found.rows:
        _criterion(suite, row, evidence.body.policy.accept)
    if not found.required:
        case = ET.SubElement(suite, "testcase", classname=SUITE, name="required criteria")
        _outcome(case, "error", "NOT EVALUATED", "no required criterion was decided", sentences.NO_CRITERION)
    _overall(suite, evidence)
    tally = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    for element in (root, suite):
        element.attrib.update({name: str(number) for name, number in tally.items()})
    suite.set("time", f"{sum(evidence.run.seconds.values()):.3f}")
    suite.set("timestamp", issued(evidence).isoformat())
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _properties(suite: ET.Element, evidence: Evidence) -> None:
    body = evidence.body
    values = {
        "certificate.id": evidence.id,
        "certificate.number": certificate_number(evidence),
        **{f"{model.role}.sha256": model.sha256 for model in body.models},
        **{f"data.{data.role}.sha256": data.sha256 for data in body.data},
        "policy.id": body.policy.id,
        "policy.sha256": body.policy.sha256,
        "verdict": body.verdict.overall,
        "accepted": str(body.verdict.accepted).lower(),
        "exploratory": str(body.verdict.exploratory).lower(),
    }
    values |= {f"waived.{row.number}": sentences.waived(row) for row in results(evidence).waived}
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=clean(value))


def _criterion(suite: ET.Element, row: Row, accept: tuple[str, ...]) -> None:
    record = row.record
    check = record.claim.partition("@")[0].partition(".")[0]
    case = ET.SubElement(suite, "testcase", classname=f"{SUITE}.{clean(check)}", name=clean(record.claim))
    text = "\n".join((row.sentence, *sentences.notes(row)))
    if row.part is Part.INAPPLICABLE:
        ET.SubElement(case, "skipped", message=row.sentence).text = text
    elif row.part is not Part.REQUIRED:
        ET.SubElement(case, "system-out").text = f"{row.part.value}: {record.verdict}\n{text}"
    elif record.verdict == "NOT EVALUATED":
        _outcome(case, "error", record.verdict, row.sentence, text)
    elif record.verdict == "FAIL" or record.verdict not in accept:
        _outcome(case, "failure", record.verdict, row.sentence, text)
    else:
        ET.SubElement(case, "system-out").text = f"{record.verdict}\n{text}"


def _overall(suite: ET.Element, evidence: Evidence) -> None:
    verdict = evidence.body.verdict
    statement = sentences.conformity(evidence, results(evidence))
    case = ET.SubElement(suite, "testcase", classname=SUITE, name="overall")
    if verdict.accepted:
        ET.SubElement(case, "system-out").text = f"{verdict.overall}\n{statement}"
    else:
        tag = "error" if verdict.overall == "NOT EVALUATED" else "failure"
        _outcome(case, tag, verdict.overall, statement, statement)


def _outcome(case: ET.Element, tag: str, verdict: str, message: str, text: str) -> None:
    ET.SubElement(case, tag, type=verdict, message=message).text = text
