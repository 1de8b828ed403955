"""The effective weights of a torch module: what its operators receive, whatever its parameters are called.

Every operator that runs is seen (torch's dispatch mode), after masks and thresholds in code have been applied. Values
that were computed from parameters and buffers alone are the network's own.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audit import structure
from audit.structure import Layer, Structure

_CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")
_PRODUCTS = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2), "addmv": (1, 2), "mv": (0, 1)}
"""Matrix products, and where among their arguments the two factors stand."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    """Notes what operators receive that does not depend on the input."""

    def __init__(self, module: Module, items: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.items = items
        self.named = {id(parameter): name for name, parameter in module.named_parameters()}
        self.buffers = {id(buffer) for buffer in module.buffers()}
        self.own: dict[int, Tensor] = {id(t): t for t in (*module.parameters(), *module.buffers())}
        """Tensors that do not depend on the input; held, so that no number stands for two of them."""
        self.origin: dict[int, str] = dict(self.named)
        self.layers: list[Layer] = []
        self.values: dict[tuple[int, int], Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        if given and all(id(tensor) in self.own for tensor in given):
            origin = next((self.origin[id(t)] for t in given if id(t) in self.origin), "")
            for result in results:
                self.own[id(result)] = result
                self.origin.setdefault(id(result), origin)
        elif given:
            self._use(name, args, given, results)
        return out

    def _use(self, name: str, args: Any, given: list[Tensor], results: list[Tensor]) -> None:
        for tensor in given:
            if id(tensor) in self.own and id(tensor) not in self.buffers and _counts(tensor):
                # A weight and its transpose are one value.
                self.values.setdefault((tensor.data_ptr(), tensor.numel()), tensor)
        if name in _CONVOLUTIONS and id(args[1]) in self.own:
            self.layers.append(self._convolution(args, results[0]))
        elif name in _PRODUCTS:
            self.layers.extend(self._product(args, *_PRODUCTS[name], results[0]))

    def _convolution(self, args: Any, result: Tensor) -> Layer:
        weight, groups = _array(args[1]), int(args[8])
        if args[6]:  # transposed: [inputs, filters of a group, *kernel]
            weight = structure.as_convolution(weight, groups)
        name = self.origin.get(id(args[1]), "")
        return structure.layer(name, "convolution", weight, groups=groups, positions=prod(result.shape[2:]))

    def _product(self, args: Any, first: int, second: int, result: Tensor) -> Iterator[Layer]:
        """x·w or w·x; the filters are the columns of w in the one and its rows in the other."""
        left, right = args[first], args[second]
        if (id(left) in self.own) is (id(right) in self.own):
            return
        weight = right.transpose(-1, -2) if id(right) in self.own and right.ndim > 1 else left
        if id(right) in self.own and right.ndim == 1:
            weight = right[None]
        elif weight.ndim == 3 and weight.stride(0) == 0:
            weight = weight[0]  # one matrix, shown to every item of the batch
        rows = _array(weight).reshape(-1, weight.shape[-1])
        name = self.origin.get(id(right if id(right) in self.own else left), "")
        yield structure.layer(name, "linear", rows, positions=result.numel() // (rows.shape[0] * self.items))


def of(module: Module, run: Callable[[], object], items: int) -> Structure:
    """What the weights of a module in inference mode really are, as `run` shows, which passes `items` items through."""
    watch = _Watch(module, items)
    with watch:
        run()
    return structure.total(watch.layers, map(_array, watch.values.values()))


def _counts(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 1


def _array(tensor: Tensor) -> NDArray[np.generic]:
    found: NDArray[np.generic] = tensor.detach().to("cpu", torch.float32).numpy()
    return found
