"""Opening the model that an entry of the audit file names, by what its file holds.

torch is imported only where weights are loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from audit.contracts import Model
from audit.errors import AuditError
from audit.models import external, files, onnx
from audit.models.adapter import Slot
from audit.models.files import Format, ModelFile
from audit.request import ModelEntry
from audit.types import Role
from audit.userland import Factory


def load(entry: ModelEntry, base: Path, slot: Slot, *, examined: Mapping[str, str] | None = None) -> Model:
    """Read, check and start a model; paths are relative to `base`.

    Where its files were examined before, `examined` has the digests that were found then: nothing else is opened.
    Raises AuditError for anything unusable.
    """
    file = _read(base / entry.model, slot.role, examined)
    if file.format is Format.ONNX:
        if entry.architecture is not None:
            raise AuditError(
                f"{file.path}: an architecture is named, but the file holds neither a torch state dict nor safetensors",
                f"Leave out the {slot.role}'s architecture for an ONNX file, or name the file with the weights.",
            )
        return onnx.load(file, slot)
    if entry.architecture is None:
        if (program := _program(file)) is not None:
            return program(slot, base)
        raise AuditError(
            f"{file.path}: holds {file.format.value} weights, and no architecture is named",
            f'Give the {slot.role} an architecture = "module:factory" in the audit file.',
        )
    from audit.models import architecture

    return architecture.load(file, Factory(entry.architecture, entry.arguments, base), slot)


def parse_untrusted(entry: ModelEntry, base: Path, slot: Slot) -> dict[str, str]:
    """Open a file as far as that needs no code of the user's: a network runs, weights are read and counted.

    A program in a file runs here too where the slot trusts it; an ONNX file runs on the processor, for the libraries of
    CUDA fit into no limits. Gives the digests of all files that were examined. Meant for a process with limits, before
    `load`; raises AuditError for anything unusable.
    """
    file = _read(base / entry.model, slot.role)
    if file.format is Format.ONNX:
        onnx.load(file, replace(slot, device="cpu"))
    elif entry.architecture is None and (program := _program(file)) is not None:
        program(slot, base)
    else:
        from audit.models import weights

        weights.count(weights.parse(file).values())
    return file.digests


def _program(file: ModelFile) -> Callable[[Slot, Path], Model] | None:
    """What loads a file that holds a program; None for one that holds weights."""
    if file.format is not Format.CHECKPOINT:
        return None
    from audit.models import archive, programs

    held = archive.held(file)
    return None if held is archive.Held.WEIGHTS else partial(programs.load, file, held)


def _read(path: Path, role: Role, examined: Mapping[str, str] | None = None) -> ModelFile:
    """A file and those that it refers to, where they are the examined ones; nothing else is parsed."""
    file = files.read(path, role)
    _require_same(file, None if examined is None else {"": examined[""]})
    if file.format is Format.ONNX:
        file = external.complete(file)
    _require_same(file, examined)
    return file


def _require_same(file: ModelFile, examined: Mapping[str, str] | None) -> None:
    if examined is not None and examined != file.digests:
        raise AuditError(f"{file.path}: changed while it was being opened", "Run the audit again.")
