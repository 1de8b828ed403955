"""What two models left on the same inputs, side by side: what every check measures on."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.findings import Missing
from audit.types import OutputKind, Role

Columns = Mapping[str, NDArray[Any]]
"""Named per-item arrays; the first axis is the item."""
ALONE, ANY = -1, -2
"""In a column `also_*`, in the place of the class that rounding could put first as well: there is none; or several."""


@dataclass(frozen=True, slots=True)
class Side:
    """One model's observations of a probe: what it left, what its outputs are, and its runtime's noise.

    `noise` is the largest difference, absolute, that the runtime itself made to an output of the same item.
    """

    columns: Columns
    kind: OutputKind
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    """The join of two roles' observations of one probe, in the pre-registered order of the items.

    Rows are items × draws, item by item; `columns` are the pair columns of the task; `chance` is what guessing gets.
    `order` [N] is the place of each item among the distinct stored ones: data sets are judged each in an order of its
    own, and sets of the same images are brought into line by it. `own` are the columns of the probe itself, `turned`
    the pair columns that differ where every near tie counts against the other role.
    """

    columns: Columns
    draws: int = 1
    chance: float = 0.0
    order: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    own: Columns = field(default_factory=dict)
    turned: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        """Items."""
        return len(next(iter(self.columns.values()))) // self.draws

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        held = (*self.columns.values(), *self.own.values(), *self.turned.values())
        return self.order.nbytes + sum(values.nbytes for values in held)

    def against(self) -> "Trace":
        """The same with every near tie counted against the other role."""
        return replace(self, columns={**self.columns, **self.turned}) if self.turned else self

    def per_item(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean over the draws of each item [N]: draws of one item are a cluster, never further items."""
        seen = np.asarray(values, np.float64)
        means: NDArray[np.float64] = seen.reshape(-1) if self.draws == 1 else seen.reshape(-1, self.draws).mean(axis=1)
        return means

    def of_rows(self, rows: NDArray[np.bool_], *names: str) -> "Trace":
        """The named columns of some of the items, with all their draws; `rows` [N × draws] is alike for all of one."""
        return Trace(_Some(self.columns, names, np.flatnonzero(rows)), self.draws, self.chance)


class _Some(Mapping[str, NDArray[Any]]):
    """Some rows of some columns, each taken out when it is asked for: mostly few of them are."""

    def __init__(self, columns: Columns, names: tuple[str, ...], places: NDArray[np.intp]) -> None:
        self._columns, self._places = {name: columns[name] for name in names}, places
        self._taken: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._taken:
            self._taken[name] = self._columns[name][self._places]
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass
class Cache:
    """Traces that were joined, by probe and pair, up to so many `bytes` in all: the last that were asked for.

    Every check that looks under conditions asks for the same ones.
    """

    bytes: int = 2**28
    _held: OrderedDict[tuple[str, tuple[Role, Role]], Trace | Missing] = field(default_factory=OrderedDict)

    def __contains__(self, key: tuple[str, tuple[Role, Role]]) -> bool:
        return key in self._held

    def __getitem__(self, key: tuple[str, tuple[Role, Role]]) -> Trace | Missing:
        self._held.move_to_end(key)
        return self._held[key]

    def keep(self, key: tuple[str, tuple[Role, Role]], trace: Trace | Missing) -> None:
        """Take one in, and let go of others where there is no room; the last one stays whatever its size."""
        self._held[key] = trace
        while len(self._held) > 1 and sum(map(_bytes, self._held.values())) > self.bytes:
            self._held.popitem(last=False)


def _bytes(trace: Trace | Missing) -> int:
    return trace.bytes if isinstance(trace, Trace) else 0
