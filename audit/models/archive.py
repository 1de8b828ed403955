"""What a torch archive or pickle holds, told without loading it: weights, or a program that would run when loaded."""

import io
import re
import warnings
import zipfile
from enum import Enum

import torch

from audit.errors import AuditError
from audit.models.files import ModelFile
from audit.models.graph import first_line

HINT = "Save the weights alone: torch.save(model.state_dict(), path), or safetensors.torch.save_file."


class Held(Enum):
    """What there is in a file; the values are for people."""

    WEIGHTS = "weights"
    EXPORTED = "an exported program (.pt2)"
    SCRIPT = "a TorchScript archive"
    PICKLE = "a pickle that calls code"


def held(file: ModelFile) -> Held:
    """What a file in one of torch's formats holds; raises AuditError where it is none of them.

    A pickle is read by torch's own list of what it would call, which calls nothing.
    """
    if file.content.startswith(b"PK"):
        program = _program(file)
        if program is not None:
            return program
    return Held.PICKLE if called(file) else Held.WEIGHTS


def called(file: ModelFile) -> list[str]:
    """Names of what a pickle would call that no weights need; [] where it is damaged or none."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(file.content)))
    except Exception:  # torch lists them for its zip format alone, and stops at damage
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.load(io.BytesIO(file.content), map_location="meta", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere inside torch's reader
        return re.findall(r"nsupported (?:global: )?GLOBAL (\S+)", str(error))
    return []


def _program(file: ModelFile) -> Held | None:
    """The program that a zip archive holds, by the names in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise AuditError(f"{file.path}: not a complete torch checkpoint ({first_line(error)})", HINT) from error
    inner = [name.partition("/")[2] for name in names]
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return Held.SCRIPT
    if {"archive_format", "models/model.json"} & set(inner) or "serialized_exported_program.json" in names:
        return Held.EXPORTED
    if "data.pkl" not in inner:
        raise AuditError(f"{file.path}: a zip archive, but not a torch checkpoint", HINT)
    return None
