"""What did the candidate forget of single classes, which an average hides? (Hooker et al., arXiv 1911.05248.)"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.errors import AuditError
from audit.findings import Finding, Kind, Metric, Missing, Statistic
from audit.types import PAIR, Claim, Scope, Sense, TaskKind, Unit, scope_value
from checks.accuracy import working
from checks.confusion import ByClass
from checks.perturbations.clean import CLEAN

CELLS: Final = 20
"""Classes up to which every cell of the confusion matrix is looked at: there are K · (K − 1) of them."""
MANY: Final = 100
"""Classes beyond which, under conditions, only those are looked at one by one that the settings name."""


def _own(name: str, title: str, meaning: str) -> Metric:
    """Of one model."""
    return Metric(
        name=f"per_class.{name}", title=title, unit=Unit.PERCENT, low=0.0, high=1.0, better=Sense.AT_LEAST,
        kind=Kind.PROPORTION, meaning=meaning, of_pair=False,
    )  # fmt: skip


def _change(
    name: str, title: str, meaning: str, kind: Kind = Kind.PAIRED, *, beyond_class: bool = False
) -> Metric:  # fmt: skip
    return Metric(
        name=f"per_class.{name}", title=title, unit=Unit.POINTS, low=-1.0, high=1.0, better=Sense.AT_MOST, kind=kind,
        meaning=meaning, of_pair=kind is not Kind.COUNTED, beyond_class=beyond_class,
    )  # fmt: skip


def _share(name: str, title: str, better: Sense, meaning: str) -> Metric:
    return Metric(
        name=f"per_class.{name}", title=title, unit=Unit.PERCENT, low=0.0, high=1.0, better=better,
        kind=Kind.PROPORTION, meaning=meaning,
    )  # fmt: skip


RECALL: Final = _own("recall", "Recall", "Share of the items of the class that a model names so.")
PRECISION: Final = _own("precision", "Precision", "Share of the items that a model names so that are of the class.")
ACCURACY: Final = _own("accuracy", "Accuracy, one against the rest",
                       "Share of all items of which a model says rightly whether they are of the class.")  # fmt: skip
RECALL_DROP: Final = _change(
    "recall_drop", "Loss of recall",
    "Recall of the reference minus recall of the candidate, on the same items of the class. It presupposes that the "
    "reference itself recalls the class.",
)  # fmt: skip
ACCURACY_DROP: Final = _change(
    "accuracy_drop", "Loss of accuracy, one against the rest",
    "Accuracy of the reference, one class against the rest, minus that of the candidate, on all items.",
    beyond_class=True,
)  # fmt: skip
FALSE_NAMING: Final = _change(
    "false_naming_increase", "More items falsely named so",
    "Share of the items of other classes that the candidate names so, minus the share that the reference does: what "
    "takes precision away, paired on the same items.",
    beyond_class=True,
)  # fmt: skip
PRECISION_DROP: Final = _change(
    "precision_drop", "Loss of precision",
    "Precision of the reference minus precision of the candidate. Each is over other items, so that nothing is paired: "
    "as counted. What is proven is false_naming_increase.",
    Kind.COUNTED,
)  # fmt: skip
NEGATIVE: Final = _share("negative_flips", "Right before, wrong now", Sense.AT_MOST,
                         "Share of the items of the class that only the reference gets right.")  # fmt: skip
POSITIVE: Final = _share("positive_flips", "Wrong before, right now", Sense.AT_LEAST,
                         "Share of the items of the class that only the candidate gets right.")  # fmt: skip
CONFUSION: Final = _share(
    "confusion", "Taken for another class", Sense.AT_MOST,
    "Share of the items of `class` that the candidate names `named`. Of confusions that the policy names.",
)  # fmt: skip
CONFUSION_INCREASE: Final = _change(
    "confusion_increase", "Taken more often for another class",
    "Share of the items of `class` that the candidate names `named`, minus the share that the reference does. Of all "
    f"pairs of at most {CELLS} classes on clean data, and of those that the policy names.",
)  # fmt: skip
WORST: Final = _change(
    "worst_recall_drop", "Largest loss of recall of any class",
    "The largest of the classes' losses of recall, as counted; not told where a class has no items. The largest of "
    "many estimates proves nothing: what is proven is each class, by its own criterion.",
    Kind.COUNTED,
)  # fmt: skip
DISTANCE: Final = Metric(
    name="per_class.confusion_distance", title="Distance of the confusion matrices", unit=Unit.DISTANCE, low=0.0,
    high=1.0, better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Total variation between the two joint distributions of label and named class: half the sum of the "
    "differences of all cells, by the number of items. As counted.",
)  # fmt: skip
Measure = Callable[[ByClass], Statistic | Missing]


@dataclass(frozen=True, slots=True)
class _Promise:
    """A claim, how it is measured, and the class that it presupposes the reference to recall, if any.

    What `compares` the two presupposes a reference that works at all: two networks that noise drives to one class are
    alike.
    """

    claim: Claim
    measure: Measure
    presupposed: int | None = None
    compares: bool = True


@dataclass(frozen=True)
class PerClass:
    """Recall, precision, flips and confusions of every class, on clean data and under conditions.

    With `classes` only those are looked at one by one. `confusions` are pairs [class, named]: that items of the one are
    taken for the other, which weighs more than other mistakes.
    """

    classes: tuple[str, ...] = ()
    confusions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        given: tuple[tuple[object, ...], ...] = (self.classes, self.confusions)
        for names in given:
            if len(set(names)) < len(names):
                raise ValueError(f"{names} names something twice")
        if same := [one for one, other in self.confusions if one == other]:
            raise ValueError(f"{same[0]!r} is not taken for itself")

    name: ClassVar[str] = "per_class"
    summary: ClassVar[str] = (
        "recall, precision, flips and confusions of every class, on clean data and under conditions"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        RECALL, PRECISION, ACCURACY, RECALL_DROP, ACCURACY_DROP, FALSE_NAMING, PRECISION_DROP, NEGATIVE, POSITIVE,
        CONFUSION, CONFUSION_INCREASE, WORST, DISTANCE,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        if context.task is not TaskKind.CLASSIFICATION:
            return Ask((), ())
        scopes: tuple[Scope, ...] = ((), *(condition.scope for condition in context.conditions))
        return Ask((CLEAN,), tuple(each.claim for scope in scopes for each in self._promises(context, scope)))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        if context.task is not TaskKind.CLASSIFICATION:
            return
        clean = ledger.trace(CLEAN)
        for scope, probe in [((), CLEAN), *((each.scope, each.probe) for each in context.conditions)]:
            trace = ledger.trace(probe)
            if isinstance(trace, Missing) or isinstance(clean, Missing):
                why = trace if isinstance(trace, Missing) else clean
                assert isinstance(why, Missing)
                yield from (Finding(each.claim, why) for each in self._promises(context, scope))
                continue
            view, whole = ByClass(trace, clean, context.classes), (working(trace, clean if scope else None),)
            for each in self._promises(context, scope):
                recalls = () if each.presupposed is None else view.recalling(each.presupposed)
                yield Finding(each.claim, each.measure(view), (*recalls, *whole) if each.compares else recalls)

    def _promises(self, context: Context, scope: Scope) -> Iterator[_Promise]:
        """Everything that is measured of clean data, or in the scope of a condition."""
        for number in self._looked_at(context, scope):
            yield from _of_class(context.classes[number], number, scope)
        for one, other in self._cells(context, scope):
            own = _scope(scope, **{"class": context.classes[one]}, named=context.classes[other])
            increase = partial(ByClass.confusion_increase, number=one, named=other)
            yield _Promise(Claim(CONFUSION_INCREASE.name, own), increase, one)
            if (context.classes[one], context.classes[other]) in self.confusions:
                confusion = partial(ByClass.confusion, number=one, named=other)
                yield _Promise(Claim(CONFUSION.name, own), confusion, compares=False)
        yield _Promise(Claim(WORST.name, scope), ByClass.worst_recall_drop)
        yield _Promise(Claim(DISTANCE.name, scope), ByClass.distance)

    def _looked_at(self, context: Context, scope: Scope) -> Sequence[int]:
        """The classes that are looked at one by one; raises AuditError for one that there is not."""
        if self.classes:
            return [_number(context, name) for name in self.classes]
        return range(len(context.classes)) if not scope or len(context.classes) <= MANY else ()

    def _cells(self, context: Context, scope: Scope) -> list[tuple[int, int]]:
        """The confusions that are compared; raises AuditError for a class that there is not."""
        named = [(_number(context, one), _number(context, other)) for one, other in self.confusions]
        if scope or len(context.classes) > CELLS:
            return named
        every = range(len(context.classes))
        return [(one, other) for one in every for other in every if one != other]


def _of_class(name: str, number: int, scope: Scope) -> Iterator[_Promise]:
    """What is measured of one class: less under a condition than on clean data."""
    own = _scope(scope, **{"class": name})

    def promise(metric: Metric, measure: Callable[..., Statistic | Missing], *, presupposing: bool = True) -> _Promise:
        return _Promise(Claim(metric.name, own), partial(measure, number=number), number if presupposing else None)

    yield promise(RECALL_DROP, ByClass.recall_drop)
    yield promise(FALSE_NAMING, ByClass.false_naming_increase, presupposing=False)
    yield promise(NEGATIVE, ByClass.negative_flips)
    if scope:
        return
    yield _Promise(Claim(POSITIVE.name, own), partial(ByClass.positive_flips, number=number), compares=False)
    yield promise(ACCURACY_DROP, ByClass.accuracy_drop)
    yield promise(PRECISION_DROP, ByClass.precision_drop)
    for role in PAIR:
        for metric, measure in ((RECALL, ByClass.recall), (PRECISION, ByClass.precision), (ACCURACY, ByClass.accuracy)):
            claim = Claim(metric.name, tuple(sorted((*own, ("role", role.value)))))
            yield _Promise(claim, partial(measure, number=number, role=role), compares=False)


def _scope(scope: Scope, **more: str) -> Scope:
    return tuple(sorted((*scope, *((key, scope_value(value)) for key, value in more.items()))))


def _number(context: Context, name: str) -> int:
    if name not in context.classes:
        raise AuditError(
            f"check 'per_class': there is no class {name!r}",
            f"Correct [settings.per_class]; there are {', '.join(context.classes[:12])}.",
        )
    return context.classes.index(name)
