"""The words of the project as types: no torch, no numpy, nothing of ours imported.

Every other module speaks in these. Rates are fractions in [0, 1] inside the program; a unit says how a
person reads and writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

Scope = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs that say where a metric was measured; () is the clean test set."""


class Role(StrEnum):
    """The part a model plays.

    `REFERENCE` is the trusted parent, `CANDIDATE` wants to ship in its place; `BASELINE`, where there is one, has
    the reference's architecture and was trained separately: the yard-stick of *Lost in Pruning*; `ORIGIN`, where there
    is one, is what the candidate's file was exported from: it tells the loss by pruning from the loss by conversion.
    """

    REFERENCE = "reference"
    CANDIDATE = "candidate"
    BASELINE = "baseline"
    ORIGIN = "origin"


PAIR = (Role.REFERENCE, Role.CANDIDATE)
"""The two roles of every audit."""


class DataRole(StrEnum):
    """What a data set is for.

    The test set, and the first items of it in judging order, for what takes long; inputs from elsewhere, labelled or
    not; inputs to calibrate on; and items of the test set under stated conditions, ready-made.
    """

    TEST = "test"
    SAMPLE = "sample"
    SHIFTED = "shifted"
    OUT_OF_DISTRIBUTION = "out-of-distribution"
    CALIBRATION = "calibration"
    CORRUPTED = "corrupted"


DataName = str
"""One data set of an audit: its role alone, or where a role has several `role:label`, such as `shifted:night`."""
LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What a data set may be called within its role."""
DATA_NAME = rf"^(test|sample:[1-9][0-9]*|calibration|(shifted|out-of-distribution)(:{LABEL})?|corrupted:{LABEL}:[1-5])$"
"""All names of data sets; a corrupted one is labelled by its corruption and severity, a sample by its size."""


def role_of(name: DataName) -> DataRole:
    """What a data set is for; raises ValueError where no data set can have that name.

    >>> role_of("shifted:night")
    <DataRole.SHIFTED: 'shifted'>
    """
    return DataRole(name.partition(":")[0])


def label_of(name: DataName) -> str:
    """What follows the role; '' for the role alone.

    >>> label_of("corrupted:fog:3"), label_of("test")
    ('fog:3', '')
    """
    return name.partition(":")[2]


def data_name(role: DataRole, label: str = "") -> DataName:
    """The name of a data set.

    >>> data_name(DataRole.SHIFTED, "night"), data_name(DataRole.TEST)
    ('shifted:night', 'test')
    """
    return f"{role.value}:{label}" if label else role.value


class TaskKind(StrEnum):
    """What the models do: name a class of an item, or of each of its pixels; estimate values; decide by them."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    REGRESSION = "regression"
    CONTROL = "control"


class OutputKind(StrEnum):
    """What a model's output row holds; `AUTO` is settled from the observed outputs."""

    AUTO = "auto"
    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"
    VALUES = "values"


class Unit(StrEnum):
    """How people read a value: percentages and points are the inner fraction × 100."""

    PERCENT = "%"
    POINTS = "points"
    DISTANCE = "distance"
    TOLERANCES = "tolerances"
    ITEMS = "items"
    LAYERS = "layers"

    @property
    def scale(self) -> float:
        """Factor from the inner value to the printed one."""
        return 100.0 if self in (Unit.PERCENT, Unit.POINTS) else 1.0


class Sense(StrEnum):
    """Which side of the limit is good."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class Verdict(Enum):
    """The five verdicts of ILAC-G8:09/2019 §4.2.3 plus NOT EVALUATED, from best to worst."""

    PASS = "PASS"
    CONDITIONAL_PASS = "CONDITIONAL PASS"
    CONDITIONAL_FAIL = "CONDITIONAL FAIL"
    NOT_EVALUATED = "NOT EVALUATED"
    FAIL = "FAIL"

    @property
    def rank(self) -> int:
        """0 for PASS up to 4 for FAIL: an overall verdict is the highest rank among its parts."""
        return list(Verdict).index(self)


def scope_value(name: str) -> str:
    """A name that somebody gave, such as that of a class, as a value of a scope: what has a meaning there is encoded.

    Byte by byte of UTF-8, so that no two names are written alike. Several names are joined by `+`.

    >>> scope_value("stop, all = 4 ways"), scope_value("*"), scope_value("\u08e2")
    ('stop%2C all %3D 4 ways', '%2A', '%E0%A3%A2')
    """
    return "".join(_encoded(sign) if sign in "%,=+*$@" or not sign.isprintable() else sign for sign in name)


def _encoded(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))


class Claim(NamedTuple):
    """A metric in a scope, for example `accuracy.drop@corruption=fog,severity=5`."""

    metric: str
    scope: Scope = ()

    @property
    def id(self) -> str:
        """The claim as one writes it in a policy."""
        scope = ",".join(f"{key}={value}" for key, value in self.scope)
        return f"{self.metric}@{scope}" if scope else self.metric

    @property
    def series(self) -> tuple[str, tuple[str, ...]]:
        """What the levels of one condition have in common: the metric and the keys of the scope."""
        return self.metric, tuple(key for key, _ in self.scope)

    @classmethod
    def parse(cls, text: str) -> "Claim":
        """Read a claim id; raises ValueError on a scope that is not `key=value,…`.

        >>> Claim.parse("accuracy.drop@severity=5,corruption=fog").id
        'accuracy.drop@corruption=fog,severity=5'
        """
        metric, at, scope = text.partition("@")
        pairs = [part.partition("=") for part in scope.split(",")] if at else []
        if not metric or any(not key or not equals or not value for key, equals, value in pairs):
            raise ValueError(f"{text!r} is not of the form metric or metric@key=value,key=value")
        if len({key for key, _, _ in pairs}) < len(pairs):
            raise ValueError(f"{text!r} names a scope key twice")
        return cls(metric, tuple(sorted((key, value) for key, _, value in pairs)))


@dataclass(frozen=True, slots=True)
class Criterion:
    """A limit that the policy sets on a claim; `limit` is an inner value (0.01 is one point).

    A `standing` criterion belongs to every policy; like one that is not `of_pair`, it says nothing about the
    candidate. One that counts
    `only_where_reference_holds` does not apply where the reference itself fails. A `waived` one is decided and
    printed, and left out of the overall verdict.
    """

    claim: Claim
    sense: Sense
    limit: float
    required: bool = True
    why: str = ""
    standing: bool = False
    only_where_reference_holds: bool = False
    waived: bool = False
    of_pair: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of an audit, resolved against its plan: every criterion names a promised claim.

    `floor` is the accuracy that the reference must be proven to have on clean data; elsewhere it is
    `floor_share` of its clean accuracy.
    """

    id: str
    alpha: float
    accept: frozenset[Verdict]
    floor: float
    criteria: tuple[Criterion, ...]
    floor_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Decision:
    """One criterion, decided; the p-values are None where nothing was measured.

    `p_pass_adverse` is p_pass with every near tie counted against the candidate. A decision that does not
    apply (`applicable`) takes no part in the overall verdict.
    """

    criterion: Criterion
    verdict: Verdict
    reason: str
    detail: str = ""
    p_pass: float | None = None
    p_fail: float | None = None
    p_fail_holm: float | None = None
    p_pass_adverse: float | None = None
    applicable: bool = True

    @property
    def counts(self) -> bool:
        """Whether the overall verdict rests on it."""
        return self.criterion.required and self.applicable and not self.criterion.waived


@dataclass(frozen=True, slots=True)
class Decisions:
    """All criteria decided, and the overall verdict with the reason code that led to it."""

    overall: Verdict
    reason: str
    parts: tuple[Decision, ...]
    counts: Mapping[Verdict, int]
