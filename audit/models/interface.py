"""What an ONNX file declares of its input and its outputs, and how items and scores fit that."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.models import outputs
from audit.models.adapter import Preprocessing, Slot
from audit.models.graph import HINT, first_line
from audit.models.outputs import UnfitError

if TYPE_CHECKING:
    import onnxruntime

_TYPES = {"float": "float32", "float16": "float16", "double": "float64", "uint8": "uint8"}
"""Element types that a network can take, by onnxruntime's names."""
_SCORES = ("float", "double")
"""Those of scores: in half precision most differences round away, and near ties with them."""


@dataclass(frozen=True, slots=True)
class Interface:
    """The input and the output that count: `item` is the shape of one item, `batch` the only size that runs or None.

    `watched` names the output that has the values of a layer, '' where none is watched.
    """

    taken: str
    dtype: str
    item: tuple[int, ...]
    batch: int | None
    given: str
    watched: str = ""

    @property
    def fetched(self) -> list[str]:
        """The outputs that are looked at, the one that counts first."""
        return [self.given, self.watched] if self.watched else [self.given]

    def feed(self, x: NDArray[np.float32], preprocessing: Preprocessing) -> dict[str, NDArray[np.generic]]:
        """What a session takes for preprocessed items."""
        return {self.taken: preprocessing.typed(x, self.dtype).reshape(len(x), *self.item)}

    def described(self, freed: int | None) -> dict[str, str | int]:
        """What of its form could change an output, or which of several it is."""
        fixed = {} if self.batch is None else {"batch": self.batch}
        without = {} if freed is None else {"batch": f"any, in the file {freed}"}
        watched = {"watched": self.watched} if self.watched else {}
        return {"output": self.given, **fixed, **without, **watched}


def failure(path: Path, shape: tuple[int, ...], error: Exception) -> AuditError:
    """What to raise where a network fails on items of a shape."""
    sizes = " × ".join(map(str, shape))
    return AuditError(f"{path}: fails on inputs of {sizes} ({first_line(error)})", HINT)


def of(session: "onnxruntime.InferenceSession", slot: Slot, path: Path, watched: str = "") -> Interface:
    """The interface of a file for the items of a slot; raises AuditError where they do not fit it."""
    try:
        taken, given = session.get_inputs(), session.get_outputs()
        if len(taken) != 1:
            raise AuditError(
                f"{path}: needs one input, has {[each.name for each in taken]}", "Export the network for images alone."
            )
        named = {str(each.name): each for each in given}
        if watched and (slot.output == watched or list(named) == [watched]):
            raise AuditError(
                f"{path}: the layer {slot.layer!r} gives its output", f"Name an earlier layer of the {slot.role}."
            )
        output = _output({name: each for name, each in named.items() if name != watched}, slot, path)
        dtype = _dtype(taken[0], slot, path)
        batch, *declared = list(taken[0].shape) or [None]
        if isinstance(batch, int) and batch < 1:
            raise AuditError(f"{path}: its batch size is fixed at {batch}", "Export it for at least one item.")
        return Interface(
            taken=str(taken[0].name),
            dtype=dtype,
            item=_item(declared, slot, path),
            batch=batch if isinstance(batch, int) else None,
            given=str(output.name),
            watched=watched,
        )
    except UnicodeDecodeError as error:
        raise AuditError(f"{path}: not a valid ONNX file (a name in it is not UTF-8)", HINT) from error


def joined(pieces: Sequence[Sequence[NDArray[np.float32]]], path: Path) -> list[NDArray[np.float32]]:
    """What the pieces of a batch gave, each put together; raises AuditError where they differ in form."""
    try:
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    except ValueError as error:
        raise AuditError(
            f"{path}: what it gives for an item has another form in another batch ({first_line(error)})",
            "Export the network with outputs, and name a layer with values, of one shape.",
        ) from error


def _output(given: dict[str, Any], slot: Slot, path: Path) -> Any:
    """The output that the audit file names, or the only one."""
    if slot.output and slot.output not in given:
        raise AuditError(
            f"{path}: has no output {slot.output!r}, but {', '.join(map(repr, given))}",
            f"Name the {slot.role}'s output.",
        )
    if not slot.output and len(given) != 1:
        raise AuditError(
            f"{path}: has {len(given)} outputs: {', '.join(map(repr, given))}",
            f"Name the one with the class scores: output = … for the {slot.role} in the audit file.",
        )
    found = given[slot.output or next(iter(given))]
    if _element(found) not in _SCORES:
        raise AuditError(
            f"{path}: its output {found.name!r} is {found.type}, not tensor(float) or tensor(double)",
            "Export the class scores in float32; a network in half precision can end with a Cast.",
        )
    return found


def _dtype(taken: Any, slot: Slot, path: Path) -> str:
    dtype = _TYPES.get(_element(taken))
    if dtype is None:
        raise AuditError(
            f"{path}: its input is {taken.type}, not a tensor of {', '.join(_TYPES.values())}", "Export it for images."
        )
    try:
        slot.preprocessing.check(dtype)
    except ValueError as error:
        raise AuditError(f"{path}: {error}", f"Correct the {slot.role}'s preprocessing in the audit file.") from error
    return dtype


def _element(declared: Any) -> str:
    return str(declared.type).removeprefix("tensor(").removesuffix(")")


def _item(declared: list[int | str | None], slot: Slot, path: Path) -> tuple[int, ...]:
    """The shape of an item as the file wants it: as the data are, or the same values in one row.

    Sizes that the file leaves open fit anything. Where it declares three axes they must be those of an image in the
    declared layout, for an image with its axes taken for others would pass unnoticed; any order is right only where the
    items are a row themselves.
    """
    expected = slot.preprocessing.model_shape(slot.shape)
    fixed = [size for size in declared if isinstance(size, int)]
    # Of items that are no images the axes are their own, and must not be taken for others either.
    row = sum(size > 1 for size in (slot.shape if slot.preprocessing.features is None else expected)) <= 1
    if len(declared) == len(expected) and all(
        size == e for size, e in zip(declared, expected, strict=True) if isinstance(size, int)
    ):
        return expected
    open_sizes = len(declared) - len(fixed)
    if declared and (len(declared) != len(expected) or row) and open_sizes <= 1 and prod(fixed) > 0:
        rest, odd = divmod(prod(expected), prod(fixed))
        if not odd and (open_sizes or rest == 1):
            return tuple(size if isinstance(size, int) else rest for size in declared)
    sizes = " × ".join(map(str, declared)) or "no size"
    raise AuditError(
        f"{path}: takes inputs of {sizes}, but the data are {' × '.join(map(str, expected))} "
        f"({slot.preprocessing.layout[1:] if slot.preprocessing.features is None else 'features'})",
        "Use the test set that belongs to this model, or declare layout or resize in the audit file.",
    )


def fitted(fetched: Sequence[Any], items: int, slot: Slot, path: Path) -> list[NDArray[np.float32]]:
    """The scores of `items` items as `outputs.fitted` gives them, and the values of a layer as `outputs.watched` does.

    Raises AuditError, naming the file, where those raise theirs.
    """
    try:
        out, *watched = map(np.asarray, fetched)
    except ValueError as error:  # sequences of tensors, which are no array
        raise AuditError(f"{path}: gives no tensor ({first_line(error)})", HINT) from error
    try:
        return [outputs.fitted(out, items, slot), *(outputs.watched(values, items, slot) for values in watched)]
    except UnfitError as error:
        raise AuditError(f"{path}: {error}", error.advice) from error
