"""Whence the gradients of a model are, as the certificate prints it."""

from audit.records import GradientsRecord
from audit.report import numbers

_WHENCE = {"torch": "of the module itself", "converted": "of the file, converted to torch"}


def told(record: GradientsRecord | None) -> str:
    """One line: whence they are and how well they fit the model, or why it has none."""
    if record is None:
        return "not asked for"
    if record.why:
        return f"{'gradient-free' if record.how == 'none' else 'dead gradients'}: {record.why}"
    found = f"within {record.deviation:.1e} of the largest output" if record.deviation else "no difference in outputs"
    return f"{_WHENCE[record.how]}; checked on {numbers.count(record.items)} items, {found}"
