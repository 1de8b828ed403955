"""ONNX files that keep weights in files beside them: all of them read once, hashed, and put back into one network.

onnxruntime would read such files itself, at another time and from wherever it runs; so it is given a network that has
everything inside.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from audit import digest, inputs
from audit.errors import AuditError
from audit.models import graph
from audit.models.files import LARGEST, ModelFile

if TYPE_CHECKING:
    from onnx import TensorProto

_HINT = "Keep the weights of a network in its own folder, or export with the weights inside (external_data=False)."


def complete(file: ModelFile) -> ModelFile:
    """The file with the contents of all files that it refers to inside, and their digests beside its own.

    Raises AuditError where it refers to anything but regular files in its own folder, reached without a link, or where
    they do not hold what it says.
    """
    model = graph.parse(file.content, file.path)
    outside = [tensor for tensor in graph.tensors(model) if tensor.data_location == tensor.EXTERNAL]
    if not outside:
        return file
    parts: dict[str, bytes] = {}
    for tensor in outside:
        told = {entry.key: entry.value for entry in tensor.external_data}
        location = told.get("location", "")
        if location not in parts:
            parts[location] = _read(file.path, location, sum(map(len, parts.values())))
        _embed(tensor, _slice(parts[location], told, tensor.name, file.path))
    digests = {name: digest.of_bytes(content) for name, content in parts.items()}
    size = file.size + sum(map(len, parts.values()))
    return replace(file, content=_serialised(model, file.path), parts=digests, size=size)


def _read(path: Path, location: str, before: int) -> bytes:
    place = _place(path, location)
    size = inputs.regular(place, _HINT).st_size
    if size + before >= LARGEST:
        raise AuditError(f"{path}: {location!r} holds more than an ONNX file can ({size} bytes)", _HINT)
    try:
        # The place was looked at before: a link put there since must not be followed.
        with os.fdopen(os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as stream:
            return stream.read()
    except OSError as error:
        raise AuditError(f"{place}: cannot be read ({error.strerror})", _HINT) from error


def _place(path: Path, location: str) -> Path:
    """Where a location leads, which is below the folder of the file, by folders that are no links."""
    steps = PurePosixPath(location).parts
    if not steps or "\0" in location or "\\" in location or location.startswith("/") or ".." in steps:
        raise AuditError(f"{path}: keeps weights in {location!r}, which is no place inside its own folder", _HINT)
    place = path.parent
    for step in steps:
        place = place / step
        if place.is_symlink():
            raise AuditError(f"{path}: keeps weights in {location!r}, where {place} is a link", _HINT)
    return place


def _slice(content: bytes, told: Mapping[str, str], name: str, path: Path) -> bytes:
    try:
        start = int(told.get("offset", "0") or 0)
        length = int(told.get("length", "0") or 0) or len(content) - start
    except ValueError as error:
        raise AuditError(f"{path}: {name!r} lies at no place that is a number", _HINT) from error
    if start < 0 or length < 0 or start + length > len(content):
        raise AuditError(
            f"{path}: {name!r} is said to lie in bytes {start} to {start + length} of a file of {len(content)}", _HINT
        )
    return content[start : start + length]


def _embed(tensor: "TensorProto", content: bytes) -> None:
    tensor.raw_data = content
    tensor.data_location = tensor.DEFAULT
    del tensor.external_data[:]


def _serialised(model: Any, path: Path) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:
        raise AuditError(f"{path}: is larger with its weights than any ONNX file can be", _HINT) from error
