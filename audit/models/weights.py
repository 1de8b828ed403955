"""Weights without a network: torch state dicts and safetensors, read so that nothing in them can run.

Whatever executes code when it is loaded (pickled modules, TorchScript archives, `.pt2` programs) is refused here.
torch reads pickles with `weights_only=True`, which builds tensors and containers and calls nothing else.
"""

import io
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from audit.errors import AuditError
from audit.models import archive
from audit.models.archive import HINT, Held
from audit.models.files import Format, ModelFile
from audit.models.graph import first_line

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")


def parse(file: ModelFile) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; raises AuditError for anything but weights, executing nothing."""
    try:
        found = _safetensors(file) if file.format is Format.SAFETENSORS else _checkpoint(file)
        for name, tensor in found.items():
            _check(name, tensor, file)
        return found
    except MemoryError as error:
        raise AuditError(f"{file.path}: its weights do not fit into memory", HINT) from error


def count(tensors: Iterable[Tensor]) -> tuple[int, int]:
    """(stored weights, those not zero); tensors that share their memory count once.

    Weights are floating-point or complex values, and integers of at most 16 bits, as quantised networks store
    them. Wider integers and truth values are counters, indices and masks.
    """
    distinct = {(t.data_ptr(), t.dtype, t.shape, t.stride()): t for t in tensors if _is_weight(t.dtype)}
    stored = sum(tensor.numel() for tensor in distinct.values())
    return stored, sum(int(torch.count_nonzero(_countable(tensor))) for tensor in distinct.values())


def _is_weight(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex or (dtype is not torch.bool and dtype.itemsize <= 2)


def _countable(tensor: Tensor) -> Tensor:
    """As it is, or widened: torch cannot count in the 8-bit floating-point formats."""
    return tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1 else tensor


def _safetensors(file: ModelFile) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise AuditError(
            f"{file.path}: reading safetensors needs the package safetensors",
            "pip install 'prune-audit[safetensors]'",
        ) from error
    try:
        found = dict(load(file.content))
    except MemoryError:
        raise
    except Exception as error:  # its parser raises from a hierarchy of its own
        raise AuditError(f"{file.path}: not a valid safetensors file ({first_line(error)})", HINT) from error
    if not found:
        raise AuditError(f"{file.path}: holds no weights", HINT)
    return found


def _checkpoint(file: ModelFile) -> dict[str, Tensor]:
    found = archive.held(file)
    if found is not Held.WEIGHTS:
        raise refused(file, found)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails anywhere inside torch's reader
        raise _damaged(file, error) from error
    return _unwrapped(state, file)


def refused(file: ModelFile, found: Held) -> AuditError:
    """The error for a file that would run code when loaded."""
    what = found.value
    if found is Held.PICKLE:
        what = f"a pickle that calls {', '.join(map(repr, archive.called(file)[:5]))}"
    return AuditError(
        f"{file.path}: is {what}; loading one executes code from the file, so it is refused",
        f"{HINT} If you trust whoever made the file, name no architecture and run with --trust-code.",
    )


def _damaged(file: ModelFile, error: Exception) -> AuditError:
    if not file.content.startswith((b"PK", b"\x80\x02")):
        return AuditError(f"{file.path}: is a pickle of protocol {file.content[1]}, not a torch state dict", HINT)
    reason = first_line(error.__context__ or error)  # torch wraps it in advice to load the file unsafely
    return AuditError(f"{file.path}: not a torch state dict ({reason[:200]})", HINT)


def _unwrapped(found: Any, file: ModelFile) -> dict[str, Tensor]:
    """The state dict, or the only one that a training checkpoint holds under a usual name."""
    if _is_state(found):
        return dict(found)
    if not isinstance(found, Mapping):
        raise AuditError(f"{file.path}: holds {type(found).__name__}, not a dict of tensors", HINT)
    inside = [name for name in _WRAPPERS if _is_state(found.get(name))]
    if len(inside) == 1:
        return dict(found[inside[0]])
    if inside:
        raise AuditError(f"{file.path}: holds several sets of weights ({', '.join(inside)})", HINT)
    others = [repr(name) for name, value in found.items() if not isinstance(value, Tensor)]
    what = f"beside tensors it holds {', '.join(others[:5])}" if others else "it holds no tensor"
    raise AuditError(f"{file.path}: not a dict of tensors: {what}", HINT)


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _check(name: str, tensor: Tensor, file: ModelFile) -> None:
    """Refuse tensors that are not stored value by value, and those that claim more than the file stores."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
        raise AuditError(f"{file.path}: {name!r} is {kind}", "Save dense tensors: tensor.to_dense() or .dequantize().")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise AuditError(f"{file.path}: {name!r} claims {tensor.numel()} values, more than the file stores", HINT)
