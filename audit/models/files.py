"""Model files: read once, and known by what they hold, never by what they are called."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from audit import digest, inputs
from audit.errors import AuditError
from audit.types import Role

_HEAD = 9
"""Bytes that tell the formats apart."""
_ONNX_LIMIT = 2**31
"""Bytes: protobuf, and so ONNX, knows no larger file."""
_SAFETENSORS_HEADER = 100_000_000
"""Bytes: the longest header that safetensors allows."""


class Format(Enum):
    """What a file holds; `CHECKPOINT` is anything that was pickled, weights among others."""

    ONNX = "ONNX"
    CHECKPOINT = "PyTorch state dict"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The bytes of a model file: `sha256` is theirs, and nothing but them is ever loaded or run."""

    path: Path
    format: Format
    sha256: str
    content: bytes = field(repr=False)


def form_of(path: Path, role: Role) -> Format:
    """What a file seems to hold, by its first bytes; raises AuditError where it cannot be read."""
    hint = f"Name the {role}'s model file."
    inputs.regular(path, hint)
    try:
        with path.open("rb") as stream:
            return _recognise(stream.read(_HEAD))
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error


def read(path: Path, role: Role) -> ModelFile:
    """Read a file once, from its beginning to its end; raises AuditError where that cannot be."""
    hint = f"Name the {role}'s model file."
    size = inputs.regular(path, hint).st_size
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            form = _recognise(head)
            if form is Format.ONNX and size >= _ONNX_LIMIT:
                raise AuditError(f"{path}: is larger than any ONNX file ({size} bytes)", hint)
            content = head + stream.read()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error
    except MemoryError as error:
        raise AuditError(f"{path}: does not fit into memory ({size} bytes)", hint) from error
    return ModelFile(path, form, digest.of_bytes(content), content)


def verify_unchanged(path: Path, sha256: str) -> None:
    """Raise AuditError where the file on disk is no longer the one that was audited."""
    try:
        same = path.is_file() and digest.of_file(path) == sha256
    except OSError:
        same = False
    if not same:
        raise AuditError(
            f"{path}: changed during the audit",
            "The results belong to no file on disk; run the audit again.",
        )


def _recognise(head: bytes) -> Format:
    """From the first nine bytes: zip archives and pickles have marks, safetensors begins with a length and a brace."""
    pickled = head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5
    if pickled or head.startswith(b"PK"):
        return Format.CHECKPOINT
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER:
        return Format.SAFETENSORS
    return Format.ONNX
