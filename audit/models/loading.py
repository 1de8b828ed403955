"""Opening the model that an entry of the audit file names, by what its file holds.

torch is imported only where weights are loaded.
"""

from pathlib import Path

from audit.contracts import Model
from audit.errors import AuditError
from audit.models import files, onnx
from audit.models.adapter import Slot
from audit.models.files import Format
from audit.request import ModelEntry
from audit.userland import Factory


def load(entry: ModelEntry, base: Path, slot: Slot, *, examined: str | None = None) -> Model:
    """Read, check and start a model; paths are relative to `base`.

    Where the file was examined before, `examined` is the digest that was found then: nothing else is opened. Raises
    AuditError for anything unusable.
    """
    file = files.read(base / entry.model, slot.role)
    if examined is not None and examined != file.sha256:
        raise AuditError(f"{file.path}: changed while it was being opened", "Run the audit again.")
    if file.format is Format.ONNX:
        if entry.architecture is not None:
            raise AuditError(
                f"{file.path}: an architecture is named, but the file holds neither a torch state dict nor safetensors",
                f"Leave out the {slot.role}'s architecture for an ONNX file, or name the file with the weights.",
            )
        return onnx.load(file, slot)
    if entry.architecture is None:
        raise AuditError(
            f"{file.path}: holds {file.format.value} weights, and no architecture is named",
            f'Give the {slot.role} an architecture = "module:factory" in the audit file.',
        )
    from audit.models import architecture

    return architecture.load(file, Factory(entry.architecture, entry.arguments, base), slot)


def parse_untrusted(path: Path, slot: Slot) -> str:
    """Open a file as far as that needs no code of the user's: a network runs, weights are read and counted.

    Gives the digest of the bytes that were examined. Meant for a process with limits, before `load`; raises
    AuditError for anything unusable.
    """
    file = files.read(path, slot.role)
    if file.format is Format.ONNX:
        return onnx.load(file, slot).sha256
    from audit.models import weights

    weights.count(weights.parse(file).values())
    return file.sha256
