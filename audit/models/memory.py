"""Modules that a Python program hands over: copied at once, and identified by the program they compute."""

import inspect
import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module

from audit import digest
from audit.errors import AuditError
from audit.models import network, weights
from audit.models.adapter import Slot
from audit.models.network import Runner, TorchModel


def of_module(module: Module, slot: Slot) -> TorchModel:
    """A copy of a module as a model; what is done to the module later changes nothing.

    Its identity is the digest of its exported program. Where torch cannot export it, only its weights identify it,
    and `deviations` says so; as that is too little to tell two modules apart, its runtime then holds a random
    `session`, so that observations of one audit never stand in for those of another. Raises AuditError where the module
    cannot be copied or run.
    """
    label = f"the {slot.role}'s module"
    if not isinstance(module, Module):
        raise AuditError(f"{label}: is {type(module).__name__}, not a torch.nn.Module", "Hand over a torch.nn.Module.")
    kept = network.copied(module, label).to("cpu")  # never run: it is what the network is loaded from once more
    runner, outputs = network.start(label, network.copied(module, label), slot)
    program, tensors = _program(runner), network.state(runner.module)
    known = program or network.fingerprint(tensors, label)

    def recheck() -> None:
        if (_program(runner) or network.fingerprint(network.state(runner.module), label)) != known:
            raise AuditError(f"{label}: changed during the audit", "Give a module whose forward pass changes nothing.")

    def again() -> Runner:
        return network.start(label, network.copied(kept, label), slot)[0]

    parameters, nonzero = weights.count(tensors.values())
    return TorchModel(
        name=type(module).__name__,
        format="PyTorch module",
        sha256=known,
        size=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        parameters=parameters,
        nonzero=nonzero,
        outputs=outputs,
        class_names=slot.class_names((), outputs[0], label),
        runner=runner,
        runtime=runner.runtime | ({} if program else _by_weights(runner.module)),
        recheck=recheck,
        again=again,
        deviations=() if program else (f"identity of the {slot.role}: weights only",),
    )


def _program(runner: Runner) -> str | None:
    """Digest of what the module computes, whatever the batch size and the device; None where it cannot be exported.

    Files that torch.export.save writes hold the places of the source code, so that a comment added above a class
    would change their digest. Code, signature and tensors of the program hold none.
    """
    module = network.copied(runner.module, runner.label).to("cpu")
    shape = runner.slot.preprocessing.model_shape(runner.slot.shape)
    example = torch.zeros(2, *shape, dtype=getattr(torch, runner.dtype), device="cpu")
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception:  # code of others meets a compiler: whatever fails, there is no program
        return None
    tensors = dict(program.state_dict) | dict(program.constants)
    if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        return None
    graphs = {
        name: part.code for name, part in program.graph_module.named_modules() if isinstance(part, torch.fx.GraphModule)
    }
    signature = str(program.graph_signature)
    return digest.of_json(
        {"graphs": graphs, "signature": signature, "tensors": network.fingerprint(tensors, runner.label)}
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is said of a failed export: dumps of graphs help nobody, and `deviations` says what follows from it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # torch prints there, besides what it logs
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _by_weights(module: Module) -> dict[str, str | int]:
    """What the runtime of a module without a program says besides.

    Code and attributes outside its weights can change what it computes without a trace in any digest of ours, so
    the `session` keeps its observations from being taken over by a later audit.
    """
    return {"architecture_sha256": sources(module), "session": secrets.token_hex(16)}


def sources(module: Module) -> str:
    """Digest of a module's structure and of the source files of its classes, as far as they can be found."""
    return digest.of_json({"structure": str(module), "sources": sorted({_source(type(m)) for m in module.modules()})})


def _source(kind: type) -> str:
    try:
        return digest.of_file(Path(inspect.getfile(kind)))
    except (TypeError, OSError):
        return f"{kind.__module__}.{kind.__qualname__}"
