"""Does the candidate keep what the reference keeps when inputs are corrupted: fog, noise, blur, compression?

Cells are corruption × severity, of CIFAR-10-C and ImageNet-C (Hendrycks & Dietterich, ICLR 2019): made from the test
set, or as the audit was given them. Excess drop is the *excess error* of *Lost in Pruning* (Liebenwein et al., MLSys
2021, §5): what is lost beyond what is lost on clean data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Condition, Context, LedgerView
from audit.errors import AuditError
from audit.findings import Exact, Finding, Kind, Metric, Missing, Presupposition
from audit.traces import Trace
from audit.types import PAIR, Claim, DataName, DataRole, Role, Scope, Sense, TaskKind, Unit, label_of, role_of
from checks import accuracy, elsewhere
from checks.accuracy import working
from checks.methods import bounded
from checks.perturbations.clean import CLEAN, Clean
from checks.perturbations.corruptions import Corruption
from checks.perturbations.corruptions.catalogue import KINDS, SEVERITIES
from checks.perturbations.corruptions.risks import RISKS

_LEFT: Final = "In cells where the reference itself fails it shows little: see the cells."
EXCESS_DROP: Final = Metric(
    name="corruption.excess_drop", title="Excess loss of accuracy", unit=Unit.POINTS, low=-2.0, high=2.0,
    better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Loss of accuracy in the cell minus loss of accuracy on clean data, on the same items: the excess error of "
    "Liebenwein et al. (2021).",
)  # fmt: skip
MEAN_DROP: Final = Metric(
    name="corruption.mean_drop", title="Mean loss of accuracy over cells", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Mean over items of the loss of accuracy, averaged over the cells of each item: cells of one item are a "
    f"cluster, and never further items. {_LEFT}",
)  # fmt: skip
MEAN_EXCESS: Final = Metric(
    name="corruption.mean_excess_drop", title="Mean excess loss over cells", unit=Unit.POINTS, low=-2.0, high=2.0,
    better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="corruption.mean_drop minus the loss of accuracy on clean data, on the same items.",
)  # fmt: skip
MEAN_ERROR: Final = Metric(
    name="corruption.mean_error", title="Mean error over cells", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.MEAN, of_pair=False,
    meaning="Share of wrong answers of one model, averaged over all cells.",
)  # fmt: skip
MCE: Final = Metric(
    name="corruption.mce", title="Mean corruption error", unit=Unit.PERCENT, low=0.0, high=1e6,
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Mean over corruptions of the candidate's errors, summed over severities, by the reference's (Hendrycks & "
    "Dietterich, 2019, with the reference in the place of AlexNet). A ratio of counts: nothing is said beyond these "
    "items.",
)  # fmt: skip
WORST: Final = Metric(
    name="corruption.worst_drop", title="Largest loss in any cell", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="The largest of the cells' losses of accuracy, as counted. The largest of many estimates proves nothing: "
    "what is proven is each cell, by its own criterion.",
)  # fmt: skip
_OVERALL: Final = (MEAN_DROP, MEAN_EXCESS, MCE, WORST)


def _of_cell(task: TaskKind) -> tuple[Metric, ...]:
    """What is measured in each cell."""
    return (*elsewhere.metrics(task), EXCESS_DROP)


@dataclass(frozen=True, slots=True)
class Cell:
    """One corruption of one severity, and the inputs that stand for it."""

    kind: str
    severity: int
    probe: Corruption | Clean

    @property
    def scope(self) -> Scope:
        """How claims name it."""
        return (("corruption", self.kind), ("severity", str(self.severity)))


@dataclass(frozen=True)
class CorruptionRobustness:
    """Drop, excess drop, disagreement and distances under corruption, by cell and over all cells.

    `corruptions` × `severities` are measured: without `corruptions`, all that are possible on the images. `conditions`
    are words of the operational domain such as "rain", each of which stands for cells of its own; with them and without
    `corruptions`, only those cells are measured. Corrupted data that were given take the place of their own cells, and
    the others are made. What was given beside the nineteen is measured by itself, and is part of no mean.
    """

    corruptions: tuple[str, ...] = ()
    severities: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1)] = SEVERITIES
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, names, known in (("corruption", self.corruptions, KINDS), ("condition", self.conditions, RISKS)):
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"there is no {what} {unknown[0]!r}; there are {', '.join(known)}")
        every: tuple[tuple[object, ...], ...] = (self.corruptions, self.severities, self.conditions)
        for given in every:
            if len(set(given)) < len(given):
                raise ValueError(f"{given} names something twice")

    name: ClassVar[str] = "corruption"
    summary: ClassVar[str] = "loss of accuracy, excess loss and changed decisions under nineteen corruptions"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *dict.fromkeys(metric for task in elsewhere.TASKS for metric in _of_cell(task)), *_OVERALL, MEAN_ERROR,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        cells = self.cells(context)
        if not cells:
            return Ask((), ())
        claims = [Claim(metric.name, cell.scope) for cell in cells for metric in _of_cell(context.task)]
        if any(cell.kind in KINDS for cell in cells):
            claims += [Claim(metric.name) for metric in _OVERALL]
            claims += [_error_claim(role) for role in PAIR]
        for condition, own in self._by_condition(cells).items():
            claims += [Claim(accuracy.DROP.name, _within(condition, cell)) for cell in own]
            claims.append(Claim(MEAN_DROP.name, (("condition", condition),)))
        return Ask((CLEAN, *(cell.probe for cell in cells)), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        cells = self.cells(context)
        if not cells:
            return
        clean = ledger.trace(CLEAN)
        by_condition, sums = self._by_condition(cells), Sums()
        for cell in cells:
            trace = ledger.trace(cell.probe)
            conditions = [name for name, own in by_condition.items() if cell in own]
            if isinstance(trace, Trace) and isinstance(clean, Trace):
                yield from _in_cell(cell, trace, clean, context.task, conditions)
                if cell.kind in KINDS:
                    sums.add(cell, trace, clean)
            else:
                why = trace if isinstance(trace, Missing) else clean
                assert isinstance(why, Missing)
                claims = [Claim(metric.name, cell.scope) for metric in _of_cell(context.task)]
                claims += [Claim(accuracy.DROP.name, _within(name, cell)) for name in conditions]
                yield from (Finding(claim, why) for claim in claims)
                if cell.kind in KINDS:
                    sums.fail(cell, why)
        if any(cell.kind in KINDS for cell in cells):
            yield from sums.findings(clean, by_condition)

    def shows(self, context: Context, /) -> tuple[Condition, ...]:
        """Every cell."""
        return tuple(Condition(cell.scope, cell.probe) for cell in self.cells(context))

    def cells(self, context: Context) -> tuple[Cell, ...]:
        """Every cell that is measured, in the order of the paper; none of items that are no images.

        Raises AuditError for a corruption that is named, not given, and not possible on these images.
        """
        if not context.images:
            return ()
        given = _given(context.data)
        cells = []
        for (kind, severity), named in self._wanted(given).items():
            own = given.get((kind, severity))
            obstacle = "" if own else _obstacle(kind, severity, context)
            if obstacle and named:
                raise AuditError(obstacle, "Leave it out of [settings.corruption], or audit other images.")
            if not obstacle:
                cells.append(Cell(kind, severity, own or Corruption(kind, severity)))
        return tuple(cells)

    def _wanted(self, given: Mapping[tuple[str, int], Clean]) -> dict[tuple[str, int], bool]:
        """The cells that the settings mean, and whether they name them."""
        named = dict.fromkeys(((kind, severity) for kind in self.corruptions for severity in self.severities), True)
        for condition in self.conditions:
            named |= {(kind, severity): True for kind, own in RISKS[condition].items() for severity in own}
        if named:
            return dict(sorted(named.items(), key=lambda each: (list(KINDS).index(each[0][0]), each[0][1])))
        further = [cell for cell in given if cell[0] not in KINDS and cell[1] in self.severities]
        return dict.fromkeys([*((kind, severity) for kind in KINDS for severity in self.severities), *further], False)

    def _by_condition(self, cells: Sequence[Cell]) -> dict[str, list[Cell]]:
        """The cells that stand for each condition."""
        return {
            condition: [cell for cell in cells if cell.severity in RISKS[condition].get(cell.kind, ())]
            for condition in self.conditions
        }


class Sums:
    """What adds up over cells, item by item, in the order of the clean items."""

    def __init__(self) -> None:
        self._right: dict[Cell, dict[Role, NDArray[np.float64]]] = {}
        self._failed: dict[Cell, Missing] = {}

    def add(self, cell: Cell, trace: Trace, clean: Trace) -> None:
        """Take a cell in."""
        found = {role: in_line(trace, clean, trace.columns[f"right_{role}"]) for role in PAIR}
        missing = next((each for each in found.values() if isinstance(each, Missing)), None)
        if missing is not None:
            self.fail(cell, missing)
            return
        self._right[cell] = {role: each for role, each in found.items() if not isinstance(each, Missing)}

    def fail(self, cell: Cell, why: Missing) -> None:
        """Take in that there is nothing of a cell: then there is no mean either."""
        self._failed[cell] = Missing(why.reason, f"{cell.kind}, severity {cell.severity}: {why.detail}")

    def findings(self, clean: Trace | Missing, by_condition: Mapping[str, Sequence[Cell]]) -> Iterator[Finding]:
        """The findings over all cells, and over those of each condition."""
        for name, cells in by_condition.items():
            yield self._mean_drop((("condition", name),), cells, clean)
        yield self._mean_drop((), [*self._right, *self._failed], clean)
        if self._failed or isinstance(clean, Missing):
            why = next(iter(self._failed.values()), clean)
            assert isinstance(why, Missing)
            claims = [Claim(metric.name) for metric in _OVERALL if metric is not MEAN_DROP]
            yield from (Finding(claim, why) for claim in (*claims, *map(_error_claim, PAIR)))
            return
        drop, works = self._drop(list(self._right)), self._working(list(self._right), clean)
        excess = (drop - _lost(clean)).clip(MEAN_EXCESS.low, MEAN_EXCESS.high)
        yield Finding(Claim(MEAN_EXCESS.name), bounded(excess, MEAN_EXCESS.low, MEAN_EXCESS.high), (works,))
        for role in PAIR:
            wrong = (1.0 - self._mean(list(self._right), role)).clip(0.0, 1.0)
            yield Finding(_error_claim(role), bounded(wrong, 0.0, 1.0))
        yield Finding(Claim(MCE.name), self._mce(len(clean)), (works,))
        worst = max(float(self._drop([cell]).mean()) for cell in self._right)
        yield Finding(Claim(WORST.name), Exact(min(max(worst, -1.0), 1.0), len(clean)), (works,))

    def _mean_drop(self, scope: Scope, cells: Sequence[Cell], clean: Trace | Missing) -> Finding:
        failed = next((self._failed[cell] for cell in cells if cell in self._failed), None)
        if failed is not None:
            return Finding(Claim(MEAN_DROP.name, scope), failed)
        if isinstance(clean, Missing):
            return Finding(Claim(MEAN_DROP.name, scope), clean)
        values = self._drop(cells).clip(-1.0, 1.0)
        return Finding(Claim(MEAN_DROP.name, scope), bounded(values, -1.0, 1.0), (self._working(cells, clean),))

    def _working(self, cells: Sequence[Cell], clean: Trace) -> Presupposition:
        """That the reference works over these cells, on average."""
        own = bounded(self._mean(cells, Role.REFERENCE).clip(0.0, 1.0), 0.0, 1.0)
        return Presupposition(own, working(clean).accuracy, clean.chance)

    def _mean(self, cells: Sequence[Cell], role: Role) -> NDArray[np.float64]:
        """Mean over cells of what a model gets right of each item [N]."""
        total: NDArray[np.float64] = np.sum([self._right[cell][role] for cell in cells], axis=0) / len(cells)
        return total

    def _drop(self, cells: Sequence[Cell]) -> NDArray[np.float64]:
        return self._mean(cells, Role.REFERENCE) - self._mean(cells, Role.CANDIDATE)

    def _mce(self, n: int) -> Exact | Missing:
        """Errors of the candidate by those of the reference, averaged over corruptions."""
        ratios = []
        for kind in dict.fromkeys(cell.kind for cell in self._right):
            own = [right for cell, right in self._right.items() if cell.kind == kind]
            wrong = {role: sum(float((1.0 - right[role]).sum()) for right in own) for role in PAIR}
            if not wrong[Role.REFERENCE]:
                return Missing("no-errors", f"under {kind} the reference makes no error to compare with")
            ratios.append(wrong[Role.CANDIDATE] / wrong[Role.REFERENCE])
        return Exact(float(np.mean(ratios)), n)


def in_line(trace: Trace, clean: Trace, values: NDArray[np.generic]) -> NDArray[np.float64] | Missing:
    """Per-item values of a trace in the order of the clean items, whatever order its own items are judged in."""
    own = trace.per_item(values)
    if len(trace) != len(clean):
        return Missing("unaligned", f"{len(trace)} distinct items for {len(clean)} of the test set")
    if not len(trace.order):
        return own
    stored = np.empty_like(own)
    stored[trace.order] = own
    return stored[clean.order]


def _lost(trace: Trace) -> NDArray[np.float64]:
    """What the candidate loses of each item [N], in [-1, 1]."""
    return trace.per_item(trace.columns["right_reference"]) - trace.per_item(trace.columns["right_candidate"])


def _in_cell(cell: Cell, trace: Trace, clean: Trace, task: TaskKind, conditions: Sequence[str]) -> Iterator[Finding]:
    for finding in elsewhere.findings(trace, clean, task, cell.scope):
        yield finding
        if finding.claim.metric == accuracy.DROP.name:
            for name in conditions:
                yield Finding(Claim(accuracy.DROP.name, _within(name, cell)), finding.statistic, finding.presupposes)
    lost = in_line(trace, clean, _lost(trace).repeat(trace.draws))
    if isinstance(lost, Missing):
        yield Finding(Claim(EXCESS_DROP.name, cell.scope), lost)
        return
    excess = bounded((lost - _lost(clean)).clip(-2.0, 2.0), -2.0, 2.0)
    yield Finding(Claim(EXCESS_DROP.name, cell.scope), excess, (working(trace, clean),))


def _within(condition: str, cell: Cell) -> Scope:
    """A cell as part of a condition."""
    return (("condition", condition), *cell.scope)


def _obstacle(kind: str, severity: int, context: Context) -> str:
    """Why a cell cannot be made from these images; '' where it can."""
    if kind == "elastic_transform" and context.task is TaskKind.SEGMENTATION:
        return "elastic_transform moves pixels to where the masks say that others are"
    return KINDS[kind].obstacle(severity, context.shape)


def _given(data: Sequence[DataName]) -> dict[tuple[str, int], Clean]:
    """The cells among the data sets of an audit: sets named corrupted:NAME:SEVERITY."""
    found = {}
    for name in data:
        if role_of(name) is DataRole.CORRUPTED:
            kind, _, severity = label_of(name).rpartition(":")
            found[kind, int(severity)] = Clean(name)
    return found


def _error_claim(role: Role) -> Claim:
    return Claim(MEAN_ERROR.name, (("role", role.value),))
