"""From a trace to statistics: exact tests where every item is seen once, means over items where it is seen often."""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Trace
from audit.findings import BoundedMean, Metric, PairedDifference, Proportion

Flags = NDArray[np.bool_]


def share(trace: Trace, has: Flags) -> Proportion | BoundedMean:
    """Of rows that have a property: a proportion of items, or over several draws the mean of per-item shares."""
    if trace.draws == 1:
        return Proportion(int(has.sum()), len(trace))
    return bounded(trace.per_item(has), 0.0, 1.0)


def paired(trace: Trace, harm: Flags, gain: Flags) -> PairedDifference | BoundedMean:
    """Of rows that lose and rows that win: a paired difference, or the mean of per-item differences."""
    if trace.draws == 1:
        return PairedDifference(int(harm.sum()), int(gain.sum()), len(trace))
    return bounded(trace.per_item(harm.astype(np.int8) - gain.astype(np.int8)), -1.0, 1.0)


def mean(trace: Trace, values: NDArray[Any], metric: Metric) -> BoundedMean:
    """Of a distance within the metric's range, averaged over the draws of each item."""
    means = trace.per_item(values)  # of equal values at the end of the range, rounding goes beyond it
    return bounded(np.clip(means, metric.low, metric.high), metric.low, metric.high)


def bounded(values: NDArray[np.float64], low: float, high: float) -> BoundedMean:
    """Per-item values as a statistic: eight bytes an item."""
    return BoundedMean(array("d", values.tobytes()), low, high)
