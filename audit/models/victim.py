"""Networks as attacks see them: from items in [0, 1] to scores that order the classes, with gradients where there are.

The preprocessing is part of it, so that a gradient is by the items themselves. What it answers is held against what
the network of record answers, on items of the audit, before it is believed.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal

import torch
from torch import Tensor

from audit.findings import Missing
from audit.gradients import DEAD, FREE, Gradients
from audit.models.device import reproducible
from audit.models.differentiable import gate
from audit.models.differentiable.gate import GradientFree, Network
from audit.types import OutputKind

FEW: Final = 8
"""Items of a pass with gradients while they are checked: it keeps what it computes."""
_TINY: Final = torch.finfo(torch.float32).tiny


class _Hold:
    """`reproducible` for several threads: from the first that comes to the last that goes."""

    def __init__(self) -> None:
        self._lock, self._within, self._settings = Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self, device: torch.device, threads: int) -> Iterator[None]:
        with self._lock:
            if not self._within:
                self._settings.enter_context(reproducible(device, threads, strict=False))
            self._within += 1
        try:
            torch.set_num_threads(threads)  # every thread has a number of its own, and gradients or none
            with torch.no_grad():
                yield
        finally:
            with self._lock:
                self._within -= 1
                if not self._within:
                    self._settings.close()


_HOLD: Final = _Hold()


@dataclass(frozen=True)
class NetworkVictim:
    """See `audit.gradients.Victim`.

    `network` takes items on `device` and gives raw outputs [N, K] of `kind`, with a gradient, None where there is none;
    `record` is the network of record, items and outputs on the processor.
    """

    network: Network | None
    record: Network
    found: Gradients | Missing
    kind: OutputKind
    device: torch.device
    threads: int
    slack: float
    plain: bool = True
    """Whether scores without gradients come from `record`: from `network`, where that fills up every batch."""

    @property
    def gradients(self) -> Gradients | Missing:
        return self.found

    def running(self) -> AbstractContextManager[None]:
        """torch with its reproducible settings; several threads may be within at once."""
        return _HOLD(self.device, self.threads)

    def scores(self, x: Tensor, /) -> Tensor:
        """Without gradients; of a network in the same memory layout as with them, the faster one."""
        if self.network is None or self.plain:
            return self._ordered(self.record(x.cpu()).to(x.device))
        with torch.no_grad():
            return self._ordered(self.network(x.contiguous(memory_format=torch.channels_last)))

    def with_gradient(self, x: Tensor, loss: Callable[[Tensor], Tensor], /) -> tuple[Tensor, Tensor, Tensor]:
        """See the protocol."""
        if self.network is None:
            raise ValueError("a network without gradients cannot be climbed")
        with torch.enable_grad():
            given = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
            scores = self._ordered(self.network(given))
            losses = loss(scores)
            (gradient,) = torch.autograd.grad(losses.sum(), given)
        return scores.detach(), losses.detach(), gradient.contiguous()

    def _ordered(self, out: Tensor) -> Tensor:
        out = out.float()
        return out.clamp(min=_TINY).log() if self.kind is OutputKind.PROBABILITIES else out


def of_network(
    network: Network | Missing, record: Network, x: Tensor, kind: OutputKind, *,
    how: Literal["torch", "converted"], device: torch.device, threads: int, batch: int = FEW, plain: bool,
    quantised: bool = False,
) -> NetworkVictim:  # fmt: skip
    """A victim whose `network` is checked on the items `x`; without gradients where it is Missing or does not fit.

    `how` is that of `Gradients`; at most `batch` items go through it at once.
    """
    if isinstance(network, Missing):
        return _black_box(record, network, kind, threads)
    reference, shown, engine = (
        record(x),
        x.to(device),
        "onnxruntime" if how == "converted" else "its outputs in the audit",
    )
    with reproducible(device, threads, strict=False):
        checked = gate.measured(network, shown, reference, engine=engine, quantised=quantised, batch=batch)
        deviation = checked
        if isinstance(checked, GradientFree) and checked.dead:
            # Its outputs are right, and its gradients lead nowhere: that is for the attacks to show.
            deviation = gate.deviation(network, shown, reference, engine, quantised=quantised, batch=batch)
    if isinstance(deviation, GradientFree):
        return _black_box(record, Missing(FREE, deviation.reason), kind, threads)
    # A probability that is off by d is off by d · K in its logarithm, where it decides: there it is 1/K at least.
    unit = float(reference.shape[1]) if kind is OutputKind.PROBABILITIES else float(reference.abs().max())
    found = Missing(DEAD, checked.reason) if isinstance(checked, GradientFree) else Gradients(how, deviation, len(x))
    return NetworkVictim(network, record, found, kind, device, threads, 2 * deviation * unit, plain)


def _black_box(record: Network, why: Missing, kind: OutputKind, threads: int) -> NetworkVictim:
    return NetworkVictim(None, record, why, kind, torch.device("cpu"), threads, 0.0)
