"""Auditing a pair as a user would, and holding how that ended against how it must."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit import api
from audit.entries import Data, DataEntry
from audit.errors import AuditError, ExitCode, StorageError
from audit.evidence import Body
from audit.request import AuditFile, ModelEntry, PreprocessingEntry, ReferenceEntry
from audit.selftest.record import Entry
from audit.types import OutputKind

PROVEN = "PASS (proven-within-limit)"
BROKEN = "FAIL (proven-beyond-limit)"
"""How a criterion is decided, and so the whole: verdict and reason code."""


@dataclass(frozen=True)
class Materials:
    """What a pair's audit is about: two ONNX files, x [N, H, W, C] uint8, labels [N], and what the audit file says.

    `policy` is the text of a policy file, or the name of a built-in policy.
    """

    reference: bytes
    candidate: bytes
    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    policy: str
    outputs: OutputKind = OutputKind.AUTO
    preprocessing: PreprocessingEntry = field(default_factory=PreprocessingEntry)

    def write(self, folder: Path) -> AuditFile:
        """The files, and the audit file that names them."""
        for name, content in (("reference.onnx", self.reference), ("candidate.onnx", self.candidate)):
            (folder / name).write_bytes(content)
        np.savez(folder / "test.npz", x=self.x, y=self.y)
        policy = self.policy
        if "\n" in policy:
            policy = "policy.toml"
            (folder / policy).write_text(self.policy, encoding="utf-8")
        return AuditFile(
            policy=policy,
            reference=ReferenceEntry(model=Path("reference.onnx"), outputs=self.outputs),
            candidate=ModelEntry(model=Path("candidate.onnx"), outputs=self.outputs),
            preprocessing=self.preprocessing,
            data=Data(test=DataEntry(path=Path("test.npz"))),
        )


@dataclass(frozen=True)
class Expected:
    """How an audit must end: with an exit code and a verdict, or a refusal; and decisions and estimates by claim.

    `exit_code` is None where the audit is refused; `ending` then says for what.
    """

    exit_code: ExitCode | None
    ending: str
    decisions: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return _text(self.exit_code, self.ending, self.decisions, self.estimates)

    def found_in(self, body: Body) -> str:
        """The same about a finished audit; equal to `text` where all is as it must be."""
        verdict = body.verdict
        decisions = {part.claim: f"{part.verdict} ({part.reason})" for part in body.decisions}
        estimates = {finding.claim: finding.estimate for finding in body.findings}
        return _text(
            ExitCode(verdict.exit_code),
            f"{verdict.overall} ({verdict.reason})",
            {claim: decisions.get(claim, "not decided") for claim in self.decisions},
            {claim: estimates.get(claim) for claim in self.estimates},
        )


@dataclass(frozen=True)
class Pair:
    """A reference and a candidate on a test set, and how their audit must end.

    Raises ValueError for a good pair that is not to be accepted, and for a bad one that is.
    """

    name: str
    known: Literal["good", "bad"]
    materials: Materials
    expected: Expected

    def __post_init__(self) -> None:
        if (self.known == "good") != (self.expected.exit_code is ExitCode.ACCEPTED):
            raise ValueError(f"{self.name}: known {self.known}, and expected to end with {self.expected.ending}")


def attempt(pair: Pair) -> Entry:
    """Audit one pair in a temporary folder; whatever its audit does is what was found.

    Raises StorageError where there is no room for it.
    """
    found = _found(pair)
    right = found == pair.expected.text
    return Entry(pair=pair.name, known=pair.known, expected=pair.expected.text, found=found, ok=right)


def _found(pair: Pair) -> str:
    with tempfile.TemporaryDirectory(prefix="prune-audit-selftest-") as name:
        folder = Path(name)
        try:
            outcome = api.run(pair.materials.write(folder), base=folder, out=folder / "out", pdf=False)
        except StorageError:
            raise
        except AuditError as error:
            return _text(None, error.what, {}, {})
        except Exception as error:  # a crash is a finding about this pair, and the other pairs are still to come
            return f"crashed: {type(error).__name__}: {error}"
        return pair.expected.found_in(outcome.evidence.body)


def _text(
    exit_code: ExitCode | None, ending: str, decisions: Mapping[str, str], estimates: Mapping[str, float | None]
) -> str:
    whole = f"refused: {ending}" if exit_code is None else f"exit code {exit_code.value}, {ending}"
    parts = [f"{claim} {decision}" for claim, decision in decisions.items()]
    parts += [f"{claim} = {'nothing' if value is None else f'{value:g}'}" for claim, value in estimates.items()]
    return "; ".join([whole, *parts])
