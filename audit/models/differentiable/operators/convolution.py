"""Convolutions over one to three axes."""

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator
from audit.models.differentiable.operators.windows import halves, padded, windows

_CONVOLVE = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def _convolve(node: Node, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    node.precise(x, w)
    found = windows(node, x, tuple(w.shape[2:]))
    before, pads = found.before, (0,) * len(found.before)
    if before == found.declared:
        # The same padding, without a copy of the input.
        before, pads = pads, before
        x_padded = x
    else:
        x_padded = padded(x, before, found.declared)
    convolve = _CONVOLVE[len(pads)]
    return convolve(x_padded, w, bias, found.strides, pads, found.dilations, node.integer("group", 1))


def _transposed(node: Node, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    node.precise(x, w)
    rank = w.ndim - 2
    if x.ndim != w.ndim or rank not in _TRANSPOSED:
        raise node.refuse(f"input of shape {tuple(x.shape)} with weights of shape {tuple(w.shape)}")
    strides, dilations = node.integers("strides", [1] * rank), node.integers("dilations", [1] * rank)
    extra = node.integers("output_padding", [0] * rank)
    whole = [
        (size - 1) * stride + (k - 1) * dilation + 1
        for size, stride, k, dilation in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)
    ]
    group = node.integer("group", 1)
    node.bounded([x.shape[0], w.shape[1] * group, *whole])
    found = _TRANSPOSED[rank](x, w, None, strides, 0, 0, group, dilations)
    before, after = _removed(node, list(x.shape[2:]), whole, strides, extra)
    found = padded(found, tuple(-low for low in before), tuple(e - high for e, high in zip(extra, after, strict=True)))
    return found if bias is None else found + bias.reshape(-1, *[1] * rank)


def _removed(
    node: Node, spatial: list[int], whole: list[int], strides: tuple[int, ...], extra: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is cut from the whole result, before and after, so that its size is the one asked for."""
    rank, mode = len(whole), node.text("auto_pad", "NOTSET")
    if node.has("output_shape"):
        wanted = list(node.integers("output_shape"))[-rank:]
        mode = "SAME_LOWER" if mode == "NOTSET" else mode
    elif mode in ("NOTSET", "VALID"):
        pads = node.integers("pads", [0] * 2 * rank) if mode == "NOTSET" else (0,) * 2 * rank
        return pads[:rank], pads[rank:]
    else:
        wanted = [size * stride for size, stride in zip(spatial, strides, strict=True)]
    node.bounded(wanted)
    totals = [size + more - want for size, more, want in zip(whole, extra, wanted, strict=True)]
    if min(totals) < 0:
        raise node.refuse("an output larger than what the input reaches")
    cut = halves(node, mode, totals)
    return cut[:rank], cut[rank:]


def window_sums(x: Tensor, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> Tensor:
    """Sums over the windows of every channel of `x` [N, C, *spatial], already padded."""
    ones = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    lead = prod(x.shape[:2])
    sums = _CONVOLVE[len(kernel)](x.reshape(lead, 1, *x.shape[2:]), ones, None, strides, 0, dilations)
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


OPERATORS: dict[str, Operator] = {"Conv": _convolve, "ConvTranspose": _transposed}
