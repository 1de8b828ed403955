"""Model files: read once, and known by what they hold, never by what they are called."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from audit import digest, inputs
from audit.errors import AuditError
from audit.types import Role

_HEAD = 9
"""Bytes that tell the formats apart."""
LARGEST = 2**31
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
    """A model file, read once: nothing but `content` is ever loaded or run.

    `digest` is that of the file's own bytes, `size` their number; where weights lie in files beside it, `content` holds
    them too, `size` counts them, and `parts` has their digests by place.
    """

    path: Path
    format: Format
    digest: str
    size: int
    content: bytes = field(repr=False)
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """What identifies the model: the digest of its file, or of the digests of all its files."""
        return digest.of_json({"": self.digest, **self.parts}) if self.parts else self.digest

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by place of every file; '' is the one that was named."""
        return {"": self.digest, **self.parts}


def form_of(path: Path, role: Role) -> Format:
    """What a file seems to hold, by its first bytes; raises AuditError where it cannot be read."""
    hint = f"Name the {role}'s model file."
    inputs.regular(path, hint)
    try:
        with path.open("rb") as stream:
            return _recognise(stream.read(_HEAD))
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error


def room(path: Path) -> int:
    """Bytes that a model may hold, as far as one can say without parsing anything; 0 where nothing can be read."""
    try:
        size = path.stat().st_size
        # Who leaves weights to other files says where they are, under a key in plain letters.
        if path.is_file() and size and _mentions(path, b"location"):
            size += min(LARGEST, sum(each.stat().st_size for each in path.parent.iterdir() if each.is_file()))
        return size
    except (OSError, ValueError):
        return 0


def _mentions(path: Path, word: bytes) -> bool:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(word) >= 0


def read(path: Path, role: Role) -> ModelFile:
    """Read a file once, from its beginning to its end; raises AuditError where that cannot be."""
    hint = f"Name the {role}'s model file."
    size = inputs.regular(path, hint).st_size
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            form = _recognise(head)
            if form is Format.ONNX and size >= LARGEST:
                raise AuditError(f"{path}: is larger than any ONNX file ({size} bytes)", hint)
            content = head + stream.read()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error
    except MemoryError as error:
        raise AuditError(f"{path}: does not fit into memory ({size} bytes)", hint) from error
    return ModelFile(path, form, digest.of_bytes(content), len(content), content)


def again(path: Path, role: Role, digests: Mapping[str, str]) -> ModelFile:
    """The file that was audited, read once more; raises AuditError where it is another now. `digests` as below."""
    file = read(path, role)
    if file.digest != digests[""]:
        raise changed(path)
    return file


def changed(path: Path) -> AuditError:
    """What is said of a file that is no longer the one that was audited."""
    return AuditError(
        f"{path}: changed during the audit", "The results belong to no file on disk; run the audit again."
    )


def verify_unchanged(path: Path, digests: Mapping[str, str]) -> None:
    """Raise AuditError where a file on disk is no longer the one that was audited; `digests` as of a ModelFile."""
    for place, sha256 in digests.items():
        file = path.parent / place if place else path
        try:
            same = file.is_file() and digest.of_file(file) == sha256
        except OSError:
            same = False
        if not same:
            raise changed(file)


def _recognise(head: bytes) -> Format:
    """From the first nine bytes: zip archives and pickles have marks, safetensors begins with a length and a brace."""
    pickled = head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5
    if pickled or head.startswith(b"PK"):
        return Format.CHECKPOINT
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER:
        return Format.SAFETENSORS
    return Format.ONNX
