"""Files that hold a whole program: torch.export archives (`.pt2`), TorchScript, pickled modules.

Loading one runs code from the file: `torch.export.load` unpickles sample inputs, and weights that are said to be
pickles, and evaluates expressions, TorchScript can write files, a pickle calls what it likes. So it is done only for
who trusts the file, and the certificate says so.
"""

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from audit.errors import AuditError
from audit.models import files, memory, network, weights
from audit.models.adapter import Slot
from audit.models.archive import Held
from audit.models.files import ModelFile
from audit.models.graph import first_line
from audit.models.network import Runner, TorchModel
from audit.userland import importable

_HINT = "Export the network as ONNX, or save its weights and name its architecture."


class _Sealed(Module):
    """A program in the only mode that there is of it, fed as any other module."""

    def __init__(self, program: Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> "_Sealed":
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "_Sealed":
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def forward(self, x: Tensor) -> Any:
        return self.program(x)


def load(file: ModelFile, held: Held, slot: Slot, base: Path) -> TorchModel:
    """Load a program, which runs its code, and start it; classes of pickles are looked for in `base` as well.

    A program exported for one size of batch runs in pieces of that size. Raises AuditError, naming the file, for
    whatever goes wrong inside.
    """
    if not slot.trust_code:
        raise weights.refused(file, held)
    label = str(file.path)
    with importable(base.resolve()):
        module, batch = _module(file, held)
        fitting = replace(slot, batch=batch or slot.batch)
        runner, outputs = network.start(label, module, fitting)
    tensors = network.state(module)
    loaded, path, digests = network.fingerprint(tensors, label), file.path, file.digests

    def recheck() -> None:
        files.verify_unchanged(path, digests)
        network.require_unchanged(module, loaded, label)

    def again() -> Runner:
        with importable(base.resolve()):
            return network.start(label, _module(files.again(path, slot.role, digests), held)[0], fitting)[0]

    parameters, nonzero = weights.count(tensors.values())
    sources: dict[str, str | int] = {"architecture_sha256": memory.sources(module)} if held is Held.PICKLE else {}
    return TorchModel(
        name=path.name,
        format=held.value.removeprefix("an ").removeprefix("a "),
        sha256=file.sha256,
        size=file.size,
        parameters=parameters,
        nonzero=nonzero,
        outputs=outputs,
        class_names=slot.class_names((), outputs[0], label),
        runner=runner,
        runtime=runner.runtime | sources,
        recheck=recheck,
        again=again,
        deviations=(f"the {slot.role} is {held.value}: code from its file ran, as --trust-code allows",),
    )


def _module(file: ModelFile, held: Held) -> tuple[Module, int | None]:
    """The module in a file, and the only size of batch that it takes, None where it takes any."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that torch calls old
            match held:
                case Held.EXPORTED:
                    program = torch.export.load(io.BytesIO(file.content))
                    return _Sealed(program.module()), _batch(program)
                case Held.SCRIPT:
                    script = torch.jit.load(io.BytesIO(file.content), map_location="cpu")  # type: ignore[no-untyped-call]
                    return _Sealed(script.eval()), None
                case _:
                    found = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
        raise AuditError(f"{file.path}: cannot be loaded ({first_line(error)})", _HINT) from error
    if not isinstance(found, Module):
        raise AuditError(f"{file.path}: holds {type(found).__name__}, not a torch.nn.Module", _HINT)
    return found, None


def _batch(program: "torch.export.ExportedProgram") -> int | None:
    """The first size of the input of an exported program, where it is a number."""
    inputs = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in inputs and "val" in node.meta]
    sizes = [shape[0] for shape in shapes if len(shape)]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None
