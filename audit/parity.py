"""How far apart a network's answers to the same items may lie, and were found to."""

from dataclasses import dataclass

TOLERANCE = 1e-3
"""Of the largest output: far above rounding, far below what another batch does to a network in training mode."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences of an output between answers of one network to the same item.

    `noise` is the largest of all, absolute. `batch`, between batches of other items, orders and sizes, and `reload`,
    between what was observed and what the network answers when it is loaded again, are parts of the largest output.
    `items` gave nothing but numbers: about others none of this says anything.
    """

    noise: float = 0.0
    batch: float = 0.0
    reload: float = 0.0
    items: int = 0

    def merged(self, other: "Parity") -> "Parity":
        """The larger of each."""
        return Parity(
            max(self.noise, other.noise),
            max(self.batch, other.batch),
            max(self.reload, other.reload),
            max(self.items, other.items),
        )
