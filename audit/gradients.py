"""Whether a network has gradients that can be trusted, and whence."""

from dataclasses import dataclass
from typing import Literal

FREE = "gradient-free"
"""Reason code: there are no gradients that could be trusted."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of a torch module itself, or of an ONNX file that was converted to torch.

    On `items` items of the audit, outputs in the form in which gradients are taken were at most `deviation` away from
    those of the audit, as a part of the largest.
    """

    how: Literal["torch", "converted"]
    deviation: float
    items: int
