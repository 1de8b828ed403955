"""Where a loss comes from, as the certificate prints it: pruning, conversion, and both together."""

from dataclasses import dataclass

from audit.evidence import Evidence, FindingRecord
from audit.report import numbers
from audit.report.view import model


@dataclass(frozen=True, slots=True)
class Step:
    """From one network to the next: accuracy lost and decisions changed, each with its bounds or why there is none."""

    name: str
    lost: str
    changed: str


_STEPS = (
    ("Pruning: reference to origin", "pruning.drop", "pruning.flips"),
    ("Conversion: origin to candidate", "conversion.drop", "conversion.flips"),
    ("Together: reference to candidate", "accuracy.drop", "functional.agreement"),
)


def steps(evidence: Evidence) -> list[Step]:
    """The steps in their order; [] where no origin takes part."""
    if model(evidence, "origin") is None:
        return []
    found = {record.claim: record for record in evidence.body.findings}
    return [Step(name, _told(found.get(lost)), _told(found.get(changed))) for name, lost, changed in _STEPS]


def _told(record: FindingRecord | None) -> str:
    """Estimate and one-sided bounds; of an agreement those of its contrary."""
    if record is None:
        return "not measured"
    if record.estimate is None or record.lower is None or record.upper is None:
        return f"not measured: {record.detail or record.missing}"
    values = (record.estimate, record.lower, record.upper)
    if record.better == "at_least":
        values = (100 - record.estimate, 100 - record.upper, 100 - record.lower)
    estimate = numbers.measured(values[0], record.unit)
    return f"{numbers.with_unit(estimate, record.unit)} {numbers.bounds(*values[1:], record.unit)}"
