"""Gradients are trusted where the translated network answers as onnxruntime does, and nowhere else."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.models.differentiable.interpreter import Interpreter, translate
from audit.models.differentiable.node import Unsupported
from audit.models.graph import first_line

TOLERANCE = 1e-4
"""Greatest difference to onnxruntime, as a share of the largest output.

Both compute in float32 and add in different orders; on the networks of docs/differentiable.md that leaves at most a
few 1e-6. An operator that is carried out wrongly, be it only another rounding mode or another formula of GELU, leaves
1e-3 and more."""

QUANTUM = 0.05
"""The same for single items of a network that quantises its activations.

There a difference in the last bit may move a value by a whole step, in any two runtimes: onnxruntime with and without
its optimisations differs by 0.03 on one item of four of a ResNet-18. Half of the items must still be within TOLERANCE.
"""

SAMPLES = 32
"""Fewest items on which the two are compared: one may miss the branch of an activation in which they differ."""

_BATCH = 8  # bounds the memory of the comparison, whatever the number of items

Network = Callable[[Tensor], Tensor]
"""Items as a network takes them [N, …] → outputs [N, …]."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs [N, classes] and labels int64 [N] → one loss per item [N]."""


@dataclass(frozen=True, slots=True)
class GradientFree:
    """A network without gradients, and why: attacks that need them cannot be made on it.

    A `dead` one answers as it should, and its gradients are zero or no numbers.
    """

    reason: str
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """A network with gradients. `deviation`: how far it was from onnxruntime, as a share of the largest output."""

    module: Interpreter
    deviation: float

    def loss_gradient(self, x: Tensor, y: Tensor, loss: Loss, /) -> tuple[Tensor, Tensor]:
        """Loss per item [N], and its gradient by the item, shaped as `x`; no item's gradient knows of the others.

        Raises Unsupported, or what torch raises, where the network does not take items like these.
        """
        return _loss_gradient(self.module, x, y, loss)


def differentiable(content: bytes, x: Tensor, reference: Tensor) -> Verified | GradientFree:
    """The network of a checked ONNX file with gradients, or the reason why there are none; raises nothing.

    `x` are real items as the file takes them (preprocessed), float32 [N, …], N ≥ SAMPLES; `reference` are
    onnxruntime's outputs for them [N, classes], from the session that the audit uses.
    """
    try:
        return verify(translate(content), x, reference)
    except Unsupported as refusal:
        return GradientFree(f"not translated: {refusal}")
    except Exception as error:  # a graph of others: whatever it makes torch do, the audit goes on without gradients
        return GradientFree(f"not translated: {first_line(error)}")


def verify(module: Interpreter, x: Tensor, reference: Tensor) -> Verified | GradientFree:
    """Compare a translated network with onnxruntime's outputs, and its gradients with what any must be; raises nothing.

    Gradients must be finite, not zero for every item, and those of one item's loss by another item must be zero.
    """
    found = measured(module, x, reference, quantised=module.quantised)
    return found if isinstance(found, GradientFree) else Verified(module, found)


def measured(
    network: Network,
    x: Tensor,
    reference: Tensor,
    *,
    engine: str = "onnxruntime",
    quantised: bool = False,
    batch: int = _BATCH,
) -> float | GradientFree:
    """The deviation of any network from its `reference`, which `engine` gave; else as `verify`."""
    try:
        found = deviation(network, x, reference, engine, quantised=quantised, batch=batch)
        return found if isinstance(found, GradientFree) else _flaw(network, x[:batch]) or found
    except Unsupported as refusal:
        return GradientFree(f"not translated: {refusal}")
    except (Exception, SystemExit) as error:  # as in differentiable
        return GradientFree(f"fails in torch: {first_line(error)}")


def deviation(
    network: Network, x: Tensor, reference: Tensor, engine: str, *, quantised: bool = False, batch: int = _BATCH
) -> float | GradientFree:
    """The greatest difference as a share of the largest output of the engine; raises what the network raises."""
    if len(x) < SAMPLES or len(x) != len(reference):
        return GradientFree(f"compared on {len(x)} items with {len(reference)} outputs: needs {SAMPLES} of each")
    with torch.enable_grad():  # as attacks run it: a module may answer otherwise where nobody takes gradients
        given = [x[i : i + batch].detach().clone().requires_grad_() for i in range(0, len(x), batch)]
        found = torch.cat([network(each).detach().cpu() for each in given])
    if _sizes(found) != _sizes(reference):
        return GradientFree(f"gives {tuple(found.shape)}, {engine} {tuple(reference.shape)}")
    found = found.to(reference.dtype).reshape(reference.shape)
    if not bool(torch.isfinite(found).all() & torch.isfinite(reference).all()):
        return GradientFree("its outputs are not all finite")
    largest = float(reference.abs().max())
    if largest == 0:
        return GradientFree("its outputs are all zero")
    shares = (found - reference).abs().flatten(1).amax(1) / largest
    share, allowed = float(shares.max()), TOLERANCE
    if quantised and float(shares.median()) <= TOLERANCE:
        allowed = QUANTUM
    if share > allowed:
        return GradientFree(f"differs from {engine} by {share:.1e} of the largest output; allowed are {allowed:g}")
    return share


def _sizes(outputs: Tensor) -> list[int]:
    """The axes of an output, without those of one place that an audit drops."""
    return [len(outputs), *(size for size in outputs.shape[1:] if size > 1)]


def _flaw(network: Network, few: Tensor) -> GradientFree | None:
    """What is wrong with the gradients of a batch, of every other item and then of the rest; None where nothing is."""
    half = torch.arange(len(few), device=few.device) % 2
    flaws = (_flaw_of(network, few, chosen) for chosen in (half, 1 - half) if bool(chosen.any()))
    return next(filter(None, flaws), None)


def _flaw_of(network: Network, few: Tensor, chosen: Tensor) -> GradientFree | None:
    """The same of the items for which `chosen` is 1: of these alone the loss is taken."""
    _, gradient = _loss_gradient(network, few, chosen, lambda out, these: out.flatten(1).logsumexp(1) * these)
    if not bool(torch.isfinite(gradient).all()):
        return GradientFree("its gradients are not all finite", dead=True)
    if not bool(gradient[chosen == 1].any()):
        return GradientFree("its gradients are all zero", dead=True)
    if bool(gradient[chosen == 0].any()):
        return GradientFree("its output for one item depends on the other items")
    return None


def _loss_gradient(network: Network, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        given = x.detach().clone().requires_grad_()
        losses = loss(network(given), y)
        (gradient,) = torch.autograd.grad(losses.sum(), given)
    return losses.detach(), gradient
