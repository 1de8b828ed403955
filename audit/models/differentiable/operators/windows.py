"""Where the windows of convolutions and poolings lie."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node
from audit.models.differentiable.operators.shapes import flat


@dataclass(frozen=True, slots=True)
class Windows:
    """Per spatial axis: size, stride and dilation of the window, elements added before and after, results.

    `after` is negative where the last elements lie in no window, and `declared` is what of it the node asked
    for; the rest belongs to windows that `ceil_mode` lets reach over the edge.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    declared: tuple[int, ...]


def windows(node: Node, x: Tensor, kernel: tuple[int, ...]) -> Windows:
    """The windows of a node over `x` [N, C, *spatial] by its attributes; Unsupported where they make no sense."""
    rank = len(kernel)
    strides = node.integers("strides", [1] * rank)
    dilations = node.integers("dilations", [1] * rank)
    spatial = x.shape[2:]
    if len(spatial) != rank or not 1 <= rank <= 3 or len(strides) != rank or len(dilations) != rank:
        raise node.refuse(f"a window over {rank} axes of shape {tuple(x.shape)}")
    if min(*kernel, *strides, *dilations, 1) < 1:
        raise node.refuse("a window, stride or dilation below 1")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(node, spatial, extents, strides)
    before, declared = pads[:rank], pads[rank:]
    node.bounded([*x.shape[:2], *(sum(part) for part in zip(spatial, before, declared, strict=True))])
    after = []
    for size, extent, stride, low, high in zip(spatial, extents, strides, before, declared, strict=True):
        count = _count(node, size + low + high - extent, stride, size + low)
        after.append((count - 1) * stride + extent - size - low)
    return Windows(kernel, strides, dilations, before, tuple(after), declared)


def _count(node: Node, room: int, stride: int, edge: int) -> int:
    """How many windows fit; with `ceil_mode` one more may reach over the edge unless it starts beyond the data."""
    if room < 0:
        raise node.refuse("a window larger than its padded input")
    if not node.integer("ceil_mode", 0):
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= edge else count


def _pads(node: Node, spatial: tuple[int, ...], extents: list[int], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Padding before all axes, then after all axes."""
    rank, mode = len(extents), node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.integers("pads", [0] * 2 * rank)
        if len(pads) != 2 * rank or min(pads, default=0) < 0:
            raise node.refuse(f"pads {pads}")
        return pads
    if mode == "VALID":
        return (0,) * 2 * rank
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, extent, stride in zip(spatial, extents, strides, strict=True)
    ]
    return halves(node, mode, totals)


def halves(node: Node, mode: str, totals: list[int]) -> tuple[int, ...]:
    """Totals split into what is added before and after; the odd one comes last with SAME_UPPER."""
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.refuse(f"auto_pad = {mode}")
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def padded(x: Tensor, before: tuple[int, ...], after: tuple[int, ...], value: float = 0) -> Tensor:
    """`x` [N, C, *spatial] with constant values added to, or elements taken from, its spatial axes."""
    return functional.pad(x, flat(before, after), value=value) if any(before) or any(after) else x
