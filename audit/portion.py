"""Partial runs: a part of the items, or of the checks, for a quick look; what comes of one is never accepted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from audit.configuration import did_you_mean
from audit.contracts import Check
from audit.data.sample import Sample
from audit.errors import AuditError
from audit.evidence import PartialRecord
from audit.subjects import Subjects


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

    @property
    def whole(self) -> bool:
        return self.limit is None and not self.only and not self.skip

    def record(self, checks: Sequence[Check], opened: Subjects) -> PartialRecord | None:
        """What is left out of an audit of these checks and subjects; None for a whole one.

        Raises AuditError for a check that there is not, and where none remains.
        """
        if self.whole:
            return None
        known = [check.name for check in checks]
        for name in (*self.only, *self.skip):
            if name not in known:
                raise AuditError(f"no check of this audit is named {name!r}", did_you_mean(name, set(known)))
        skipped = tuple(n for n in known if n in self.skip or (self.only and n not in self.only))
        if len(skipped) == len(known):
            raise AuditError("no check is left to run", "Skip fewer.")
        return PartialRecord(skipped=skipped, left_out=(*self._items(opened), *(f"check {name}" for name in skipped)))

    def of(self, opened: Subjects) -> Subjects:
        """The subjects with samples of their data, where there is a limit."""
        if self.limit is None:
            return opened
        return replace(opened, data={role: Sample(source, self.limit) for role, source in opened.data.items()})

    def _items(self, opened: Subjects) -> Iterator[str]:
        for role, source in opened.data.items():
            items = len(source.manifest.ids)
            if self.limit is not None:
                yield f"{items - min(self.limit, items)} of {items} items of the {role} data"


WHOLE = Portion()
"""The whole audit."""
