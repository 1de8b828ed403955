"""What an ONNX file stores: every tensor inside it, wherever it is kept, and none outside it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.errors import AuditError

if TYPE_CHECKING:
    from onnx import TensorProto

HINT = "Name an ONNX file that onnxruntime can run, weights inside, one image input, one output of class scores."
_WEIGHT_TYPES = re.compile(r"B?FLOAT\w*|DOUBLE|U?INT(?:2|4|8|16)")


def weights(content: bytes, path: Path) -> tuple[int, int]:
    """(stored weights, those not zero) of a checked file; raises AuditError for anything but a self-contained network.

    Weights are the values of all tensors in the file (initialisers, sparse ones by their stored values, constants,
    branches, functions) that are floating-point, or integers of at most 16 bits, as quantised networks store
    them. Wider integers are shapes, indices and biases of quantised layers, and do not count.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if not content:
            raise ValueError("the file is empty")
        model = onnx.load_model_from_string(content)
        # onnxruntime would read such a tensor from the working directory: the digest would not cover it.
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
            raise AuditError(
                f"{path}: keeps its weights in another file",
                "Export with the weights inside (external_data=False).",
            )
        onnx.checker.check_model(content)
        return _count(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError, LookupError) as error:
        raise AuditError(f"{path}: not a valid ONNX file ({first_line(error)})", HINT) from error


def tensors(message: Any) -> Iterator["TensorProto"]:
    """Every tensor at any depth of a message: of initialisers, attributes, branches and functions alike."""
    from google.protobuf.message import Message
    from onnx import TensorProto

    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from tensors(part)


def _count(model: Any) -> tuple[int, int]:
    from onnx import TensorProto, numpy_helper

    stored = nonzero = 0
    for tensor in tensors(model):
        if _WEIGHT_TYPES.fullmatch(TensorProto.DataType.Name(tensor.data_type)):
            values = numpy_helper.to_array(tensor)
            stored += values.size
            nonzero += int(np.count_nonzero(values))
    return stored, nonzero


def first_line(error: BaseException) -> str:
    """What an error says first, or its type where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
