"""What an audit learns of a model's gradients: whence they are and how well they fit it, or why there are none."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.findings import Missing
from audit.gradients import FREE, Gradients
from audit.models.differentiable import gate
from audit.models.differentiable.gate import GradientFree


def of_onnx(content: bytes, given: str, fed: NDArray[np.generic], reference: Tensor) -> Gradients | Missing:
    """Of a checked ONNX file, by its output `given`: `fed` are items as it takes them, `reference` its answers."""
    if fed.dtype != np.float32:
        return _none(f"takes {fed.dtype}: gradients are taken of float32 alone")
    found = gate.differentiable(_alone(content, given), torch.from_numpy(fed), reference)
    if isinstance(found, GradientFree):
        return _none(found.reason)
    return Gradients("converted", found.deviation, len(fed))


def of_module(network: Callable[[Tensor], Tensor], x: Tensor, reference: Tensor, batch: int) -> Gradients | Missing:
    """Of a torch module itself, shown items as it takes them, at most `batch` at once; `reference` as above."""
    found = gate.measured(network, x, reference, engine="its outputs in the audit", batch=batch)
    return _none(found.reason) if isinstance(found, GradientFree) else Gradients("torch", found, len(x))


def _none(reason: str) -> Missing:
    return Missing(FREE, reason)


def _alone(content: bytes, given: str) -> bytes:
    """The same network with one of its outputs."""
    import onnx

    model = onnx.load_model_from_string(content)
    kept = [port for port in model.graph.output if port.name == given]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return bytes(model.SerializeToString())
