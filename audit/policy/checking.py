"""`policy check`: everything that is wrong with a policy, before an audit finds the first of it."""

from collections.abc import Iterator
from datetime import date

from audit.errors import AuditError
from audit.evidence import PolicyRecord
from audit.policy.explaining import Asks
from audit.policy.reading import Source
from audit.policy.resolving import resolve


def check(source: Source, ask: Asks, today: date | None = None) -> tuple[AuditError, ...]:
    """What would keep an audit by this policy from starting, or from ever passing; () for a valid policy.

    The checks are asked without an audit, about ten classes: a criterion on a class by its own name is known only
    to an audit, and listed here as one that names no claim.
    """
    try:
        asked = ask(source)
    except AuditError as error:
        return (error,)
    resolution = resolve(source, asked, None, today)
    return (*resolution.problems, *_undecided(source, resolution.record))


def _undecided(source: Source, policy: PolicyRecord) -> Iterator[AuditError]:
    """Why nothing about the two models would be decided."""
    own = [c for c in policy.criteria if c.required and c.of_pair and not c.standing]
    waived = {waiver.claim for waiver in policy.waivers}
    if not own:
        yield AuditError(
            f"{source.label}: no criterion about the candidate is required", "Require one: without it nothing passes."
        )
    elif all(criterion.claim in waived for criterion in own):
        yield AuditError(f"{source.label}: every required criterion is waived", "Keep one: without it nothing passes.")
