"""Opening the model that an entry of the audit file names, by what its file holds.

torch is imported only where weights are loaded.
"""

from pathlib import Path

from audit.contracts import Model
from audit.errors import AuditError
from audit.models import files, onnx
from audit.models.adapter import Preprocessing
from audit.models.files import Format
from audit.request import ModelEntry
from audit.types import Role
from audit.userland import Factory


def load(
    entry: ModelEntry,
    base: Path,
    role: Role,
    shape: tuple[int, int, int],
    preprocessing: Preprocessing,
    *,
    device: str,
    threads: int,
    batch: int,
    examined: str | None = None,
) -> Model:
    """Read, check and start a model for items of `shape` (C, H, W); paths are relative to `base`.

    `device`, as in the audit file, and `batch`, the size of every forward pass, are for weights; ONNX files run on
    the processor in batches of any size. Where the file was examined before, `examined` is the digest that was found
    then: nothing else is opened. Raises AuditError for anything unusable.
    """
    file = files.read(base / entry.model, role)
    if examined is not None and examined != file.sha256:
        raise AuditError(f"{file.path}: changed while it was being opened", "Run the audit again.")
    if file.format is Format.ONNX:
        if entry.architecture is not None:
            raise AuditError(
                f"{file.path}: an architecture is named, but the file holds neither a torch state dict nor safetensors",
                f"Leave out the {role}'s architecture for an ONNX file, or name the file with the weights.",
            )
        return onnx.load(file, role, shape, preprocessing, threads)
    if entry.architecture is None:
        raise AuditError(
            f"{file.path}: holds {file.format.value} weights, and no architecture is named",
            f'Give the {role} an architecture = "module:factory" in the audit file.',
        )
    from audit.models import architecture

    factory = Factory(entry.architecture, entry.arguments, base)
    return architecture.load(file, factory, role, shape, preprocessing, device=device, threads=threads, batch=batch)


def parse_untrusted(
    path: Path, role: Role, shape: tuple[int, int, int], preprocessing: Preprocessing, threads: int
) -> str:
    """Open a file as far as that needs no code of the user's: a network runs, weights are read and counted.

    Gives the digest of the bytes that were examined. Meant for a process with limits, before `load`; raises
    AuditError for anything unusable.
    """
    file = files.read(path, role)
    if file.format is Format.ONNX:
        return onnx.load(file, role, shape, preprocessing, threads).sha256
    from audit.models import weights

    weights.count(weights.parse(file).values())
    return file.sha256
