"""torch modules as models: batches of one size, settings under which runs repeat, and outputs that are checked.

torch is not batch-invariant: an item's output differs in its last bits with the number of items beside it. So
every forward pass has the size that the plan fixes, short batches being filled up with copies of their own rows.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from audit import digest
from audit.errors import AuditError
from audit.findings import Missing
from audit.models import arrays, outputs, torch_structure, victim
from audit.models.adapter import Dtype, Preprocessing, Slot, Watched
from audit.models.device import describe, reproducible, resolve_device
from audit.models.graph import first_line
from audit.models.outputs import UnfitError
from audit.models.torch_structure import OpaqueError
from audit.models.victim import NetworkVictim
from audit.structure import UNKNOWN, Structure
from audit.types import OutputKind, Role

_NOT_DETERMINISTIC = ("does not have a deterministic implementation", "Deterministic behavior was enabled")
_MEMORY: Any = torch.utils.deterministic
_HINT = "Give a torch.nn.Module that takes one batch of items and gives one row of floating-point scores per item."


@dataclass(frozen=True)
class Runner:
    """A module on its device: float32 [N, C, H, W] in [0, 1], N > 0 → raw outputs float32 [N, *outputs] on the CPU."""

    label: str
    module: Module
    slot: Slot
    device: torch.device
    dtype: str = "float32"
    strict: bool = True
    watched: Watched | None = None

    def __call__(self, x: Tensor, /) -> Tensor:
        """Raises AuditError, naming the model, for whatever goes wrong inside; ValueError without items."""
        if not len(x):
            raise ValueError("a model needs at least one item")
        try:
            size = self.slot.batch
            filled = size == 1 or len(x) % size > 0
            with reproducible(self.device, self.slot.threads, strict=self.strict), _new_memory(filled=filled):
                # Joining copies, so that no later pass of the module can reach what was given.
                return torch.cat([self._forward(x[i : i + size]) for i in range(0, len(x), size)])
        except AuditError:
            raise
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
            shape = " × ".join(map(str, self.slot.preprocessing.model_shape(self.slot.shape)))
            raise AuditError(f"{self.label}: fails on inputs of {shape} ({first_line(error)})", _HINT) from error

    def watch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same outputs, and the values of the layer that its slot names [N, D]; raises as a call does."""
        seen: list[Tensor] = []
        handle = self._layer().register_forward_hook(lambda _module, _taken, given: seen.append(self._watched(given)))
        try:
            out = self(x)
        finally:
            handle.remove()
        if len(seen) != ceil(len(x) / self.slot.batch) or len({each.shape for each in seen}) > 1:
            raise AuditError(
                f"{self.label}: its layer {self.slot.layer!r} does not run once in each pass, or gives other values",
                f"Name another layer of the {self.slot.role}; those inside a program cannot be watched.",
            )
        return out, torch.cat(seen)[: len(x)]

    def _layer(self) -> Module:
        named = dict(self.module.named_modules(remove_duplicate=False))
        if self.slot.layer not in named:
            raise AuditError(
                f"{self.label}: has no layer {self.slot.layer!r}",
                f"Name a module of it; the last are {', '.join(map(repr, list(named)[-6:]))}.",
            )
        found: Module = named[self.slot.layer]
        return found

    def _watched(self, given: Any) -> Tensor:
        return self._numbers(given, outputs.watched, f"layer {self.slot.layer!r} ")

    def feed(self, x: Tensor) -> Tensor:
        """What the module takes for at most a batch of items: a whole batch, filled up with copies of theirs."""
        found = self._preprocessed(x)
        if len(x) < self.slot.batch or np.may_share_memory(found.numpy(), x.numpy()):
            # Indexing copies: a module that works in place must not change the items that the other models see.
            found = found[torch.arange(self.slot.batch, device="cpu") % len(x)]
        return found.to(self.device)

    def raw(self, x: Tensor) -> Tensor:
        """The output that counts for items as the module takes them, with whatever gradients it has."""
        found: Tensor = self._chosen(self.module(x))
        return found

    def _preprocessed(self, x: Tensor) -> Tensor:
        preprocessing = self.slot.preprocessing
        return torch.from_numpy(preprocessing.typed(preprocessing.apply(x.numpy()), self.dtype))

    def _forward(self, x: Tensor) -> Tensor:
        return self._fitted(self._chosen(self.module(self.feed(x))))[: len(x)]

    def _chosen(self, out: Any) -> Any:
        """The output that the audit file names: a key, or a place in a tuple."""
        if isinstance(out, Mapping):
            named = {str(key): value for key, value in out.items()}
        elif isinstance(out, (tuple, list)):
            named = {str(place): value for place, value in enumerate(out)}
        elif self.slot.output:
            raise AuditError(
                f"{self.label}: gives one output without a name, not {self.slot.output!r}",
                f"Leave out the {self.slot.role}'s output.",
            )
        else:
            return out
        if len(named) == 1 and not self.slot.output:
            return next(iter(named.values()))
        if not self.slot.output or self.slot.output not in named:
            raise AuditError(
                f"{self.label}: gives {len(named)} outputs: {', '.join(map(repr, named))}",
                f"Name the one with the class scores: output = … for the {self.slot.role} in the audit file.",
            )
        return named[self.slot.output]

    def _fitted(self, given: Any) -> Tensor:
        return self._numbers(given, outputs.fitted)

    def _numbers(
        self, given: Any, form: Callable[[NDArray[np.generic], int, Slot], NDArray[np.float32]], part: str = ""
    ) -> Tensor:
        """What the module, or a part of it, gives for a batch, brought to a form; on the processor."""
        if not isinstance(given, Tensor):
            raise AuditError(f"{self.label}: {part}gives {type(given).__name__}, not a tensor", _HINT)
        if not given.is_floating_point():
            raise AuditError(f"{self.label}: {part}gives {given.dtype}, not floating-point numbers", _HINT)
        try:
            return torch.from_numpy(form(given.detach().to("cpu", torch.float32).numpy(), self.slot.batch, self.slot))
        except UnfitError as error:
            raise AuditError(f"{self.label}: {error}", error.advice) from error

    @property
    def runtime(self) -> dict[str, str | int]:
        """What runs, with every setting that can change an output."""
        algorithms = "all" if self.strict else "where they exist"
        running: dict[str, str | int] = {"threads": self.slot.threads, "batch": self.slot.batch}
        named: dict[str, str | int] = {"output": self.slot.output} if self.slot.output else {}
        named |= {"watched": self.slot.layer} if self.slot.layer else {}
        return describe(self.device) | running | {"dtype": self.dtype, "deterministic": algorithms} | named


@dataclass(frozen=True)
class TorchModel:
    """A runner and what is known of it.

    `recheck` raises AuditError where it is no longer what was loaded; `again` loads it once more.
    """

    name: str
    format: str
    sha256: str
    size: int
    parameters: int
    nonzero: int
    outputs: tuple[int, ...]
    class_names: tuple[str, ...]
    runner: Runner
    runtime: Mapping[str, str | int]
    recheck: Callable[[], None]
    again: Callable[[], Runner]
    deviations: tuple[str, ...] = ()

    @property
    def role(self) -> Role:
        """Its part in the audit."""
        return self.runner.slot.role

    @property
    def preprocessing(self) -> Preprocessing:
        """What is applied inside, before the module."""
        return self.runner.slot.preprocessing

    def __call__(self, x: Tensor, /) -> Tensor:
        return self.runner(x)

    @property
    def watched(self) -> Watched | None:
        """The layer that is watched, if any."""
        return self.runner.watched

    def watch(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Its outputs as they are, and the values of the watched layer [N, D], of one pass."""
        return self.runner.watch(x)

    def structure(self) -> Structure | Missing:
        """What its weights really are, as its operators receive them in one pass."""
        runner = self.runner
        try:
            with reproducible(runner.device, runner.slot.threads, strict=runner.strict):
                return torch_structure.of(runner.module, runner.feed(torch.zeros(1, *runner.slot.shape, device="cpu")))
        except OpaqueError as what:
            return Missing(UNKNOWN, f"{self.name}: {what} cannot be looked into")
        except (Exception, SystemExit) as error:  # code of others, and operators that cannot be watched
            return Missing(UNKNOWN, f"{self.name}: its weights could not be watched ({first_line(error)})")

    def victim(self, x: Tensor, kind: OutputKind, /) -> NetworkVictim:
        """A module of its own, which nothing is observed of."""
        runner = self.again()

        def network(items: Tensor) -> Tensor:
            fed = arrays.typed(runner.slot.preprocessing.apply(items), runner.dtype)
            return runner.raw(fed).reshape(len(items), *self.outputs)

        return victim.of_network(
            network, self, x, kind, how="torch", device=runner.device, threads=runner.slot.threads,
            batch=min(runner.slot.batch, victim.FEW), plain=False,
        )  # fmt: skip

    def reopen(self) -> "TorchModel":
        """The same network in a module of its own; raises AuditError where its files are others now."""
        return replace(self, runner=self.again())

    def verify_unchanged(self) -> None:
        """Raise AuditError where what was audited is not what is there now."""
        self.recheck()


@contextmanager
def _new_memory(*, filled: bool) -> Iterator[None]:
    """With deterministic algorithms torch fills new memory with NaN, at 3 to 5 % of the time of a whole batch.

    That is for modules that read what they never wrote. Batches that are not whole show those up: items that were
    observed in whole batches are tried in smaller ones too, and must come out the same.
    """
    before = _MEMORY.fill_uninitialized_memory
    _MEMORY.fill_uninitialized_memory = filled
    try:
        yield
    finally:
        _MEMORY.fill_uninitialized_memory = before


def start(label: str, module: Module, slot: Slot) -> tuple[Runner, tuple[int, ...]]:
    """Put a module into inference mode on the device of its slot and run blank items.

    Gives the runner and the shape of its outputs of one item. It is strict unless the module uses an operation without
    a deterministic implementation; it takes the element type of its first floating-point parameter, unless another is
    declared. Raises AuditError where the module fails.
    """
    target = resolve_device(slot.device)
    try:
        module.requires_grad_(False).eval().to(target)
    except (Exception, SystemExit) as error:  # code of others, or a device without room
        raise AuditError(f"{label}: cannot be moved to {target} ({first_line(error)})", _HINT) from error
    runner = Runner(label, module, slot, target, _dtype(module, slot, label))
    blank = torch.zeros(2, *slot.shape, device="cpu")
    try:
        found = runner(blank)
    except AuditError as error:
        if not any(text in error.what for text in _NOT_DETERMINISTIC):
            raise
        runner = replace(runner, strict=False)
        found = runner(blank)
    watched = Watched(slot.layer, runner.watch(blank)[1].shape[1]) if slot.layer else None
    return replace(runner, watched=watched), tuple(found.shape[1:])


def _dtype(module: Module, slot: Slot, label: str) -> str:
    own = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    declared = slot.preprocessing.dtype
    found = str(own).removeprefix("torch.") if declared == "auto" else declared
    try:
        if found not in get_args(Dtype):
            raise ValueError(f"its weights are {found}: declare a dtype that it takes")
        slot.preprocessing.check(found)
        return found
    except ValueError as error:
        raise AuditError(f"{label}: cannot be fed ({error})", f"Correct the {slot.role}'s preprocessing.") from error


def copied(module: Module, label: str) -> Module:
    """A deep copy; raises AuditError where the module holds what cannot be copied.

    A module under torch.nn.utils.prune keeps its masked weights as computed tensors, which torch copies only by
    value; they are computed anew from the copied weight and mask at every forward pass.
    """
    computed = [t for part in module.modules() for t in vars(part).values() if isinstance(t, Tensor) and not t.is_leaf]
    try:
        return copy.deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in computed})
    except (Exception, SystemExit) as error:  # code of others
        raise AuditError(f"{label}: cannot be copied ({first_line(error)})", _HINT) from error


def require_unchanged(module: Module, loaded: str, label: str) -> None:
    """Raise AuditError where a module's weights no longer have the `fingerprint` that was loaded."""
    if fingerprint(state(module), label) != loaded:
        raise AuditError(
            f"{label}: the network changed its own weights during the audit",
            "Give a network whose forward pass changes nothing.",
        )


def state(module: Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, those that are not saved included."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def fingerprint(tensors: Mapping[str, Tensor], label: str) -> str:
    """Digest of names, types, shapes and values; raises AuditError, naming `label`, where values cannot be read."""
    try:
        return digest.of_json({name: _entry(tensor) for name, tensor in tensors.items()})
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise AuditError(f"{label}: holds tensors that are not dense ({first_line(error)})", _HINT) from error


def _entry(tensor: Tensor) -> dict[str, digest.Json]:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "sha256": digest.of_bytes(values.numpy().data),
    }
