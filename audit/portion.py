"""Partial runs: a part of the items, or of the checks, for a quick look; what comes of one is never accepted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from audit.configuration import did_you_mean
from audit.contracts import Check
from audit.data.sample import Sample
from audit.errors import AuditError
from audit.evidence import PartialRecord
from audit.subjects import Subjects
from audit.types import role_of


@dataclass(frozen=True, slots=True)
class Portion:
    """At most `limit` items of every data set; `only` these checks, or all but those to `skip`.

    Nothing given is the whole audit. Anything given makes a partial run, even where it leaves nothing out.
    """

    limit: int | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise AuditError(f"--limit {self.limit} leaves no item", "Give a number from 1 on.")
        if self.only and self.skip:
            raise AuditError("both --only and --skip", "Say which checks to run, or which not.")

    def of(self, opened: Subjects, checks: Sequence[Check]) -> Subjects:
        """The subjects as a partial run sees them, marked as its own; unchanged for a whole audit.

        Raises AuditError for a check that is not among `checks`, and where none remains.
        """
        if self == WHOLE:
            return opened
        skipped = self._skipped([check.name for check in checks])
        left_out = (*self._items(opened), *(f"check {name}" for name in skipped))
        data = opened.data
        if self.limit is not None:
            data = {name: Sample(source, self.limit) for name, source in data.items()}
        return replace(opened, data=data, partial=PartialRecord(skipped=skipped, left_out=left_out))

    def _skipped(self, known: Sequence[str]) -> tuple[str, ...]:
        for name in (*self.only, *self.skip):
            if name not in known:
                raise AuditError(f"no check of this audit is named {name!r}", did_you_mean(name, set(known)))
        skipped = tuple(name for name in known if name in self.skip or (self.only and name not in self.only))
        if len(skipped) == len(known):
            raise AuditError("no check is left to run", "Skip fewer.")
        return skipped

    def _items(self, opened: Subjects) -> Iterator[str]:
        for role in dict.fromkeys(map(role_of, opened.data)):
            sets = [len(source.manifest.ids) for name, source in opened.data.items() if role_of(name) is role]
            left = sum(max(0, items - (self.limit or items)) for items in sets)
            if left:
                yield f"{left:,} of {sum(sets):,} items of the {role} data"


WHOLE = Portion()
"""The whole audit."""
