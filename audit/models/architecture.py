"""Weights put into the network that the audit file names: every one of them, and no other."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from audit.errors import AuditError
from audit.models import files, network, weights
from audit.models.adapter import Slot
from audit.models.files import ModelFile
from audit.models.graph import first_line
from audit.models.network import Runner, TorchModel
from audit.userland import Factory

_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""


def load(file: ModelFile, factory: Factory, slot: Slot) -> TorchModel:
    """The factory's module with the weights of a file, ready to run; raises AuditError for anything that does not fit.

    Every forward pass has the batch of the slot.
    """
    tensors, identity = weights.parse(file), factory.identity()
    module = _filled(factory, tensors, file)
    runner, outputs = network.start(str(file.path), module, slot)
    # Taken after the first pass: modules may fill caches in it.
    loaded = network.fingerprint(network.state(module), factory.target)
    path, digests = file.path, file.digests  # the file's bytes need not live as long as the model

    def recheck() -> None:
        files.verify_unchanged(path, digests)
        if factory.identity() != identity:
            raise AuditError(f"{factory.target}: its source changed during the audit", "Run the audit again.")
        network.require_unchanged(module, loaded, str(path))

    def again() -> Runner:
        read = files.again(path, slot.role, digests)
        return network.start(str(path), _filled(factory, weights.parse(read), read), slot)[0]

    parameters, nonzero = weights.count(tensors.values())
    return TorchModel(
        name=file.path.name,
        format=file.format.value,
        sha256=file.sha256,
        size=file.size,
        parameters=parameters,
        nonzero=nonzero,
        outputs=outputs,
        class_names=slot.class_names((), outputs[0], str(file.path)),
        runner=runner,
        runtime=runner.runtime | {"architecture": factory.target, "architecture_sha256": identity},
        recheck=recheck,
        again=again,
    )


def _filled(factory: Factory, tensors: Mapping[str, Tensor], file: ModelFile) -> Module:
    made = factory.make()
    if not isinstance(made, Module):
        raise AuditError(
            f"{factory.target}: gives {type(made).__name__}, not a torch.nn.Module", "Correct the factory."
        )
    # A factory may give the same object twice; then the second model's weights would replace those of the first.
    module = network.copied(made, factory.target)
    own = module.state_dict()
    named = _without_prefix(tensors, own)
    problems = _differences(named, own)
    if not problems:
        try:
            module.load_state_dict(named, strict=True)
        except (Exception, SystemExit) as error:  # hooks of the module's own, besides torch's findings
            problems = [first_line(error)]
    if problems:
        raise AuditError(f"{file.path}: does not fit {factory.target}: {'; '.join(problems)}", _hint(named))
    _verify(module, named, file, factory)
    return module


def _without_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, object]) -> dict[str, Tensor]:
    """The names without a prefix that all of them have and none of the network's."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors) and not any(name.startswith(prefix) for name in own):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _differences(given: Mapping[str, Tensor], own: Mapping[str, object]) -> list[str]:
    missing = [repr(name) for name in own if name not in given]
    unexpected = [repr(name) for name in given if name not in own]
    reshaped = [
        f"{name!r} {list(given[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and isinstance(tensor, Tensor) and not is_lazy(tensor) and tensor.shape != given[name].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return [f"{len(found)} {kind} ({_first(found)})" for kind, found in kinds.items() if found]


def _first(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _hint(tensors: Mapping[str, Tensor]) -> str:
    if any(name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in tensors for name in tensors):
        return "The weights carry pruning masks: call torch.nn.utils.prune.remove before you save them."
    return "Name the architecture, with its arguments, that these weights were saved from."


def _verify(module: Module, given: Mapping[str, Tensor], file: ModelFile, factory: Factory) -> None:
    """Refuse a module that does not hold what the file says: tied weights that differ, or loading of its own."""
    held = module.state_dict()
    differing = [repr(name) for name, tensor in given.items() if not _same(held[name], tensor)]
    if differing:
        raise AuditError(
            f"{file.path}: after loading, {factory.target} holds other values in {_first(differing)}",
            "Weights that the network shares must be equal in the file, in a type that the network can hold.",
        )


def _same(held: Tensor, given: Tensor) -> bool:
    """Whether a value survived loading: equal up to the rounding to the network's own element type."""
    try:
        expected = given.to(held.device, held.dtype)
        return bool(((held == expected) | ((held != held) & (expected != expected))).all())
    except (RuntimeError, NotImplementedError):  # nothing to compare with, as on torch's meta device
        return False
