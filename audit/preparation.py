"""From opened subjects to a fixed plan: which checks a policy wants, what they ask, which limits hold."""

from dataclasses import dataclass
from pathlib import Path

from audit import inventory, plan, policy, registry, tasks
from audit.contracts import Check, Context
from audit.plan import Asked, PlanFile
from audit.policy.explaining import generic
from audit.subjects import Subjects, Terms
from audit.types import DataRole, TaskKind


@dataclass(frozen=True)
class Agreed:
    """A policy as written, and the checks that it wants, with its settings."""

    policy: policy.Source
    checks: tuple[Check, ...]


def agree(name: str, base: Path) -> Agreed:
    """Read a policy by name or file; raises AuditError where it names no check of this program."""
    source = policy.read(name, base)
    return Agreed(source, _wanted(source))


def promised(source: policy.Source) -> Asked:
    """What a policy's checks promise where no audit is at hand."""
    return plan.ask(_wanted(source), generic(source))


def prepare(opened: Subjects, terms: Terms, agreed: Agreed) -> tuple[Asked, PlanFile]:
    """Ask the checks, bind the policy, and put everything down that is fixed before the first forward pass."""
    names, kind = opened.class_names(), TaskKind(opened.task.kind)  # before labels are counted, they must be labels
    chance = tasks.of(opened.task).chance(opened.data[DataRole.TEST].manifest)
    context = Context(names, opened.roles, tuple(opened.data), kind, chance)
    asked = plan.ask(agreed.checks, context, () if opened.partial is None else opened.partial.skipped)
    bound = policy.bind(agreed.policy, asked, terms.declared_accuracy)
    return asked, inventory.plan_of(opened, terms, asked, bound)


def _wanted(source: policy.Source) -> tuple[Check, ...]:
    for problem in source.unknown_checks(registry.known()):
        raise problem
    return registry.load_all(source.file.checks, source.file.settings)
