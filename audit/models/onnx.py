"""ONNX files on onnxruntime: on the processor the engine of record.

There it is bit-stable across runs, processes and batch sizes with all graph optimisations on (`ENABLE_ALL`), which
torch and CUDA are not. A file is read once; what is hashed are the bytes that are run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.findings import Missing
from audit.gradients import FREE
from audit.models import external, files, graph, interface, onnx_structure, provider
from audit.models.adapter import Preprocessing, Slot, Watched
from audit.models.files import Format, ModelFile
from audit.models.interface import Interface
from audit.runtime import processor
from audit.structure import Structure
from audit.types import OutputKind, Role

if TYPE_CHECKING:
    import onnxruntime
    import torch
    from torch import Tensor

    from audit.models.differentiable.interpreter import Interpreter
    from audit.models.onnx_cuda import CudaNetwork
    from audit.models.victim import NetworkVictim

_SAME = 1e-5
"""Of the largest score: how far kernels for another batch size may move one."""


@dataclass(frozen=True)
class Network:
    """A session on the processor: float32 [N, …] as the preprocessing leaves it → outputs float32 [N, *outputs].

    Where the file fixes its batch at B, `freed` says that a copy without that limit runs in its place; else items run
    in pieces of B, the last one filled up with copies of its first.
    """

    path: Path
    session: "onnxruntime.InferenceSession"
    interface: Interface
    slot: Slot
    freed: int | None = None

    def __call__(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Raises AuditError, naming the file, for whatever goes wrong inside."""
        return self.answers(x, [self.interface.given])[0]

    def answers(self, x: NDArray[np.float32], fetched: list[str]) -> list[NDArray[np.float32]]:
        """Of one pass: the scores, and the values of the watched layer if they are `fetched` too."""
        fed, size = self.interface.feed(x, self.slot.preprocessing)[self.interface.taken], self.interface.batch
        if size is None:
            return self._run(fed, fetched)
        pieces = [self._piece(fed[start : start + size], size, fetched) for start in range(0, len(fed), size)]
        return interface.joined(pieces, self.path)

    def _piece(self, fed: NDArray[np.generic], size: int, fetched: list[str]) -> list[NDArray[np.float32]]:
        return [found[: len(fed)] for found in self._run(fed[np.arange(size) % len(fed)], fetched)]

    def _run(self, fed: NDArray[np.generic], fetched: list[str]) -> list[NDArray[np.float32]]:
        try:
            found = self.session.run(fetched, {self.interface.taken: fed})
        except Exception as error:  # as in provider._session
            raise interface.failure(self.path, fed.shape[1:], error) from error
        return interface.fitted(found, len(fed), self.slot, self.path)

    def scores(self, x: "Tensor") -> "Tensor":
        """Of items as the audit has them."""
        import torch

        return torch.from_numpy(self(self.slot.preprocessing.apply(x.numpy())))

    def watch(self, x: "Tensor") -> tuple["Tensor", "Tensor"]:
        """The same scores, and the values of the watched layer."""
        import torch

        found = self.answers(self.slot.preprocessing.apply(x.numpy()), self.interface.fetched)
        out, values = map(torch.from_numpy, found)
        return out, values

    @property
    def runtime(self) -> dict[str, str | int]:
        """What computes, and what of it can change an output."""
        return {"provider": provider.CPU, "optimisation": "all", "threads": self.slot.threads, "processor": processor()}


@dataclass(frozen=True)
class OnnxModel:
    """A loaded network: callable on float32 [N, C, H, W] in [0, 1]; gives raw outputs float32 [N, *outputs]."""

    slot: Slot
    path: Path
    sha256: str
    digests: Mapping[str, str]
    size: int
    parameters: int
    nonzero: int
    outputs: tuple[int, ...]
    class_names: tuple[str, ...]
    watched: Watched | None
    network: "Network | CudaNetwork"
    format: str = Format.ONNX.value
    deviations: tuple[str, ...] = ()

    def __call__(self, x: "Tensor", /) -> "Tensor":
        return self.network.scores(x)

    def watch(self, x: "Tensor", /) -> tuple["Tensor", "Tensor"]:
        """Its outputs as they are, and the values of the watched layer [N, D], of one pass."""
        return self.network.watch(x)

    @property
    def role(self) -> Role:
        """Its part in the audit."""
        return self.slot.role

    @property
    def preprocessing(self) -> Preprocessing:
        """What is applied inside, before the network."""
        return self.slot.preprocessing

    @property
    def runtime(self) -> dict[str, str | int]:
        """What ran: it enters the key of every observation."""
        import onnxruntime

        engine: dict[str, str | int] = {"engine": "onnxruntime", "version": onnxruntime.__version__}
        return engine | self.network.runtime | self.network.interface.described(self.network.freed)

    @property
    def name(self) -> str:
        """What its file is called."""
        return self.path.name

    def structure(self) -> Structure | Missing:
        """What its weights really are, as onnxruntime computes them for blank items."""
        file = self._file()
        items = self.network.interface.batch or self.network.freed or 1
        given, run = self.network.interface.given, partial(self._run_blank, items)
        return onnx_structure.of(file.content, self.path, given, items, run)

    def _run_blank(self, items: int, content: bytes, outputs: list[str]) -> list[NDArray[np.generic]]:
        session, preprocessing = provider.on_processor(content, self.path, self.slot.threads), self.slot.preprocessing
        x = preprocessing.apply(np.zeros((items, *self.slot.shape), np.float32))
        found: list[NDArray[np.generic]] = session.run(outputs, self.network.interface.feed(x, preprocessing))
        return found

    def victim(self, x: "Tensor", kind: OutputKind, /) -> "NetworkVictim":
        """Its file converted to torch, where that answers as onnxruntime does."""
        import torch

        from audit.models import victim

        interface, slot = self.network.interface, self.slot
        device = provider.resolve(slot.device) or torch.device("cpu")
        module = self._differentiable(device)
        found = module if isinstance(module, Missing) else partial(_answers, module, interface, slot, self.outputs)
        quantised = not isinstance(module, Missing) and module.quantised
        return victim.of_network(
            found, self, x, kind, how="converted", device=device, threads=slot.threads, plain=device.type == "cpu",
            quantised=quantised,
        )  # fmt: skip

    def _differentiable(self, device: "torch.device") -> "Interpreter | Missing":
        from audit.models.differentiable import seam

        interface, content = self.network.interface, self._file().content
        if interface.dtype != "float32":
            return Missing(FREE, f"takes {interface.dtype}: gradients are taken of float32 alone")
        runs = content if self.network.freed is None else graph.without_batch(content)
        return seam.network(runs, interface.given, device)

    def reopen(self) -> "OnnxModel":
        """The same network in a session of its own; raises AuditError where its files are others now."""
        return load(self._file(), self.slot)

    def _file(self) -> ModelFile:
        file = external.complete(files.again(self.path, self.role, self.digests))
        if file.digests != self.digests:
            raise files.changed(self.path)
        return file

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file on disk is no longer the one that was audited."""
        files.verify_unchanged(self.path, self.digests)


def load(file: ModelFile, slot: Slot) -> OnnxModel:
    """Check and start a model; raises AuditError for anything unusable.

    What a file holds is found out on the processor, and the same whatever it runs on.
    """
    path, device = file.path, provider.resolve(slot.device)
    stored = graph.examine(file.content, path)
    # The layer is an output of every pass: kernels that are fused where nobody looks give other last bits.
    content, watched = graph.watching(file.content, slot.layer, path) if slot.layer else (file.content, "")
    network = _network(content, path, slot, watched)
    if network.interface.batch is not None and graph.may_be_freed(content, path):
        network = _freed(network, content, slot) or network
    blank = slot.preprocessing.apply(np.zeros((2, *slot.shape), np.float32))
    outputs, *values = [found.shape[1:] for found in network.answers(blank, network.interface.fetched)]
    return OnnxModel(
        slot=slot,
        path=path,
        sha256=file.sha256,
        digests=file.digests,
        size=file.size,
        parameters=stored.parameters,
        nonzero=stored.nonzero,
        outputs=outputs,
        class_names=slot.class_names(stored.class_names, outputs[0], str(path)),
        watched=Watched(slot.layer, values[0][0]) if watched else None,
        network=network if device is None else _moved(network, content, device),
    )


def _answers(
    module: "Interpreter", interface: Interface, slot: Slot, outputs: tuple[int, ...], x: "Tensor"
) -> "Tensor":
    """What the converted network gives for items as the audit has them."""
    given: Tensor = module(slot.preprocessing.apply(x).reshape(len(x), *interface.item))
    return given.reshape(len(x), *outputs)


def _moved(network: Network, content: bytes, device: "torch.device") -> "CudaNetwork":
    """The same network on a CUDA device."""
    from audit.models import onnx_cuda

    runs = content if network.freed is None else graph.without_batch(content)
    return onnx_cuda.start(runs, network.path, network.interface, network.slot, device, network.freed)


def _network(content: bytes, path: Path, slot: Slot, watched: str) -> Network:
    session = provider.on_processor(content, path, slot.threads)
    return Network(path, session, interface.of(session, slot, path, watched), slot)


def _freed(fixed: Network, content: bytes, slot: Slot) -> Network | None:
    """The network without its limit on the batch, where it then answers random items as it did; else None.

    A graph may hold the size in other places too, as in a Reshape: then it fails or answers otherwise.
    """
    size = fixed.interface.batch or 1
    x = np.random.default_rng(0).random((2 * size + 1, *slot.shape), np.float32)
    x = slot.preprocessing.apply(x)
    try:
        network = _network(graph.without_batch(content), fixed.path, slot, fixed.interface.watched)
        free = replace(network, freed=size)
        found = free(x)
    except AuditError:
        return None
    expected = fixed(x)
    bound = _SAME * float(np.abs(expected).max(initial=0.0))
    return free if found.shape == expected.shape and bool((np.abs(found - expected) <= bound).all()) else None
