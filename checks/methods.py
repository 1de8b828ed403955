"""From a trace to statistics: exact tests where every item is seen once, means over items where it counts by parts."""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.findings import BoundedMean, Metric, PairedDifference, Proportion
from audit.traces import Trace


def share(trace: Trace, has: NDArray[Any]) -> Proportion | BoundedMean:
    """Of rows that have a property: a proportion of items, or where they have it in part the mean of their shares.

    They have it in part in segmentation, where a row says on what share of its pixels, and where an item is seen often.
    """
    if trace.draws == 1 and has.dtype == np.bool_:
        return Proportion(int(has.sum()), len(trace))
    return bounded(trace.per_item(has), 0.0, 1.0)


def differing(trace: Trace) -> NDArray[Any]:
    """The contrary of agreement, as flags or as shares."""
    agree = trace.columns["agree"]
    return ~agree if agree.dtype == np.bool_ else 1.0 - agree


def paired(trace: Trace, one: NDArray[Any], other: NDArray[Any]) -> PairedDifference | BoundedMean:
    """How many more rows have one property than another: a paired difference, or as in `share` a mean over items."""
    if trace.draws == 1 and one.dtype == np.bool_:
        return PairedDifference(int((one & ~other).sum()), int((other & ~one).sum()), len(trace))
    return bounded(trace.per_item(one.astype(np.float64) - other.astype(np.float64)), -1.0, 1.0)


def mean(trace: Trace, values: NDArray[Any], metric: Metric) -> BoundedMean:
    """Of a distance within the metric's range, averaged over the draws of each item."""
    means = trace.per_item(
        np.clip(values, metric.low, metric.high)
    )  # of equal values at the end of the range, rounding goes beyond it
    return bounded(np.clip(means, metric.low, metric.high), metric.low, metric.high)


def bounded(values: NDArray[np.float64], low: float, high: float) -> BoundedMean:
    """Per-item values as a statistic: eight bytes an item."""
    return BoundedMean(array("d", values.tobytes()), low, high)
