"""From opened subjects to a fixed plan: which checks a policy wants, what they ask, which limits hold."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from audit import asking, inventory, policy, registry, tasks
from audit.asking import Asked
from audit.contracts import Check, Context
from audit.data import relations
from audit.errors import AuditError
from audit.models.adapter import Preprocessing
from audit.plan import PlanFile
from audit.policy.explaining import GENERIC, generic
from audit.records import Adapter, GradientsRecord
from audit.subjects import Subjects, Terms
from audit.types import Claim, DataRole, Role, TaskKind, role_of


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
    return asking.ask(_wanted(source), generic(source))


def prepare(opened: Subjects, terms: Terms, agreed: Agreed) -> tuple[Asked, PlanFile]:
    """Ask the checks, bind the policy, and put everything down that is fixed before the first forward pass."""
    names, kind = opened.class_names(), TaskKind(opened.task.kind)  # before labels are counted, they must be labels
    relations.require(opened.data, whole=opened.partial is None)
    test = opened.data[DataRole.TEST]
    chance = tasks.of(opened.task).chance(test.manifest)
    data = tuple(opened.data)
    images = test.features is None
    std = _common_std(opened.preprocessing) if images else ()
    context = Context(
        names, opened.roles, data, kind, chance, test.shape, images=images, std=std,
        attributes=test.manifest.attributes,
        watched=tuple(role for role, model in opened.models.items() if model.watched is not None),
    )  # fmt: skip
    skipped = () if opened.partial is None else opened.partial.skipped
    asked, gradients = asking.ask(agreed.checks, context, skipped), {}
    if asked.gradients:
        gradients = inventory.gradients_of(opened)
        # What can be asked depends on it.
        context = replace(context, without_gradients=_without(gradients))
        asked = asking.ask(agreed.checks, context, skipped)
    bound = policy.bind(agreed.policy, asked, terms.declared_accuracy, possible=possible(agreed, context))
    return asked, inventory.plan_of(
        opened.sampled(probe.data for probe in asked.probes), terms, asked, bound, gradients
    )


def context_of(fixed: PlanFile) -> Context:
    """What checks were asked in, from what was fixed of it."""
    test, kind = fixed.dataset(DataRole.TEST), TaskKind(fixed.plan.task.kind)
    roles = tuple(Role(model.role) for model in fixed.models)
    data = tuple(each.role for each in fixed.data if role_of(each.role) is not DataRole.SAMPLE)
    images = test.features is None
    std = _common_std(model.adapter for model in fixed.models) if images else ()
    gradients = {Role(model.role): model.gradients for model in fixed.models if model.gradients is not None}
    return Context(
        test.classes, roles, data, kind, test.chance, test.shape, images=images, std=std,
        without_gradients=_without(gradients), attributes=tuple(fixed.described(DataRole.TEST).values()),
        watched=tuple(Role(model.role) for model in fixed.models if model.adapter.watched is not None),
    )  # fmt: skip


def possible(agreed: Agreed, context: Context) -> frozenset[Claim]:
    """What the checks of a policy promise in an audit like this one, and where everything is possible.

    That is of any task that the policy is for, with every role, with data of every kind, of large colour images.
    """
    here = {role_of(name) for name in context.data}
    more = tuple(name for name in GENERIC.data if role_of(name) not in here)
    found: set[Claim] = set()
    for task in agreed.policy.file.tasks or (context.task,):
        best = generic(agreed.policy, task)
        classes = best.classes and (context.classes or best.classes)
        said = context.attributes or best.attributes
        best = replace(best, classes=classes, data=(*context.data, *more), attributes=said)
        with suppress(AuditError):  # settings for images of another kind: then less is excused
            found |= asking.ask(agreed.checks, best).claims.keys()
    return frozenset(found)


def _without(gradients: Mapping[Role, GradientsRecord]) -> tuple[Role, ...]:
    """The models that have no gradients; those whose gradients lead nowhere have some."""
    return tuple(role for role, found in gradients.items() if found.how == "none")


def _common_std(adapters: Iterable[Preprocessing | Adapter]) -> tuple[float, ...]:
    """What all models divide images by, in pixels of [0, 1]; () where they declare nothing, or not the same."""
    found = {tuple(value / (each.range[1] - each.range[0]) for value in each.std) for each in adapters}
    return found.pop() if len(found) == 1 else ()


def _wanted(source: policy.Source) -> tuple[Check, ...]:
    for problem in source.unknown_checks(registry.known()):
        raise problem
    return registry.load_all(source.file.checks, source.file.settings)
