"""What a self-test found, and where it is kept: one file per installation, under the user's state folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit import digest, inputs, inventory, runtime, storage
from audit.digest import Json
from audit.errors import AuditError
from audit.records import Record, Sha256, Tool


class Entry(Record):
    """One pair: how its audit had to end, and how it did; texts that name no place, time or machine."""

    pair: str
    known: Literal["good", "bad"]
    expected: str
    found: str
    ok: bool


class Report(Record):
    """A whole self-test; its digest is what evidence names."""

    format: Literal["prune-audit/selftest/1"] = "prune-audit/selftest/1"
    tool: Tool
    packages: dict[str, str]
    pairs: tuple[Entry, ...]

    @property
    def passed(self) -> bool:
        """Whether there were pairs, and each ended as it had to."""
        return bool(self.pairs) and all(entry.ok and entry.found == entry.expected for entry in self.pairs)

    @property
    def sha256(self) -> str:
        return digest.of_json(self.model_dump(mode="json"))


class Stored(Record):
    """The file: a report and the digest that shows damage."""

    report: Report
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Result:
    """A finished self-test; `kept` says in a sentence what became of it."""

    report: Report
    kept: str

    @property
    def passed(self) -> bool:
        return self.report.passed

    def summary(self) -> dict[str, Json]:
        """What a script wants to know, as plain JSON values."""
        content = self.report.model_dump(mode="json")
        return {"passed": self.passed, "sha256": self.report.sha256, "kept": self.kept, **content}

    def lines(self) -> Iterator[str]:
        """What a person wants to know: a line per pair, more where it failed, and the whole."""
        for entry in self.report.pairs:
            yield f"{'ok    ' if entry.ok else 'FAILED'}  known {entry.known:<4}  {entry.pair}: {entry.expected}"
            if not entry.ok:
                yield f"        but found: {entry.found}"
        right = sum(entry.ok for entry in self.report.pairs)
        yield f"{right} of {len(self.report.pairs)} pairs ended as they must: {'passed' if self.passed else 'FAILED'}"
        yield f"digest {self.report.sha256}"
        yield self.kept


def latest() -> str | None:
    """Digest of the stored self-test of exactly these sources and packages; None where none is intact and passed."""
    tool, packages = inventory.tool(), runtime.packages()
    try:
        path = _path(tool, packages)
        inputs.regular(path, "")
        stored = Stored.model_validate_json(path.read_bytes())
    except (AuditError, OSError, RuntimeError, ValueError):  # whatever is there, it is no self-test
        return None
    report = stored.report
    same = (report.tool, report.packages) == (tool, packages) and report.sha256 == stored.sha256
    return stored.sha256 if same and report.passed else None


def keep(entries: Sequence[Entry]) -> Result:
    """The result of a self-test: stored where it passed; otherwise an earlier one is removed.

    A result that cannot be stored is none the worse, and says so; raises AuditError where one cannot be removed.
    """
    report = Report(tool=inventory.tool(), packages=runtime.packages(), pairs=tuple(entries))
    try:
        path = _path(report.tool, report.packages)
        if report.passed:
            content = Stored(report=report, sha256=report.sha256).model_dump(mode="json")
            storage.write_atomic(path, digest.canonical(content))
    except (AuditError, RuntimeError) as error:
        return Result(report, f"not stored, so no certificate names it: {_what(error)}")
    if report.passed:
        return Result(report, f"stored as {path}: later certificates of this installation name it")
    _remove(path)
    return Result(report, "nothing is stored: no certificate of this installation names a self-test")


def _path(tool: Tool, packages: Mapping[str, str]) -> Path:
    """Where the self-test of an installation lies; raises RuntimeError for a user without a home.

    By the XDG Base Directory Specification 0.8 a relative XDG_STATE_HOME counts as none.
    """
    stated = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = stated if stated.is_absolute() else Path.home() / ".local" / "state"
    name = digest.of_json({"sources": tool.sources_sha256, "packages": dict(packages)})
    return state / "prune-audit" / f"selftest-{name}.json"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise AuditError(
            f"{path}: an earlier self-test passed, this one failed, and the file cannot be removed ({error.strerror})",
            "Remove it by hand: certificates would go on naming it.",
        ) from error


def _what(error: Exception) -> str:
    return error.what if isinstance(error, AuditError) else str(error)
