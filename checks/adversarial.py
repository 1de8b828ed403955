"""Does the candidate fall to attacks that its parent withstands, and is what looks robust really so?

A pruned or quantised network often looks more robust than its parent because its gradients vanish. So every input that
any attack on either model finds is shown to both, and each counts as standing only where it withstands all of them:
transfer from the parent bounds the candidate's robustness from above, whatever its own gradients hide. Signs of hidden
gradients (`checks.masking`) keep a criterion from passing. Everything is empirical: an attack only bounds robustness
from above.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing, PairedDifference, Presupposition, Proportion
from audit.gradients import FREE
from audit.traces import Trace
from audit.types import PAIR, Claim, DataName, DataRole, Role, Scope, Sense, TaskKind, Unit, data_name
from checks import masking
from checks.attacks.effort import PRESETS, WHITE_BOX, Effort, Norm
from checks.attacks.probe import PIXEL, Attack
from checks.attacks.probe import Kind as AttackKind
from checks.masking import FLAGS, Evidence
from checks.perturbations.clean import Clean

KINDS: Final[tuple[AttackKind, ...]] = ("white-box", "black-box", "transfer")
LEVELS: Final[Mapping[Norm, tuple[float, ...]]] = {"linf": (0.5, 1.0, 2.0), "l2": (16.0, 32.0, 64.0)}
"""Radii where an undefended network still holds: at linf 8/255 it is 0 % against 0 %, which nothing can fall below."""
_EMPIRICAL: Final = "Empirical: an attack only bounds robustness from above."


def _of_items(name: str, title: str, meaning: str, *, better: Sense = Sense.AT_LEAST, of_pair: bool = False) -> Metric:
    return Metric(
        name=f"adversarial.{name}", title=title, unit=Unit.PERCENT, low=0.0, high=1.0, better=better,
        kind=Kind.PROPORTION, meaning=f"{meaning} {_EMPIRICAL}", of_pair=of_pair,
    )  # fmt: skip


def _counted(name: str, title: str, unit: Unit, high: float, meaning: str) -> Metric:
    return Metric(
        name=f"adversarial.{name}", title=title, unit=unit, low=0.0, high=high, better=Sense.AT_MOST,
        kind=Kind.COUNTED, meaning=meaning, of_pair=False,
    )  # fmt: skip


_WORST: Final = (
    "gets right as they are and under every attack of the audit within the radius: white-box and black-box on either "
    "model, and transfer both ways."
)
REFERENCE: Final = _of_items("reference_accuracy", "Accuracy of the reference under attack",
                             f"Share of items of the sample that the reference {_WORST}")  # fmt: skip
CANDIDATE: Final = _of_items("candidate_accuracy", "Accuracy of the candidate under attack",
                             f"Share of items of the sample that the candidate {_WORST}", of_pair=True)  # fmt: skip
DROP: Final = Metric(
    name="adversarial.drop", title="Loss of accuracy under attack", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="Accuracy of the reference under attack minus that of the candidate, on the same items: each under the "
    "worst of all attacks on either. It cannot pass where a model shows signs of hidden gradients, unless the policy "
    f'says masking = "report". {_EMPIRICAL}',
)  # fmt: skip
SUCCESS: Final = _of_items("success", "Fooled, of what both get right",
                           "Share of the items that both models get right as they are on which the worst of all "
                           "attacks fools one of them.", better=Sense.AT_MOST)  # fmt: skip
TRANSFER: Final = _of_items("transfer", "Fooled by what was made on the other",
                            "Share of the items that both models get right as they are on which inputs made to be "
                            "transferred fool the model that they were not made on.", better=Sense.AT_MOST)  # fmt: skip
UNDER: Final = _of_items("accuracy_under", "Accuracy under one attack",
                         "Share of items of the sample that a model gets right under one attack made on itself, or "
                         "made on the other to be transferred.")  # fmt: skip
FLAG: Final = _counted("flag", "Sign of hidden gradients", Unit.ITEMS, 1.0,
                       "1 where a sign of hidden gradients is there: " +
                       "; ".join(f"{name}: {what}" for name, what in FLAGS.items()) + ".")  # fmt: skip
_SPENT: Final = "passes that all attacks on a model spent on an item of the sample, on average."
GRADIENTS: Final = _counted("gradients", "Gradients taken of an item", Unit.ITEMS, 1e9, f"Backward {_SPENT}")
QUERIES: Final = _counted("queries", "Forward passes of an item under attack", Unit.ITEMS, 1e9, f"Forward {_SPENT}")

Radius = Annotated[float, Field(gt=0, le=100 * PIXEL)]
Steps = Annotated[int, Field(ge=1, le=20_000)]


@dataclass(frozen=True)
class Adversarial:
    """Loss of accuracy under attack, and whether robustness is real; of images that are classified.

    Attacks are made on the first `items` of the test set in judging order, within radii of `levels` in steps of an
    8-bit pixel. A `preset` says how hard is tried; what is named beside it takes its place: the `white_box` attacks one
    after another, their `steps`, `restarts` and (of "apgd-t") `targets`, the `queries` of Square. Where a model has no
    gradients, attacks on it are the weaker ones: a loss can then be proven beyond a limit and not within it, unless
    `gradients` are "waived". With `masking` "report" signs of hidden gradients are told and do not block.
    """

    preset: Literal["quick", "standard"] = "quick"
    norm: Norm = "linf"
    levels: tuple[Radius, ...] = ()
    items: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    gradients: Literal["required", "waived"] = "required"
    masking: Literal["block", "report"] = "block"
    white_box: tuple[Literal["fgsm", "pgd-ce", "pgd-margin", "apgd-ce", "apgd-dlr", "apgd-t"], ...] = ()
    steps: Steps | None = None
    restarts: Steps | None = None
    targets: Steps | None = None
    queries: Steps | None = None

    def __post_init__(self) -> None:
        for given in (self.levels, self.white_box):
            if len({f"{each:g}" if isinstance(each, float) else each for each in given}) < len(given):
                raise ValueError(f"{given} names something twice")
        if unknown := [name for name in self.white_box if name not in WHITE_BOX]:
            raise ValueError(f"there is no attack {unknown[0]!r}; there are {', '.join(WHITE_BOX)}")

    name: ClassVar[str] = "adversarial"
    summary: ClassVar[str] = "loss of accuracy under attack, transfer both ways, and signs of hidden gradients"
    metrics: ClassVar[tuple[Metric, ...]] = (
        REFERENCE, CANDIDATE, DROP, SUCCESS, TRANSFER, UNDER, FLAG, GRADIENTS, QUERIES,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        if context.task is not TaskKind.CLASSIFICATION or not context.images:
            return Ask((), ())
        probes = [probe for level in self._levels() for probe in self.attacks(context, level).values()]
        claims = [claim for level in self._levels() for claim in self._claims(level)]
        claims += [_of(FLAG, role, flag=flag) for role in PAIR for flag in FLAGS]
        claims += [_of(metric, role) for role in PAIR for metric in (GRADIENTS, QUERIES)]
        return Ask((self.clean(), *probes), tuple(claims), gradients=True)

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        claims = self.ask(context).claims
        if not claims:
            return
        asked = {level: self.attacks(context, level) for level in self._levels()}
        every: list[Attack | Clean] = [self.clean(), *(probe for own in asked.values() for probe in own.values())]
        traces: dict[Attack | Clean, Trace] = {}
        for probe in every:
            trace = ledger.trace(probe)
            if isinstance(trace, Missing):
                yield from (Finding(claim, trace) for claim in claims)
                return
            traces[probe] = trace
        found = Found(
            traces[self.clean()],
            {level: {key: traces[probe] for key, probe in probes.items()} for level, probes in asked.items()},
        )
        yield from self._findings(found, {role: ledger.gradients(role) for role in PAIR})

    def clean(self) -> Clean:
        """The sample as it is."""
        return Clean(self._data())

    def attacks(self, context: Context, level: float) -> dict[tuple[AttackKind, Role], Attack]:
        """All attacks within one radius, by kind and by the model that they are made on.

        The largest radius has the control. Without gradients there are only black-box attacks.
        """
        strongest = level == self._levels()[-1]
        return {
            (kind, role): Attack(
                kind, role, self.norm, level, self._effort(), self._data(), len(context.classes),
                control=strongest and kind == "white-box",
            )
            for kind in KINDS
            for role in PAIR
            if kind == "black-box" or role not in context.without_gradients
        }  # fmt: skip

    def _levels(self) -> tuple[float, ...]:
        return tuple(sorted(self.levels)) or LEVELS[self.norm]

    def _data(self) -> DataName:
        return data_name(DataRole.SAMPLE, str(self.items))

    def _effort(self) -> Effort:
        usual = PRESETS[self.preset]
        return Effort(
            self.white_box or usual.white_box,
            self.steps or usual.steps,
            self.restarts or usual.restarts,
            self.targets or usual.targets,
            self.queries or usual.queries,
            usual.transfer_steps,
        )

    def _scope(self, level: float, **more: str) -> Scope:
        return tuple(sorted({"level": f"{level:g}/{PIXEL}", "norm": self.norm, **more}.items()))

    def _claims(self, level: float) -> Iterator[Claim]:
        yield from (Claim(metric.name, self._scope(level)) for metric in (REFERENCE, CANDIDATE, DROP))
        for role in PAIR:
            yield from (Claim(metric.name, self._scope(level, role=role.value)) for metric in (SUCCESS, TRANSFER))
            yield from (Claim(UNDER.name, self._scope(level, role=role.value, attack=kind)) for kind in KINDS)

    def _findings(self, found: "Found", gradients: Mapping[Role, object]) -> Iterator[Finding]:
        signs = {role: masking.flags(found.evidence(role)) for role in PAIR}
        why = masking.dead(next(iter(found.evidence(Role.REFERENCE).white_box[-1:]), None))
        doubt = self._doubt(found, gradients, signs)
        for level in self._levels():
            yield from self._overall(found, level, why, doubt)
            for role in PAIR:
                yield from self._of_role(found, level, role, why, doubt)
        for role in PAIR:
            absent = gradients[role] if not found.evidence(role).white_box else None
            for flag in FLAGS:
                value = absent if isinstance(absent, Missing) else Exact(float(flag in signs[role]), len(found.clean))
                yield Finding(_of(FLAG, role, flag=flag), value)
            for metric, column in ((GRADIENTS, "backward"), (QUERIES, "forward")):
                yield Finding(_of(metric, role), Exact(found.spent(role, column), len(found.clean)))

    def _doubt(
        self, found: "Found", gradients: Mapping[Role, object], signs: Mapping[Role, Mapping[str, str]]
    ) -> Missing | None:
        """Why what looks robust may not be."""
        for role in PAIR if self.gradients == "required" else ():
            if not found.evidence(role).white_box:
                why = gradients[role]
                detail = why.detail if isinstance(why, Missing) else "no white-box attack was made"
                return Missing(FREE, f"{role}: {detail}; attacks without gradients are weaker")
        told = [f"{role}: {_listed(own)}" for role, own in signs.items() if own]
        return Missing("gradient-masking", "; ".join(told)) if told and self.masking == "block" else None

    def _overall(self, found: "Found", level: float, why: Missing | None, doubt: Missing | None) -> Iterator[Finding]:
        scope, standing = self._scope(level), {role: found.standing(role, level) for role in PAIR}
        reference, candidate = standing[Role.REFERENCE], standing[Role.CANDIDATE]
        yield Finding(Claim(REFERENCE.name, scope), why or _share(reference), doubt=doubt)
        yield Finding(Claim(CANDIDATE.name, scope), why or _share(candidate), doubt=doubt)
        drop = PairedDifference(
            int((reference & ~candidate).sum()), int((candidate & ~reference).sum()), len(reference)
        )
        works = Presupposition(
            _share(reference), _share(found.clean.columns["right_reference"]), found.clean.chance,
            what="accuracy under attack",
        )  # fmt: skip
        yield Finding(Claim(DROP.name, scope), why or drop, (works,), doubt)

    def _of_role(
        self, found: "Found", level: float, role: Role, why: Missing | None, doubt: Missing | None
    ) -> Iterator[Finding]:
        scope, both = self._scope(level, role=role.value), found.both
        fooled = _share_of_both(~found.standing(role, level)[both])
        yield Finding(Claim(SUCCESS.name, scope), why or fooled, doubt=doubt)
        for kind in KINDS:
            made = found.attacks[level].get((kind, _other(role) if kind == "transfer" else role))
            right = None if made is None else made.columns[f"right_{role}"]
            none = Missing(FREE, f"no {kind} attack without gradients")
            claim = Claim(UNDER.name, self._scope(level, role=role.value, attack=kind))
            yield Finding(claim, why or (none if right is None else _share(right)), doubt=doubt)
            if kind == "transfer":
                transferred = none if right is None else _share_of_both(~right[both])
                yield Finding(Claim(TRANSFER.name, scope), why or transferred, doubt=doubt)


@dataclass(frozen=True)
class Found:
    """What attacks left: the `clean` sample, and by level, rising, all attacks by kind and target."""

    clean: Trace
    attacks: Mapping[float, Mapping[tuple[AttackKind, Role], Trace]]

    @property
    def both(self) -> NDArray[np.bool_]:
        """Items that both models get right as they are."""
        both: NDArray[np.bool_] = self.clean.columns["right_reference"] & self.clean.columns["right_candidate"]
        return both

    def standing(self, role: Role, level: float) -> NDArray[np.bool_]:
        """Items that a model gets right as they are and under every attack within a radius, whoever it is made on."""
        every = (self.clean, *self.attacks[level].values())
        found: NDArray[np.bool_] = np.logical_and.reduce([trace.columns[f"right_{role}"] for trace in every])
        return found

    def evidence(self, role: Role) -> Evidence:
        """What is known of one model."""
        own = {kind: self._series(kind, _other(role) if kind == "transfer" else role) for kind in KINDS}
        return Evidence(role, self.clean, own["white-box"], own["black-box"], own["transfer"])

    def spent(self, role: Role, column: str) -> float:
        """Mean over items of the passes that all attacks on a model took."""
        own = [trace for level in self.attacks.values() for (_, target), trace in level.items() if target is role]
        return float(sum(trace.own[column].mean(dtype=np.float64) for trace in own))

    def _series(self, kind: AttackKind, target: Role) -> Sequence[Trace]:
        return [level[kind, target] for level in self.attacks.values() if (kind, target) in level]


def _of(metric: Metric, role: Role, **more: str) -> Claim:
    return Claim(metric.name, tuple(sorted({"role": role.value, **more}.items())))


def _listed(signs: Mapping[str, str]) -> str:
    """The first sign with what shows it, and how many more there are: page 1 has room for no more."""
    (name, what), more = next(iter(signs.items())), len(signs) - 1
    further = f" and {more} more sign{'s' if more > 1 else ''} of hidden gradients" if more else ""
    return f"{name.replace('_', ' ')} ({what}){further}"


def _other(role: Role) -> Role:
    return Role.CANDIDATE if role is Role.REFERENCE else Role.REFERENCE


def _share(has: NDArray[np.bool_]) -> Proportion:
    return Proportion(int(has.sum()), len(has))


def _share_of_both(has: NDArray[np.bool_]) -> Proportion | Missing:
    return _share(has) if len(has) else Missing("no-items", "there is no item that both models get right")
