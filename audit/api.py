"""The whole tool in three calls: `run` an audit, `judge` its ledger again, `render` its evidence again."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from audit import (
    asking,
    assemble,
    configuration,
    digest,
    evidence,
    inventory,
    measuring,
    pipeline,
    plan,
    policy,
    preparation,
    registry,
    request,
    runtime,
    selftest,
    storage,
    subjects,
    tasks,
    thumbnails,
    verdict,
)
from audit.asking import Asked
from audit.clock import Clock, now
from audit.data.form import Ends, Form
from audit.data.targets import Targets
from audit.errors import AuditError, ExitCode
from audit.evidence import Body, Evidence, Run
from audit.ledger import Ledger
from audit.models.adapter import Preprocessing
from audit.observe import Observer, Progress
from audit.plan import PlanFile
from audit.portion import WHOLE, Portion
from audit.report import files, sentences
from audit.request import AuditFile, TaskEntry
from audit.subjects import Subjects, Terms
from audit.types import DATA_NAME, DataName, DataRole, Role, role_of

if TYPE_CHECKING:
    from torch.nn import Module

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


def run(
    file: str | Path | AuditFile,
    *,
    base: str | Path = "",
    out: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    portion: Portion = WHOLE,
    trust_code: bool = False,
    pdf: bool = True,
    progress: Progress = lambda what, done, total: None,
    command: Sequence[str] = (),
) -> Outcome:
    """Audit the pair of models that an audit file names, and write the certificate.

    `file` is the path of an `audit.toml`, whose own paths are relative to its folder, or an `AuditFile`, whose
    paths are relative to `base`. `reuse` names output folders of earlier audits whose observations of the very
    same model, data and settings may be taken over. A `portion` makes a partial run, which decides nothing.
    With `trust_code` model files may hold programs (`.pt2`, TorchScript, pickled modules), which run; such an audit is
    not accepted. Raises AuditError for a request or an input that cannot be used.
    """
    runtime.prepare()
    asked_for = request.load(Path(file)) if isinstance(file, str | Path) else file
    base = Path(file).parent if isinstance(file, str | Path) else Path(base)
    folder = Path(out) if out is not None else base / asked_for.out if asked_for.out else DEFAULT_OUT
    course = _Course(folder, tuple(map(Path, reuse)), progress, tuple(command), pdf=pdf, portion=portion)
    return course.run(lambda: subjects.load(asked_for, base, trust_code=trust_code), subjects.terms_of(asked_for), base)


def compare(
    reference: "Module",
    candidate: "Module",
    data: object,
    *,
    further: Mapping[DataName, object] | None = None,
    baseline: "Module | None" = None,
    origin: "Module | None" = None,
    policy_name: str = "standard",
    task: Mapping[str, object] | None = None,
    bounds: tuple[Ends, Ends] | None = None,
    preprocessing: Preprocessing | None = None,
    layer: str | Mapping[Role, str] = "",
    attributes: Mapping[str, Sequence[object]] | None = None,
    declared_accuracy: float | None = None,
    device: str = "auto",
    out: str | Path = DEFAULT_OUT,
    pdf: bool = True,
    private: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Outcome:
    """Audit torch modules in memory on a data set in memory, and write the certificate.

    The modules are copied and put in evaluation mode; they get float32 [N, C, H, W] in [0, 1] after `preprocessing`.
    `data` is a torch Dataset of (image, label), a MAITE data set, or arrays (x, y); `further` data sets have names such
    as "shifted", "shifted:night" or "corrupted:fog:3"; an `origin` is what the candidate was converted from. `task` has
    the keys of [task] in an audit file; items that are no images need their `bounds`, the least and the greatest value
    of each feature, or of all. What the modules named `layer` give, in all but the origin, or in each by its role, is
    compared too. `attributes` of the test items, such as the weather, have by name a value for each. A module that
    torch cannot export is identified by its weights alone: its audit cannot be accepted, nor resumed. Of `private` data
    no item is shown. Raises AuditError for anything that cannot be used.
    """
    runtime.prepare()
    modules = {
        Role.REFERENCE: reference, Role.CANDIDATE: candidate, Role.BASELINE: baseline, Role.ORIGIN: origin,
    }  # fmt: skip
    given = {role: module for role, module in modules.items() if module is not None}
    low, high = bounds if bounds is not None and len(bounds) == 2 else (None, None)
    if bounds is not None and (low is None or high is None):
        raise AuditError("bounds are not (low, high)", "Give the least and the greatest value of each feature.")
    form = Form(Targets(configuration.validate(task or {}, "the task", TaskEntry).record), low, high)
    sets = {DataRole.TEST.value: data, **_further(further or {})}
    course = _Course(Path(out), (), progress, (), pdf=pdf)
    return course.run(
        lambda: subjects.of_objects(
            given,
            sets,
            preprocessing or Preprocessing(),
            device,
            form,
            layer=layer,
            attributes=attributes,
            private=private,
        ),
        Terms(policy_name, declared_accuracy),
        Path(),
    )


def _further(given: Mapping[DataName, object]) -> Mapping[DataName, object]:
    """Data sets besides the test set; raises AuditError for a name that none can have."""
    bad = next((name for name in given if name == DataRole.TEST or not re.fullmatch(DATA_NAME, name)), None)
    if bad is not None:
        raise AuditError(
            f"{bad!r} names no further data set", 'Use "calibration", "shifted:NAME", "corrupted:NAME:SEVERITY", ….'
        )
    alone = next((name for name in given if role_of(name).value != name and role_of(name).value in given), None)
    if alone is not None:
        raise AuditError(f"{role_of(alone).value!r} stands beside {alone!r}", "Name every set of a role, or give one.")
    return given


@dataclass(frozen=True)
class _Course:
    """One audit from its subjects to the written certificate."""

    folder: Path
    reuse: tuple[Path, ...]
    progress: Progress
    command: tuple[str, ...]
    pdf: bool
    portion: Portion = WHOLE
    clock: Clock = field(default_factory=Clock)

    def run(self, opening: Callable[[], Subjects], terms: Terms, base: Path) -> Outcome:
        """Open the subjects, and let them go when the networks have run: what they took is for judging."""
        with self.clock.stage("open"):
            agreed = preparation.agree(terms.policy, base)
            opened = self.portion.of(opening(), agreed.checks)
        with self.clock.stage("prepare"):
            asked, fixed = preparation.prepare(opened, terms, agreed)
            opened = opened.sampled(data.role for data in fixed.data)
        plan.require_place(self.folder)  # before the lock, which makes the folder
        lenders = [_lender(lender) for lender in self.reuse]
        with storage.lock(self.folder):
            plan.fix(fixed, self.folder)
            ledger = Ledger(self.folder / LEDGER, lenders)
            ledger.repair()
            observer = self._observe(opened, fixed, asked, ledger)
            shown = None if opened.private else opened.data[DataRole.TEST]
            del opened
            self.progress("deciding", 0, 0)
            with self.clock.stage("decide"):
                body = _judge(fixed, asked, ledger, exploratory=False)
            record = evidence.seal(body, _run(fixed, self.clock, observer, ledger, self.command))
            thumbnails.keep(self.folder, body, shown)
            written = files.write_all(record, self.folder, pdf=self.pdf, pictures=thumbnails.load(self.folder))
        lost = sentences.lost_reuse(fixed.plan.probes)
        return Outcome(record, self.folder, written.paths, (*written.notices, *([lost] if lost else ())))

    def _observe(self, opened: Subjects, fixed: PlanFile, asked: Asked, ledger: Ledger) -> Observer:
        with self.clock.stage("observe"):
            task = tasks.of(fixed.plan.task)
            observer = Observer(
                fixed, opened.models, opened.data, task, ledger, self.progress, opened.lanes,
                settle=lambda: pipeline.View(fixed, ledger, task).settled(),
            )  # fmt: skip
            observer.observe(asked.probes)
            opened.verify_unchanged()
        return observer


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
        chosen = registry.load_all(fixed.plan.checks, fixed.policy.settings)
        skipped = fixed.plan.skipped
        asked = asking.ask(chosen, preparation.context_of(fixed), skipped)
        other = fixed
        if policy_name is not None:
            agreed = preparation.agree(policy_name, Path())
            wanted = asking.ask(agreed.checks, asked.context, skipped)
            _require_ran(wanted, fixed, policy_name)
            bound = policy.bind(
                agreed.policy, wanted, fixed.declared_accuracy, possible=preparation.possible(agreed, asked.context)
            )
            if bound.sha256 != fixed.policy.sha256:
                asked, other = wanted, fixed.model_copy(update={"policy": bound})
        tool = inventory.tool()
        exploratory = other is not fixed or tool != fixed.tool
        ledger = Ledger(folder / LEDGER)
        # The keys of the ledger are those of the program that observed; the verdict is that of this one.
        body = _judge(other, asked, ledger, exploratory=exploratory).model_copy(update={"tool": tool})
    record = evidence.seal(body, _run(other, clock, None, ledger, command))
    suffix = f"judge-{policy.slug(other.policy.id)}" if exploratory else "judge"
    target = Path(out) if out is not None else folder / suffix
    if storage.exists(target / plan.FILE):
        raise AuditError(f"{target}: holds an audit, whose certificate would be lost", "Choose another --out.")
    with storage.lock(target):
        written = files.write_all(record, target, pdf=pdf, pictures=thumbnails.load(folder))
    return Outcome(record, target, written.paths, written.notices)


def render(path: str | Path, *, out: str | Path | None = None, pdf: bool = True) -> Outcome:
    """Write the certificate of an evidence file again."""
    record = evidence.load(Path(path))
    target = Path(out) if out is not None else Path(path).parent
    pictures = thumbnails.found((Path(path).parent, Path(path).parent.parent))  # judged again, it lies one below
    written = files.write_all(record, target, pdf=pdf, pictures=pictures)
    return Outcome(record, target, written.paths, written.notices)


def _lender(folder: Path) -> Path:
    """The ledger of an earlier audit; raises AuditError where there is none."""
    plan.load(folder)
    return folder / LEDGER


def _require_ran(wanted: Asked, fixed: PlanFile, policy_name: str) -> None:
    """Raise AuditError where a policy wants a probe that was not part of the audit."""
    ran = {probe.sha256 for probe in fixed.plan.probes}
    for probe in wanted.probes:
        if digest.of_json(probe.canonical()) not in ran:
            raise AuditError(
                f"policy {policy_name!r} asks for {probe.name!r}, which this audit did not run",
                "Run the audit by that policy in a new folder.",
            )


def _judge(fixed: PlanFile, asked: Asked, ledger: Ledger, *, exploratory: bool) -> Body:
    view = pipeline.View(fixed, ledger, tasks.of(fixed.plan.task))
    findings = measuring.measure(asked, view)
    adverse = measuring.measure(asked, view.against()) if view.any_near_tie() else None
    decisions = verdict.decide(policy.rules(fixed.policy), findings, adverse)
    if fixed.plan.partial is not None:
        decisions = verdict.of_partial_run(decisions)
    outputs = {Role(model.role): view.outputs(Role(model.role)) for model in fixed.models}
    return assemble.body(fixed, asked, findings, decisions, outputs, exploratory=exploratory)


def _run(fixed: PlanFile, clock: Clock, observer: Observer | None, ledger: Ledger, command: Sequence[str]) -> Run:
    passes: Mapping[Role, int] = Counter() if observer is None else observer.passes
    seconds = {} if observer is None else observer.attack_seconds
    items = {probe.name: fixed.dataset(probe.data).items for probe in fixed.plan.probes}
    return Run(
        started=clock.started,
        finished=now(),
        seconds=clock.seconds,
        passes={model.role: passes[Role(model.role)] for model in fixed.models},
        attacks={name: round(1000 * taken / items[name], 3) for name, taken in seconds.items()},
        reused=tuple(ledger.borrowed),
        host=runtime.host(),
        packages=runtime.packages(),
        names=fixed.names,
        selftest=selftest.latest(),
        command=tuple(command),
        parties=fixed.parties,
    )
