"""From the bytes of a checked ONNX file to a network with gradients, or the reason why there is none."""

import torch

from audit.findings import Missing
from audit.gradients import FREE
from audit.models.differentiable.interpreter import Interpreter, translate
from audit.models.differentiable.node import Unsupported
from audit.models.graph import first_line


def network(content: bytes, given: str, device: torch.device) -> Interpreter | Missing:
    """The part of a file that leads to its output `given`, on a device; nothing is said yet of what it answers."""
    try:
        return translate(_alone(content, given)).to(device)
    except Unsupported as refusal:
        return Missing(FREE, f"not translated: {refusal}")
    except Exception as error:  # a graph of others: whatever it makes torch do, the audit goes on without gradients
        return Missing(FREE, f"not translated: {first_line(error)}")


def _alone(content: bytes, given: str) -> bytes:
    """The same network with one of its outputs."""
    import onnx

    model = onnx.load_model_from_string(content)
    kept = [port for port in model.graph.output if port.name == given]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return bytes(model.SerializeToString())
