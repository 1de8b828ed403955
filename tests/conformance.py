"""The backend node tests that onnx brings along, carried out by our interpreter.

What is *applicable* is decided by the test alone, never by how it ends: a test is left out as *other operators* where
its model uses an operator that is not in our registry (which holds what image classifiers use; sequences, text,
random numbers, recurrent networks, training, signal processing and detection are not in it), and as *other types*
where an input, an output or a constant of it has an element type that torch does not compute with.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, numpy_helper

from audit.models.differentiable.dtypes import SUPPORTED
from audit.models.differentiable.interpreter import translate
from audit.models.differentiable.node import Unsupported
from audit.models.differentiable.operators import OPERATORS
from audit.models.graph import tensors

KINDS = ("node", "pytorch-operator", "pytorch-converted")


class Ending(Enum):
    """How a test ends."""

    PASS = "pass"
    REFUSED = "refused, with the reason"
    WRONG = "wrong result"
    CRASH = "other error"
    OPERATORS = "other operators"
    TYPES = "other element types"


@dataclass(frozen=True)
class Found:
    """One test, how it ended and what was said."""

    name: str
    kind: str
    operators: tuple[str, ...]
    ending: Ending
    message: str = ""

    @property
    def applicable(self) -> bool:
        return self.ending not in (Ending.OPERATORS, Ending.TYPES)


def run() -> list[Found]:
    """All tests of onnx that need no download, carried out."""
    return [_carried_out(kind, name, model, pairs) for kind in KINDS for name, model, pairs in _tests(kind)]


Pairs = list[tuple[list[Any], list[Any]]]


def _tests(kind: str) -> Iterator[tuple[str, ModelProto, Pairs]]:
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx makes its own expected values
        found = loader.load_model_tests(kind=kind)
    for test in found:
        if test.model is not None:
            yield test.name, test.model, [(list(i), list(o)) for i, o in test.data_sets]
        else:
            folder = Path(test.model_dir)
            yield test.name, onnx.load(folder / "model.onnx"), [_stored(f) for f in sorted(folder.glob("test_data_*"))]


def _stored(folder: Path) -> tuple[list[Any], list[Any]]:
    return _values(folder, "input"), _values(folder, "output")


def _values(folder: Path, kind: str) -> list[Any]:
    paths = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(TensorProto.FromString(path.read_bytes())) for path in paths]


def _carried_out(kind: str, name: str, model: ModelProto, pairs: Pairs) -> Found:
    operators = tuple(sorted(_operators(model)))
    if not all(operator in OPERATORS or operator == "If" for operator in operators):
        return Found(name, kind, operators, Ending.OPERATORS)
    if not _known_types(model):
        return Found(name, kind, operators, Ending.TYPES)
    try:
        ending, message = _compared(model, pairs)
    except Unsupported as refusal:
        ending, message = Ending.REFUSED, str(refusal)
    except Exception as error:
        ending, message = Ending.CRASH, f"{type(error).__name__}: {error}"
    return Found(name, kind, operators, ending, message)


def _operators(message: Any) -> set[str]:
    """Operators at any depth, those of other domains with their domain."""
    found = set()
    for field, value in message.ListFields():
        if field.name == "functions" or field.message_type is None:
            continue
        for part in value if field.is_repeated else [value]:
            if isinstance(part, onnx.NodeProto):
                found.add(f"{part.domain}.{part.op_type}" if part.domain not in ("", "ai.onnx") else part.op_type)
            found |= _operators(part)
    return found


def _known_types(model: ModelProto) -> bool:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    kinds = {value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else -1 for value in values}
    casts = {a.i for node in model.graph.node for a in node.attribute if a.name in ("to", "dtype", "output_dtype")}
    return kinds | casts | {tensor.data_type for tensor in tensors(model)} <= SUPPORTED.keys() | {0}


def _compared(model: ModelProto, pairs: Pairs) -> tuple[Ending, str]:
    for inputs, expected in pairs:
        content = model.SerializeToString()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            found = translate(content).run(*(_tensor(value) for value in inputs))
        for got, wanted in zip(found, expected, strict=True):
            if message := _difference(got, wanted):
                return Ending.WRONG, message
    return Ending.PASS, ""


def _tensor(value: Any) -> torch.Tensor:
    array = np.array(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _difference(found: torch.Tensor, expected: Any) -> str:
    """What differs, by the tolerances of onnx's own runner; "" where nothing does."""
    wanted = _tensor(expected)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return f"{found.dtype} {tuple(found.shape)}, not {wanted.dtype} {tuple(wanted.shape)}"
    close = torch.isclose(found.double(), wanted.double(), rtol=1e-3, atol=1e-7, equal_nan=True)
    return "" if bool(close.all()) else f"{int((~close).sum())} of {close.numel()} values"


def counts(found: list[Found]) -> Counter[Ending]:
    """How many tests ended in which way."""
    return Counter(entry.ending for entry in found)


def table(found: list[Found]) -> str:
    """How the tests ended, by kind, and what was refused, as Markdown."""
    lines = [
        f"onnx {onnx.__version__}: {len(found):,} tests, of which {sum(entry.applicable for entry in found):,} apply.",
        "",
        "| tests | " + " | ".join(ending.value for ending in Ending) + " |",
        "|---|" + "--:|" * len(Ending),
    ]
    for kind in KINDS:
        ended = counts([entry for entry in found if entry.kind == kind])
        lines.append(f"| {kind} | " + " | ".join(f"{ended[ending]:,}" for ending in Ending) + " |")
    ended = counts(found)
    lines.append("| **all** | " + " | ".join(f"**{ended[ending]:,}**" for ending in Ending) + " |")
    lines += ["", "| refused | tests |", "|---|--:|"]
    refused = Counter(_general(entry.message) for entry in found if entry.ending is Ending.REFUSED)
    return "\n".join(lines + [f"| {reason} | {number} |" for reason, number in sorted(refused.items())]) + "\n"


def _general(message: str) -> str:
    """A refusal without its opset."""
    operator, _, reason = message.partition(": ")
    return f"{operator.split(' (')[0]}: {reason}".replace("|", "\\|")


def operators() -> str:
    """The operators that are carried, by the file that holds them, as Markdown."""
    from audit.models.differentiable.operators import quantisation

    kinds: dict[str, list[str]] = {}
    for name, function in OPERATORS.items():
        if name != quantisation.QUANTISED:
            kinds.setdefault(function.__module__.rpartition(".")[2], []).append(name)
    rows = [f"| {kind} | {', '.join(sorted(names))} |" for kind, names in sorted(kinds.items())]
    total = sum(map(len, kinds.values()))
    return "\n".join([f"{total} operators.", "", "| kind | operators |", "|---|---|", *rows]) + "\n"
