"""What an attack sees of a network, and whether its gradients can be trusted, and whence they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from audit.findings import Missing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FREE = "gradient-free"
"""Reason code: there are no gradients that could be trusted."""
DEAD = "dead-gradients"
"""Reason code: there are gradients, and they are zero or no numbers: they lead nowhere."""

CHECKED = 64
"""Items of the test set on which gradients are checked; 32 are the fewest."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of a torch module itself, or of an ONNX file that was converted to torch.

    On `items` items of the audit, outputs in the form in which gradients are taken were at most `deviation` away from
    those of the audit, as a part of the largest.
    """

    how: Literal["torch", "converted"]
    deviation: float
    items: int


class Victim(Protocol):
    """A classifier as an attack sees it: items [N, C, H, W] in [0, 1] → scores float32 [N, K], all on `device`.

    Scores are logits, or of a network that ends in softmax its log-probabilities, which order the classes alike.
    `slack` is how far a difference of two scores may be from that of the network of record: an item is fooled only
    where it is fooled by more.
    """

    @property
    def gradients(self) -> Gradients | Missing: ...

    @property
    def device(self) -> "torch.device": ...

    @property
    def slack(self) -> float: ...

    def running(self) -> AbstractContextManager[None]:
        """Settings under which the same items give the same scores; everything else is called within."""
        ...

    def scores(self, x: "Tensor", /) -> "Tensor": ...

    def with_gradient(self, x: "Tensor", loss: "Callable[[Tensor], Tensor]", /) -> "tuple[Tensor, Tensor, Tensor]":
        """Scores [N, K], the loss of them [N], and its gradient by the items, shaped as `x`.

        Raises ValueError where there are no gradients.
        """
        ...
