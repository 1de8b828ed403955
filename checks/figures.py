"""Words for the figures of calibration, and for shares as the scopes of claims write them."""

import math

from audit.findings import Kind, Metric
from audit.types import Claim, Sense, Unit


def counted(
    name: str, title: str, meaning: str, unit: Unit = Unit.PERCENT, better: Sense = Sense.AT_MOST, low: float = 0.0,
    high: float = 1.0, reach: str = "As counted: nothing is said beyond these items.",
) -> Metric:  # fmt: skip
    """A figure that is counted: no audit passes by such alone."""
    return Metric(
        name=f"calibration.{name}", title=title, unit=unit, low=low, high=high, better=better, kind=Kind.COUNTED,
        meaning=f"{meaning} {reach}", of_pair=False,
    )  # fmt: skip


def paired_rise(name: str, title: str, meaning: str) -> Metric:
    """By how many more items the candidate has a property."""
    return Metric(
        name=f"calibration.{name}", title=title, unit=Unit.POINTS, low=-1.0, high=1.0, better=Sense.AT_MOST,
        kind=Kind.PAIRED, meaning=meaning,
    )  # fmt: skip


def claim(metric: Metric, **scope: str) -> Claim:
    """A metric in a scope."""
    return Claim(metric.name, tuple(sorted((key, str(value)) for key, value in scope.items())))


def percent(share: float) -> str:
    """A share as scopes write it.

    >>> percent(0.9), percent(0.995)
    ('90', '99.5')
    """
    return f"{100 * share:g}"


def require_names(shares: tuple[float, ...]) -> None:
    """Raise ValueError where two shares have one name, or one has more digits than its name."""
    names = [percent(share) for share in shares]
    exact = all(math.isclose(float(name), 100 * share) for name, share in zip(names, shares, strict=True))
    if len(set(names)) < len(names) or not exact:
        raise ValueError(f"the shares {shares} must differ, and have six digits at most")
