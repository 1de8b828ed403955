"""Waivers: which criterion each is for, and whether it still counts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from audit.configuration import did_you_mean
from audit.errors import AuditError
from audit.evidence import CriterionRecord
from audit.policy.reading import Source
from audit.policy.standing import INTEGRITY


def problems(source: Source, criteria: Sequence[CriterionRecord], today: date) -> Iterator[AuditError]:
    """What is wrong with the waivers of a policy whose criteria, expanded, are these."""
    by_claim = {criterion.claim: criterion for criterion in criteria}
    waivers = [entry.record() for entry in source.file.waiver]
    for index, waiver in enumerate(waivers):
        where = f"{source.entry('waiver', index)}: waiver {waiver.id!r}"
        criterion = by_claim.get(waiver.claim)
        if criterion is None:
            yield AuditError(
                f"{where} names no criterion of this policy: {waiver.claim}",
                did_you_mean(waiver.claim, {claim for claim, other in by_claim.items() if not other.standing}),
            )
        elif criterion.standing or waiver.claim.startswith(INTEGRITY):
            yield AuditError(f"{where}: {waiver.claim} cannot be waived", "Remove the waiver, and mend the cause.")
        elif not criterion.required:
            yield AuditError(
                f"{where}: {waiver.claim} is advisory and needs no waiver",
                "Remove the waiver, or require the criterion.",
            )
        if source.file.waiver[index].expires < today:
            yield AuditError(f"{where} expired on {waiver.expires}", "Renew it, or remove it.")
    for name in ("id", "claim"):
        for value, times in Counter(getattr(waiver, name) for waiver in waivers).items():
            if times > 1:
                yield AuditError(f"{source.label}: two waivers have the {name} {value!r}", "Keep the one that counts.")
