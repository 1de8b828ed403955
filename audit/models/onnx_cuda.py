"""ONNX files on onnxruntime's CUDA provider: items go to the device once, and their scores come back once.

Kernels are chosen by the size of a batch, so that every forward pass has the one that the plan fixes, short batches
being filled up with copies of their own rows. What is preprocessed on the device is bound there as the input.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import AuditError
from audit.models import arrays, interface, provider
from audit.models.adapter import Slot
from audit.models.device import hardware
from audit.models.graph import first_line
from audit.models.interface import Interface

if TYPE_CHECKING:
    import onnxruntime

_TO_PROCESSOR = "MemcpyToHost"
"""What onnxruntime puts before a node on the processor that takes values from the device."""


@dataclass(frozen=True)
class CudaNetwork:
    """A session on a CUDA device: float32 [N, C, H, W] in [0, 1] → outputs float32 [N, *outputs], N > 0.

    Both lie in host memory, for data are read there and scores are stored. `shapes` are the operators that ran on the
    processor: those that compute sizes, for no value of an item got there.
    """

    path: Path
    session: "onnxruntime.InferenceSession"
    interface: Interface
    slot: Slot
    device: torch.device
    freed: int | None = None
    shapes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Items of every forward pass."""
        return self.interface.batch or self.slot.batch

    def scores(self, x: Tensor) -> Tensor:
        """Raises AuditError, naming the file, for whatever goes wrong inside."""
        return self._answers(x, [self.interface.given])[0]

    def watch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same scores, and the values of the watched layer."""
        out, values = self._answers(x, self.interface.fetched)
        return out, values

    def _answers(self, x: Tensor, fetched: list[str]) -> list[Tensor]:
        try:
            fed, size = self._feed(x), self.size
            pieces = [self._piece(fed[start : start + size], fetched) for start in range(0, len(fed), size)]
        except AuditError:
            raise
        except Exception as error:  # onnxruntime raises from unrelated hierarchies, torch where the device is full
            raise interface.failure(self.path, self.interface.item, error) from error
        return list(map(torch.from_numpy, interface.joined(pieces, self.path)))

    def _feed(self, x: Tensor) -> Tensor:
        """Items as the session takes them, [N, …] on the device."""
        fed = self.slot.preprocessing.apply(x.to(self.device))
        typed: Tensor = arrays.typed(fed, self.interface.dtype)
        return typed.reshape(len(x), *self.interface.item).contiguous()

    def _piece(self, fed: Tensor, fetched: list[str]) -> list[NDArray[np.float32]]:
        whole = fed if len(fed) == self.size else fed[torch.arange(self.size, device=self.device) % len(fed)]
        taken, place = self.interface.taken, (self.device.type, self.device.index)
        binding = self.session.io_binding()  # one for each pass: it keeps what it is bound to
        binding.bind_input(taken, *place, np.dtype(self.interface.dtype).type, tuple(whole.shape), whole.data_ptr())
        for name in fetched:
            binding.bind_output(name, *place)
        torch.cuda.synchronize(self.device)  # torch and onnxruntime have streams of their own
        self.session.run_with_iobinding(binding)  # waits for its stream at its end
        found = interface.fitted(binding.copy_outputs_to_cpu(), self.size, self.slot, self.path)
        return [each[: len(fed)] for each in found]

    @property
    def runtime(self) -> dict[str, str | int]:
        """What computes, and what of it can change an output."""
        shapes = {"on_processor": ", ".join(self.shapes)} if self.shapes else {}
        running: dict[str, str | int] = {"provider": provider.CUDA, "optimisation": "all", "forward_batch": self.size}
        return running | hardware(self.device) | provider.SETTINGS | shapes


def start(
    content: bytes, path: Path, declared: Interface, slot: Slot, device: torch.device, freed: int | None
) -> CudaNetwork:
    """Start a checked network on a CUDA device, and see in a pass of blank items where its operators run.

    Raises AuditError where onnxruntime does not run it there as a whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = provider.on_cuda(content, path, slot.threads, device, Path(folder, "ran"))
        started = CudaNetwork(path, session, declared, slot, device, freed)
        started.scores(torch.zeros(1, *slot.shape, device="cpu"))
        ran = _ran(Path(session.end_profiling()), path)
    here = sorted({operator for operator, where in ran if where != provider.CUDA})
    there = {operator for operator, where in ran if where == provider.CUDA}
    if not there or _TO_PROCESSOR in there:
        raise AuditError(
            f"{path}: onnxruntime does not run all of it on CUDA; on the processor run {', '.join(here)}",
            "Use device cpu, or export it with operators that onnxruntime has for CUDA.",
        )
    return replace(started, shapes=tuple(here))


def _ran(profile: Path, path: Path) -> Sequence[tuple[str, str]]:
    """The operators of a pass, each with the provider that ran it, from what onnxruntime wrote of it."""
    try:
        events = [event.get("args", {}) for event in json.loads(profile.read_bytes())]
        return [(each["op_name"], each["provider"]) for each in events if "op_name" in each and "provider" in each]
    except (OSError, ValueError) as error:
        raise AuditError(
            f"{path}: onnxruntime did not say what it runs ({first_line(error)})", "Free the temporary folder."
        ) from error
