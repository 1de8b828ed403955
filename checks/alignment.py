"""How alike two networks see the items: centred kernel alignment of what a layer of each gives.

With linear kernels (Kornblith et al., arXiv 1905.00414), from unbiased estimates of the Hilbert–Schmidt criterion (Song
et al., JMLR 13, 2012): the plug-in estimate calls any two layers alike that are wider than there are items.
"""

from collections.abc import Iterable, Iterator
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.types import Claim, Role, Sense, Unit
from checks.perturbations.clean import CLEAN

_ESTIMATE: Final = (
    "Linear centred kernel alignment of what the named layers give for the items: 100 % where they see them alike up "
    "to rotation and scale, about 0 where they have nothing in common (Kornblith et al., 2019; unbiased estimate of "
    "Song et al., 2012). Layers that answer to a few items alone are alike where these are the same. As counted: "
    "nothing is said beyond these items."
)


def _alignment(name: str, title: str, meaning: str) -> Metric:
    """Counted, and what a layer gives need not decide anything: no audit passes by such alone."""
    return Metric(
        name=name, title=title, unit=Unit.PERCENT, low=-1.0, high=1.0, better=Sense.AT_LEAST, kind=Kind.COUNTED,
        meaning=meaning, of_pair=False,
    )  # fmt: skip


ALIGNMENT: Final = _alignment(
    "functional.alignment", "Alignment of the named layers", f"{_ESTIMATE} That of the reference and of the candidate.",
)  # fmt: skip
BASELINE_ALIGNMENT: Final = _alignment(
    "baseline.alignment", "Alignment of the named layers, baseline and reference", f"{_ESTIMATE} That of the reference "
    "and of the separately trained baseline: how alike two networks are that learned the same apart from each other.",
)  # fmt: skip
METRICS: Final = (ALIGNMENT, BASELINE_ALIGNMENT)
_OTHERS: Final = {Role.CANDIDATE: ALIGNMENT, Role.BASELINE: BASELINE_ALIGNMENT}
_FEWEST: Final = 4
"""Items below which there is no unbiased estimate."""
_ROUNDING: Final = 1e-10
"""Of what a criterion is made of: below it, it is nothing but rounding."""
_DIGITS: Final = 12
"""Beyond them lies the order in which a processor adds."""

Rows = NDArray[np.float64]
Parts = Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]


def claims(context: Context) -> list[Claim]:
    """What is promised where layers are named."""
    return [Claim(metric.name) for role, metric in _OTHERS.items() if {Role.REFERENCE, role} <= {*context.watched}]


def findings(context: Context, ledger: LedgerView) -> Iterator[Finding]:
    """The alignment of each other model with the reference, on clean items."""
    promised = claims(context)
    for role, metric in _OTHERS.items():
        if (claim := Claim(metric.name)) in promised:
            parts = ledger.layers(CLEAN, role)
            yield Finding(claim, parts if isinstance(parts, Missing) else aligned(parts))


def aligned(parts: Parts) -> Exact | Missing:
    """Linear centred kernel alignment of rows [N, D] and [N, E] that come in parts, in [-1, 1].

    Missing for fewer than four items, for values that are no numbers, and where a layer gives the same for all items,
    or for all but one: then all that is left is rounding.
    """
    origin: tuple[Rows, Rows] | None = None
    sums: list[Rows] = []
    for x, y in parts:
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return Missing("non-finite", "a named layer gives NaN or infinity")
        if origin is None:
            # No alignment hangs on where zero lies; far from it the sums of products would cancel.
            origin = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
        left, right = _extended(x - origin[0]), _extended(y - origin[1])
        for place, pair in enumerate(((left, right), (left, left), (right, right))):
            if len(sums) == place:
                sums.append(_product(*pair))
            else:
                sums[place] += _product(*pair)  # in place: they are the size of the layers squared
    if not sums or (n := round(sums[0][-1, -1])) < _FEWEST:
        return Missing("too-few-items", f"an alignment takes {_FEWEST} items at least")
    both, one, other = sums
    if not (_varies(one) and _varies(other)):
        return Missing("no-variation", "a named layer gives the same for all items, but for one at most")
    own, others = _criterion(one), _criterion(other)
    return Exact(round(min(max(_criterion(both) / own * sqrt(own / others), -1.0), 1.0), _DIGITS), n)


def _extended(rows: Rows) -> Rows:
    """Rows [N, D], each with the square of its length and with 1: sums of products of those are all that is needed."""
    return np.column_stack([rows, np.einsum("ij,ij->i", rows, rows), np.ones(len(rows))])


def _product(left: Rows, right: Rows) -> Rows:
    """Sums over rows of products of their values [D + 2, E + 2].

    The left ones are copied, so that of equal rows the same routine gives the same bits as of others.
    """
    product: Rows = left.T.copy() @ right
    return product


def _square(matrix: Rows) -> float:
    """The sum of the squares of its values."""
    return float(np.einsum("ij,ij->", matrix, matrix))


def _varies(sums: Rows) -> bool:
    """Whether the criterion of rows with themselves is more than rounding of what it is made of."""
    n = float(sums[-1, -1])
    return _criterion(sums) > _ROUNDING * _square(sums[:-2, :-2]) / (n * (n - 3))


def _criterion(sums: Rows) -> float:
    """The unbiased Hilbert–Schmidt criterion, from sums of products of extended rows [D + 2, E + 2].

    Of the kernels K and L, all scalar products of rows, without their diagonals, and with Σ for the sum of all values
    of a matrix, it is (tr KL + ΣK · ΣL / ((n − 1)(n − 2)) − 2 · ΣKL / (n − 2)) / (n(n − 3)).
    """
    products, x, y, n = sums[:-2, :-2], sums[:-2, -1], sums[-1, :-2], sums[-1, -1]
    squares = sums[-2, -2]
    traces = _square(products) - squares
    within = (x @ x - sums[-2, -1]) * (y @ y - sums[-1, -2])
    crossed = x @ products @ y - x @ sums[:-2, -2] - sums[-2, :-2] @ y + squares
    return float((traces + within / ((n - 1) * (n - 2)) - 2 * crossed / (n - 2)) / (n * (n - 3)))
