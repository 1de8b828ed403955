"""The whole tool in three calls: `run` an audit, `judge` its ledger again, `render` its evidence again."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from audit import assemble, evidence, pipeline, plan, policy, registry, request, runtime, subjects, verdict
from audit.contracts import Context
from audit.errors import ExitCode
from audit.evidence import Body, Evidence, Run
from audit.ledger import Ledger
from audit.observe import Observer, Progress
from audit.plan import Asked, PlanFile
from audit.report import files
from audit.request import AuditFile
from audit.tasks.classification import Classification
from audit.types import Role

DEFAULT_OUT = Path("audit-out")
LEDGER = "ledger"


@dataclass(frozen=True)
class Outcome:
    """A finished audit: its evidence, the files it left, and what could not be written."""

    evidence: Evidence
    folder: Path
    files: tuple[Path, ...]
    notices: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode(self.evidence.body.verdict.exit_code)

    def summary(self) -> dict[str, object]:
        """What a script wants to know, as plain JSON values."""
        body = self.evidence.body
        return {
            "verdict": body.verdict.overall,
            "accepted": body.verdict.accepted,
            "exit_code": int(self.exit_code),
            "reason": body.verdict.reason,
            "id": self.evidence.id,
            "policy": body.policy.id,
            "models": {model.role: model.sha256 for model in body.models},
            "criteria": [part.model_dump(mode="json", exclude={"why", "method"}) for part in body.decisions],
            "files": [str(path) for path in self.files],
            "notices": list(self.notices),
        }


@dataclass
class Clock:
    """Wall time per stage; what it reads never enters the body."""

    started: str = field(default_factory=lambda: _now())
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)


def run(
    file: str | Path | AuditFile,
    *,
    base: str | Path = "",
    out: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    pdf: bool = True,
    progress: Progress = lambda what, done, total: None,
    command: Sequence[str] = (),
) -> Outcome:
    """Audit the pair of models that an audit file names, and write the certificate.

    `file` is the path of an `audit.toml`, whose own paths are relative to its folder, or an `AuditFile`, whose
    paths are relative to `base`. `reuse` names output folders of earlier audits whose observations of the very
    same model, data and settings may be taken over. Raises AuditError for a request or an input that cannot be
    used.
    """
    runtime.prepare()
    asked_for = request.load(Path(file)) if isinstance(file, str | Path) else file
    base = Path(file).parent if isinstance(file, str | Path) else Path(base)
    folder = Path(out) if out is not None else base / asked_for.out if asked_for.out else DEFAULT_OUT
    clock = Clock()
    with clock.stage("prepare"):
        source, models = subjects.load(asked_for, base)
        asked = plan.ask(registry.load_all(), Context(subjects.class_names(source, models)))
        fixed = subjects.plan_of(asked_for, base, source, models, asked)
        plan.fix(fixed, folder)
    ledger = Ledger(folder / LEDGER, [_lender(Path(lender)) for lender in reuse])
    with clock.stage("observe"):
        observer = Observer(fixed, models, source, Classification(), ledger, progress)
        observer.observe(asked.probes)
        source.verify_unchanged()
        for model in models.values():
            model.verify_unchanged()
    progress("deciding", 0, 0)
    with clock.stage("decide"):
        body = _judge(fixed, asked, ledger, exploratory=False)
    record = evidence.seal(body, _run(fixed, clock, observer.passes, ledger, command))
    written = files.write_all(record, folder, pdf=pdf)
    return Outcome(record, folder, written.paths, written.notices)


def judge(
    folder: str | Path,
    *,
    policy_name: str | None = None,
    out: str | Path | None = None,
    pdf: bool = True,
    command: Sequence[str] = (),
) -> Outcome:
    """Decide the ledger of a finished audit again: by its own policy, or exploratorily by another.

    No network runs. With the policy and the program of the run the body, and so the certificate id, comes out the
    same; another policy or program makes an EXPLORATORY certificate, which is never accepted.
    """
    folder = Path(folder)
    fixed = plan.load(folder)
    clock = Clock()
    with clock.stage("decide"):
        data = fixed.data[0]
        asked = plan.ask(registry.load_all(), Context(data.classes))
        other = fixed
        if policy_name is not None:
            chosen = policy.bind(policy_name, Path(), asked, fixed.declared_accuracy)
            if chosen.sha256 != fixed.policy.sha256:
                other = fixed.model_copy(update={"policy": chosen})
        tool = subjects.tool()
        exploratory = other is not fixed or tool != fixed.tool
        ledger = Ledger(folder / LEDGER)
        # The keys of the ledger are those of the program that observed; the verdict is that of this one.
        body = _judge(other, asked, ledger, exploratory=exploratory).model_copy(update={"tool": tool})
    record = evidence.seal(body, _run(other, clock, Counter(), ledger, command))
    suffix = f"judge-{policy.slug(other.policy.id)}" if exploratory else "judge"
    target = Path(out) if out is not None else folder / suffix
    written = files.write_all(record, target, pdf=pdf)
    return Outcome(record, target, written.paths, written.notices)


def render(path: str | Path, *, out: str | Path | None = None, pdf: bool = True) -> Outcome:
    """Write the certificate of an evidence file again."""
    record = evidence.load(Path(path))
    target = Path(out) if out is not None else Path(path).parent
    written = files.write_all(record, target, pdf=pdf)
    return Outcome(record, target, written.paths, written.notices)


def _lender(folder: Path) -> Path:
    """The ledger of an earlier audit; raises AuditError where there is none."""
    plan.load(folder)
    return folder / LEDGER


def _judge(fixed: PlanFile, asked: Asked, ledger: Ledger, *, exploratory: bool) -> Body:
    view = pipeline.View(fixed, ledger, Classification())
    findings = pipeline.measure(asked, view)
    decisions = verdict.decide(policy.rules(fixed.policy), findings)
    outputs = {role: view.outputs(role) for role in Role}
    return assemble.body(fixed, asked, findings, decisions, outputs, exploratory=exploratory)


def _run(fixed: PlanFile, clock: Clock, passes: Counter[Role], ledger: Ledger, command: Sequence[str]) -> Run:
    return Run(
        started=clock.started,
        finished=_now(),
        seconds=clock.seconds,
        passes={role.value: passes[role] for role in Role},
        reused=tuple(ledger.borrowed),
        host=runtime.host(),
        packages=runtime.packages(),
        names=fixed.names,
        command=tuple(command),
        parties=fixed.parties,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
