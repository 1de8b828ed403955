"""The effective weights of a torch module: what its operators receive, whatever its parameters are called.

Every operator that runs is seen (torch's dispatch mode), after masks and thresholds in code have been applied. What
does not descend from the input is the network's own; what cannot be followed is unknown, never nothing.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from audit.models import counting
from audit.structure import Layer, Structure

_CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")
_PRODUCTS = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2), "addmv": (1, 2), "mv": (0, 1)}
"""Matrix products, and where among their arguments the two factors stand."""
_ADDED = ("add", "add_", "sub", "cat", "embedding", "index", "index_select", "native_layer_norm", "copy_", "stack")
"""What may take a table of values that is no layer: embeddings, positions, normalisations."""


class OpaqueError(Exception):
    """What a module does that cannot be followed."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    """Notes what operators receive that does not depend on the input."""

    def __init__(self, module: Module, fed: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.items = len(fed)
        self.data: Any = WeakIdKeyDictionary({fed: None})
        """Tensors that descend from the input."""
        self.made: Any = WeakIdKeyDictionary()
        """Tensors that operators made of nothing: ranges, zeros, random numbers."""
        self.origin: Any = WeakIdKeyDictionary({p: name for name, p in module.named_parameters()})
        self.layers: list[Layer] = []
        self.values: list[Tensor] = []
        self.seen: set[tuple[int, int]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs))
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        if any(isinstance(leaf, torch.ScriptObject) for leaf in leaves):
            raise OpaqueError(f"the packed weights of {name}")
        if any(tensor in self.data for tensor in given):
            self._use(name, args, [tensor for tensor in given if self._own(tensor)], results)
            self.data.update(dict.fromkeys(results))
        elif all(tensor in self.made for tensor in given):
            self.made.update(dict.fromkeys(results))
        else:
            known = next((self.origin[tensor] for tensor in given if tensor in self.origin), "")
            for result in results:
                self.origin.setdefault(result, known)
        return out

    def _own(self, tensor: Tensor) -> bool:
        return tensor not in self.data and tensor not in self.made

    def _use(self, name: str, args: Any, own: list[Tensor], results: list[Tensor]) -> None:
        statistics = {id(each) for each in args[3:5]} if "batch_norm" in name else set()
        layers: list[Layer] = []
        if name in _CONVOLUTIONS and self._own(args[1]):
            layers = [self._convolution(args, results[0])]
        elif name in _PRODUCTS:
            layers = list(self._product(args, *_PRODUCTS[name], results[0]))
        for tensor in own:
            if tensor.layout is not torch.strided or tensor.is_quantized:
                raise OpaqueError(f"weights of {tensor.layout} that {name} takes")
            if (
                id(tensor) in statistics
                or tensor.numel() < 2
                or not (tensor.is_floating_point() or tensor.is_complex())
            ):
                continue
            if sum(size > 1 for size in tensor.shape) > 1 and not layers and name not in _ADDED:
                raise OpaqueError(f"a table of weights that {name} takes")
            self.values.append(tensor)
        self.layers += layers

    def _convolution(self, args: Any, result: Tensor) -> Layer:
        weight, groups = _array(args[1]), int(args[8])
        if args[6]:  # transposed: [inputs, filters of a group, *kernel]
            weight = counting.as_convolution(weight, groups)
        name, again, positions = self.origin.get(args[1], ""), self._again(args[1]), prod(result.shape[2:])
        return counting.layer(name, "convolution", weight, groups=groups, positions=positions, again=again)

    def _product(self, args: Any, first: int, second: int, result: Tensor) -> Iterator[Layer]:
        """x·w or w·x; the filters are the columns of w in the one and its rows in the other."""
        left, right = args[first], args[second]
        if self._own(left) is self._own(right):
            return
        held = right if self._own(right) else left
        weight = right.transpose(-1, -2) if held is right and right.ndim > 1 else held
        if held is right and right.ndim == 1:
            weight = right[None]
        elif weight.ndim == 3 and weight.stride(0) == 0:
            weight = weight[0]  # one matrix, shown to every item of the batch
        rows = _array(weight).reshape(-1, weight.shape[-1])
        positions = result.numel() // (rows.shape[0] * self.items)
        yield counting.layer(self.origin.get(held, ""), "linear", rows, positions=positions, again=self._again(held))

    def _again(self, weight: Tensor) -> bool:
        """Whether a layer with these weights was seen before."""
        place = (weight.untyped_storage().data_ptr(), int(weight.storage_offset()))
        known = place in self.seen
        self.seen.add(place)
        return known


def of(module: Module, fed: Tensor) -> Structure:
    """What the weights of a module in inference mode really are, by one pass over `fed` [N, …].

    Raises OpaqueError where it does what cannot be followed, and whatever the module raises.
    """
    watch = _Watch(module, fed)
    with torch.no_grad(), watch:
        module(fed)
    return counting.total([layer for layer in watch.layers if layer.weights], _elements(watch.values))


def _elements(tensors: list[Tensor]) -> Iterator[NDArray[np.generic]]:
    """Every stored value that any of these shows, once: transposed, cut and repeated views show the same ones."""
    shown: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        length = storage.nbytes() // tensor.element_size()
        whole = tensor.detach().as_strided((length,), (1,), 0)
        _, mask = shown.setdefault((storage.data_ptr(), tensor.dtype), (whole, torch.zeros(length, dtype=torch.bool)))
        mask.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).fill_(True)
    for whole, mask in shown.values():
        yield _array(whole.cpu()[mask])


def _array(tensor: Tensor) -> NDArray[np.generic]:
    """In its own type, where numpy has it: a tiny value must not become a zero."""
    values = tensor.detach().cpu()
    wide = (
        values
        if values.dtype in (torch.float16, torch.float32, torch.float64) or values.is_complex()
        else values.float()
    )
    found: NDArray[np.generic] = wide.numpy()
    return found
