"""Resampling of images.

Interpolation is linear in the values and separates by axis: along each axis the result is one fixed matrix times
the input. The matrices are computed here in float64 from the formulas of the specification, whatever the mode.
"""

from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator, listed

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis to be resized: from `size` to `result` elements, by `scale`."""

    axis: int
    size: int
    result: int
    scale: float


def _resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    if node.version < 11:
        return _upsample(node, x, roi)
    found = _axes(node, x, node.integers("axes", range(x.ndim)), scales, sizes)
    node.bounded([part.result for part in found])
    for part in found:
        if part.result != part.size or part.scale != 1:
            x = _along(node, x, part, node.text("coordinate_transformation_mode", "half_pixel"))
    return x


def _upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Upsample, and the first Resize: coordinates are divided by the scale, the nearest is the one below."""
    factors = list(node.numbers("scales")) if scales is None else [float(s) for s in scales.tolist()]
    found = [Axis(i, x.shape[i], floor(x.shape[i] * factor), factor) for i, factor in enumerate(factors)]
    node.bounded([part.result for part in found])
    for part in found:
        x = x if part.scale == 1 else _along(node, x, part, "asymmetric")
    return x


def _axes(node: Node, x: Tensor, axes: tuple[int, ...], scales: Tensor | None, sizes: Tensor | None) -> list[Axis]:
    axes = tuple(axis % x.ndim for axis in axes)
    if scales is not None and scales.numel():
        factors = [float(scale) for scale in scales.tolist()]
        # The scales are float32: 0.6 · 5 must not come out as 2.9999999.
        results = [floor(np.float32(x.shape[i]) * np.float32(s)) for i, s in zip(axes, factors, strict=True)]
    elif sizes is not None:
        results = listed(sizes)
        factors = [want / x.shape[i] for i, want in zip(axes, results, strict=True)]
        policy = node.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            node.only("keep_aspect_ratio_policy", "not_larger", "not_smaller")
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(axes)
            results = [floor(x.shape[i] * s + 0.5) for i, s in zip(axes, factors, strict=True)]
    else:
        raise node.refuse("neither scales nor sizes")
    return [Axis(i, x.shape[i], want, s) for i, want, s in zip(axes, results, factors, strict=True)]


def _along(node: Node, x: Tensor, part: Axis, transformation: str) -> Tensor:
    if part.size < 1 or part.result < 1:
        raise node.refuse(f"from {part.size} to {part.result} elements")
    places = _coordinates(node, part, transformation)
    mode = node.text("mode", "nearest")
    if mode == "nearest":
        nearest = torch.from_numpy(_nearest(node, places)).clamp(0, part.size - 1)
        return x.index_select(part.axis, nearest.to(x.device))
    if not x.is_floating_point():
        raise node.refuse(f"mode {mode} on integers")
    weights = torch.from_numpy(_weights(node, part, places, mode)).to(x)
    return functional.linear(x.movedim(part.axis, -1), weights).movedim(-1, part.axis)


def _coordinates(node: Node, part: Axis, transformation: str) -> Floats:
    """Where each result lies among the elements of the input."""
    steps = np.arange(part.result, dtype=np.float64)
    exact = part.scale * part.size
    centred = (steps + 0.5) / part.scale - 0.5
    match transformation:
        case "half_pixel":
            return centred
        case "half_pixel_symmetric":
            return centred + part.size / 2 * (1 - part.result / exact)
        case "pytorch_half_pixel":
            return centred if part.result > 1 else np.zeros(1)
        case "asymmetric":
            return steps / part.scale
        case "align_corners":
            return steps * ((part.size - 1) / (exact - 1)) if exact != 1 else np.zeros(part.result)
        case _:
            raise node.refuse(f"coordinate_transformation_mode = {transformation}")


def _nearest(node: Node, places: Floats) -> NDArray[np.int64]:
    mode = "floor" if node.version < 11 else node.text("nearest_mode", "round_prefer_floor")
    match mode:
        case "round_prefer_floor":
            found = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            found = np.floor(places + 0.5)
        case "floor":
            found = np.floor(places)
        case "ceil":
            found = np.ceil(places)
        case _:
            raise node.refuse(f"nearest_mode = {mode}")
    return found.astype(np.int64)


def _weights(node: Node, part: Axis, places: Floats, mode: str) -> Floats:
    """[results, elements]: how much of each element is in each result."""
    node.only("mode", "linear", "bilinear", "cubic")
    reach = 2 if mode == "cubic" else 1
    stretch = max(1.0, 1 / part.scale) if node.integer("antialias", 0) else 1.0
    first = np.floor(places - reach * stretch).astype(np.int64)
    taps = first[:, None] + np.arange(int(2 * reach * stretch) + 3)
    distance = np.abs(taps - places[:, None]) / stretch
    found = _cubic(distance, node.number("cubic_coeff_a", -0.75)) if mode == "cubic" else np.maximum(0, 1 - distance)
    if node.integer("exclude_outside", 0):
        found = np.where((taps < 0) | (taps >= part.size), 0.0, found)
    if node.integer("exclude_outside", 0) or stretch != 1:
        found = found / found.sum(1, keepdims=True)
    weights = np.zeros((part.result, part.size))
    np.add.at(weights, (np.arange(part.result)[:, None], taps.clip(0, part.size - 1)), found)
    return weights


def _cubic(distance: Floats, a: float) -> Floats:
    """Keys' cubic convolution kernel (1981), equation 4, with the slope `a`."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    mode = node.text("mode", "linear")
    mode = names.get(mode, mode)
    padding = node.text("padding_mode", "zeros")
    if x.ndim == 5 and mode == "bicubic":
        raise node.refuse("cubic over three axes")
    node.bounded([*x.shape[:2], *grid.shape[1:-1]])
    return functional.grid_sample(x, grid, mode, padding, bool(node.integer("align_corners", 0)))


OPERATORS: dict[str, Operator] = {"GridSample": _grid_sample, "Resize": _resize, "Upsample": _upsample}
