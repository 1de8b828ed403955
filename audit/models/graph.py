"""What an ONNX file stores: every tensor inside it, wherever it is kept, and none outside it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.errors import AuditError
from audit.models import unfolding

if TYPE_CHECKING:
    from onnx import TensorProto

HINT = "Name an ONNX file that onnxruntime can run, one image input, one output of class scores."
_NAMES = ("names", "classes", "class_names", "labels", "id2label")
_LOOKING = ("Shape", "Size", "If", "Loop", "Scan", "NonZero", "Unique")
_WEIGHT_TYPES = re.compile(r"B?FLOAT\w*|DOUBLE|U?INT(?:2|4|8|16)")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file holds: weights, those of them that are not zero, and the names of its classes, () without them."""

    parameters: int
    nonzero: int
    class_names: tuple[str, ...]


def parse(content: bytes, path: Path) -> Any:
    """The message that a file holds, unchecked; raises AuditError for anything but ONNX."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if not content:
            raise ValueError("the file is empty")
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError, TypeError) as error:
        raise _invalid(path, error) from error


def examine(content: bytes, path: Path) -> Stored:
    """What a checked file stores; raises AuditError for anything but a self-contained network.

    Weights are the values of all tensors in the file (initialisers, sparse ones by their stored values, constants,
    branches, functions) that are floating-point, or integers of at most 16 bits, as quantised networks store
    them. Wider integers are shapes, indices and biases of quantised layers, and do not count.
    """
    import onnx

    model = parse(content, path)
    # onnxruntime would read such a tensor from the working directory: the digest would not cover it.
    if any(tensor.data_location == tensor.EXTERNAL for tensor in tensors(model)):
        raise AuditError(
            f"{path}: keeps its weights in another file", "Export with the weights inside (external_data=False)."
        )
    try:
        unfolding.require_bounded(model)
        onnx.checker.check_model(content)
        return Stored(*_count(model), _class_names(model))
    except (onnx.checker.ValidationError, ValueError, TypeError, LookupError) as error:
        raise _invalid(path, error) from error


def _invalid(path: Path, error: Exception) -> AuditError:
    return AuditError(f"{path}: not a valid ONNX file ({first_line(error)})", HINT)


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


def may_be_freed(content: bytes, path: Path) -> bool:
    """Whether no node looks at sizes or decides by its input: another size of batch could make it another network."""
    model = parse(content, path)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return not any(node.op_type in _LOOKING for node in nodes)


def without_batch(content: bytes) -> bytes:
    """The same network with its first axis left open, at its input and outputs; sizes in between are forgotten."""
    import onnx

    model = onnx.load_model_from_string(content)
    constant = {each.name for each in model.graph.initializer}
    for port in (*model.graph.input, *model.graph.output):
        sizes = port.type.tensor_type.shape.dim
        if port.name not in constant and sizes:
            sizes[0].dim_param = "batch"
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def watching(content: bytes, layer: str, path: Path) -> tuple[bytes, str]:
    """The same network with the values of a layer among its outputs, and the name of those values.

    A layer is named by what it gives, or by the node that gives it. Raises AuditError where no node does.
    """
    model = parse(content, path)
    values = [value for node in model.graph.node for value in node.output if value]
    by_node = {node.name: node.output[0] for node in model.graph.node if node.name and any(node.output[:1])}
    outputs = {port.name for port in model.graph.output}
    found = layer if layer in values else by_node.get(layer)
    if found is None:
        last = ", ".join(repr(value) for value in values[-6:] if value not in outputs)
        raise AuditError(
            f"{path}: has no layer {layer!r}", f"Name a value or a node of it; the last values are {last}."
        )
    if found not in outputs:
        try:
            model.graph.output.add(name=found)
        except UnicodeDecodeError as error:
            raise AuditError(f"{path}: not a valid ONNX file (a name in it is not UTF-8)", HINT) from error
    return bytes(model.SerializeToString()), found


def _class_names(model: Any) -> tuple[str, ...]:
    """The names of the classes in the order of the outputs, as exporters leave them in the metadata.

    A list, a mapping from index to name or from name to index, as JSON or as Python writes them, or one name to a line.
    """
    held = {each.key: each.value for each in model.metadata_props}
    found = next((held[key] for key in _NAMES if key in held), "").strip()
    try:
        value = ast.literal_eval(found)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = found.splitlines() if "\n" in found else ()
    if isinstance(value, dict):
        turned = all(isinstance(index, int) for index in value.values())
        named = {str(b if turned else a): a if turned else b for a, b in value.items()}
        value = [named.get(str(index)) for index in range(len(named))]
    complete = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
    return tuple(value) if complete else ()


def first_line(error: BaseException) -> str:
    """What an error says first, or its type where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
