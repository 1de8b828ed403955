"""Element types: which of ONNX's are carried, and as which of torch's."""

from typing import TYPE_CHECKING

import torch

from audit.models.differentiable.node import Node

if TYPE_CHECKING:
    pass

# The numbers of TensorProto.DataType. torch has few operators for wider unsigned integers and smaller floats.
SUPPORTED: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


def supported(node: Node, kind: int) -> torch.dtype:
    """The torch type of an element type; Unsupported where there is none."""
    if kind not in SUPPORTED:
        raise node.refuse(f"element type {kind}")
    return SUPPORTED[kind]
