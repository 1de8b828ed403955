"""Does the candidate stay as close to its parent when pixels are noisy: the headline of *Lost in Pruning*?

Noise similarity after Liebenwein et al. (MLSys 2021, §4): the same noisy inputs go through all models. Levels
are in pixel units, before any normalisation, and values are cut to the range of a pixel, unless the noise is asked for
as the paper has it: after normalisation, and not cut.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from audit.contracts import Ask, Condition, Context, LedgerView
from audit.errors import AuditError
from audit.findings import Finding, Kind, Metric, Missing
from audit.traces import Trace
from audit.types import Claim, Role, Scope, Sense, TaskKind, Unit
from checks import elsewhere, functional
from checks.accuracy import working
from checks.methods import bounded, mean, share
from checks.perturbations.clean import CLEAN, Clean
from checks.perturbations.noise import PIXEL, Noise, NormalisedNoise, SaltAndPepper

BASELINE_AGREEMENT: Final = Metric(
    name="baseline.agreement", title="Same decision, baseline and reference", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION,
    meaning="Share of items on which the separately trained baseline names the class that the reference names.",
    of_pair=False,
)  # fmt: skip
BASELINE_DISTANCE: Final = Metric(
    name="baseline.softmax_l2", title="Mean softmax distance ℓ2, baseline to reference", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Euclidean distance between the probability vectors of the baseline and of the reference.",
    of_pair=False,
)  # fmt: skip
EXCESS_DISTANCE: Final = Metric(
    name="baseline.excess_distance", title="Farther from the parent than the baseline", unit=Unit.DISTANCE,
    low=-math.sqrt(2.0), high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Softmax distance ℓ2 of the candidate to the reference minus that of the baseline to the reference: below "
    "0 the candidate is closer to its parent than a separately trained network is (Liebenwein et al., 2021).",
)  # fmt: skip

BASELINE_DEVIATION: Final = Metric(
    name="baseline.deviation", title="Mean deviation, baseline from reference", unit=Unit.TOLERANCES, low=0.0,
    high=functional.FAR, better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="As functional.deviation, of the separately trained baseline.",
    of_pair=False,
)  # fmt: skip
EXCESS_DEVIATION: Final = Metric(
    name="baseline.excess_deviation", title="Deviates more than the baseline", unit=Unit.TOLERANCES,
    low=-functional.FAR, high=functional.FAR, better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Deviation of the candidate from the reference minus that of the baseline.",
)  # fmt: skip


def _yard_stick(task: TaskKind) -> tuple[str, Metric, Metric]:
    """The pair column that the baseline is compared by, its mean, and how much the candidate exceeds it."""
    if task in functional.VALUED:
        return "deviation", BASELINE_DEVIATION, EXCESS_DEVIATION
    return "softmax_l2", BASELINE_DISTANCE, EXCESS_DISTANCE


def _with_baseline(task: TaskKind) -> tuple[Metric, ...]:
    return (BASELINE_AGREEMENT, *_yard_stick(task)[1:])


Strength = Annotated[float, Field(gt=0, le=PIXEL)]
Strengths = tuple[Strength, ...]
Shares = tuple[Annotated[float, Field(gt=0, le=1)], ...]
Levels = tuple[Annotated[float, Field(gt=0, le=100)], ...]
Spreads = tuple[Annotated[float, Field(gt=0, le=PIXEL)], ...]
Noisy = Noise | SaltAndPepper | NormalisedNoise

USUAL: Final = (2.0, 4.0, 8.0, 16.0)
LOST_IN_PRUNING: Final = tuple(round(0.05 * step, 2) for step in range(1, 15))
"""The levels of the paper, 0.05 … 0.7; the fifteenth, 0, is the clean set, which is measured once."""


@dataclass(frozen=True)
class NoiseSimilarity:
    """Drop, disagreement and distances under noise of each strength.

    `uniform` are half-widths and `gaussian` standard deviations, in steps of an 8-bit pixel, or of items that are no
    images in 255ths of the range of each feature. `salt_and_pepper` are shares of the pixels. `normalised` are
    half-widths of uniform noise on normalised inputs, not cut to any range: in units of `std`, which is that of each
    channel in pixels of [0, 1], by default what the models declare. Every item is seen `draws` times at each level, and
    counts once. The `preset` "lost-in-pruning" is the protocol of that paper: `normalised` from 0.05 to 0.7, 100 draws,
    and no other noise unless it is named.
    """

    uniform: Strengths | None = None
    gaussian: Strengths | None = None
    salt_and_pepper: Shares = ()
    normalised: Levels | None = None
    std: Spreads = ()
    draws: Annotated[int, Field(ge=1, le=1000)] | None = None
    preset: Literal["", "lost-in-pruning"] = ""

    def __post_init__(self) -> None:
        for levels in (self.uniform or (), self.gaussian or (), self.salt_and_pepper, self.normalised or ()):
            if len({f"{level:g}" for level in levels}) < len(levels):
                raise ValueError(f"two of the levels {levels} have one name")

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = "loss of accuracy, decisions that changed and distances under uniform and Gaussian noise"
    metrics: ClassVar[tuple[Metric, ...]] = tuple(
        dict.fromkeys(
            metric for task in elsewhere.TASKS for metric in (*elsewhere.metrics(task), *_with_baseline(task))
        )
    )

    def ask(self, context: Context, /) -> Ask:
        of_baseline = _with_baseline(context.task) if Role.BASELINE in context.roles else ()
        measured, probes = (*elsewhere.metrics(context.task), *of_baseline), self.probes(context)
        claims = [Claim(metric.name, scope(probe)) for probe in probes for metric in measured]
        claims += [Claim(metric.name) for metric in of_baseline]
        return Ask((CLEAN, *probes), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        clean, task = ledger.trace(CLEAN), context.task
        probes = self.probes(context)
        for probe in probes:
            trace = ledger.trace(probe)
            if isinstance(trace, Trace) and isinstance(clean, Trace):
                yield from elsewhere.findings(trace, clean, task, scope(probe))
            else:
                yield from elsewhere.missing(elsewhere.metrics(task), scope(probe), clean, trace)
        if Role.BASELINE in context.roles:
            every: tuple[Noisy | Clean, ...] = (CLEAN, *probes)
            yard_stick = ledger.trace(CLEAN, Role.BASELINE)
            for each in every:
                traces = ledger.trace(each), ledger.trace(each, Role.BASELINE), yard_stick
                yield from _of_baseline(*traces, task, scope(each))

    def shows(self, context: Context, /) -> tuple[Condition, ...]:
        """Every kind and level."""
        return tuple(Condition(scope(probe), probe) for probe in self.probes(context))

    def probes(self, context: Context) -> tuple[Noisy, ...]:
        """One per kind and level, strongest last; raises AuditError for noise without a unit, or without pixels."""
        paper = self.preset == "lost-in-pruning"
        draws = (100 if paper else 1) if self.draws is None else self.draws
        usual = () if paper else USUAL
        if self.salt_and_pepper and not context.images:
            raise AuditError("salt and pepper strikes pixels, and these items are no images", "Leave it out.")
        normalised = (LOST_IN_PRUNING if paper else ()) if self.normalised is None else self.normalised
        uniform, gaussian = (usual if own is None else own for own in (self.uniform, self.gaussian))
        return (
            *(Noise("uniform", level, draws) for level in sorted(uniform)),
            *(Noise("gaussian", level, draws) for level in sorted(gaussian)),
            *(SaltAndPepper(share, draws) for share in sorted(self.salt_and_pepper)),
            *(NormalisedNoise(level, self._unit(context), draws) for level in sorted(normalised)),
        )

    def _unit(self, context: Context) -> tuple[float, ...]:
        """The spread of each channel."""
        channels = context.shape[0]
        found = self.std or context.std
        if len(found) not in (1, channels):
            raise AuditError(
                f"noise after normalisation: the std of {channels} channels is not known",
                "Give std in [settings.noise] of the policy, or the same in the preprocessing of all models.",
            )
        return found * channels if len(found) == 1 else found


def scope(probe: Noisy | Clean) -> Scope:
    """How claims name the condition."""
    return () if isinstance(probe, Clean) else (("level", probe.label), ("noise", probe.kind))


def _of_baseline(
    candidate: Trace | Missing, baseline: Trace | Missing, clean: Trace | Missing, task: TaskKind, scope: Scope
) -> Iterator[Finding]:
    """Which of the two is closer to the reference; `clean` is the baseline's trace without noise."""
    column, own, excess = _yard_stick(task)
    if not (isinstance(candidate, Trace) and isinstance(baseline, Trace) and isinstance(clean, Trace)):
        yield from elsewhere.missing(_with_baseline(task), scope, candidate, baseline, clean)
        return
    far, near = (mean(trace, trace.columns[column], own).values for trace in (candidate, baseline))
    farther = np.clip(np.subtract(far, near), excess.low, excess.high)
    yield Finding(Claim(BASELINE_AGREEMENT.name, scope), share(baseline, baseline.columns["agree"]))
    yield Finding(Claim(own.name, scope), mean(baseline, baseline.columns[column], own))
    base = clean if scope else None
    yield Finding(
        Claim(excess.name, scope),
        bounded(farther, excess.low, excess.high),
        # Everything is closer to its parent than a yard-stick that does not work.
        presupposes=tuple(working(baseline, base, role) for role in (Role.REFERENCE, Role.BASELINE)),
    )
