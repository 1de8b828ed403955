"""What the weights really are: masks, thresholds and quantisation count as zeros, wherever the file keeps them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils import prune

from audit import api, structure
from audit.findings import Exact, Missing
from audit.models import counting, files, loading, memory
from audit.models import onnx as models
from audit.models.adapter import Slot
from audit.request import ModelEntry
from audit.structure import Layer, Structure
from audit.types import Role
from checks import structure as check
from tests.world import CLASSES, INPUT, World

C, H, W = INPUT
SLOT = Slot(Role.CANDIDATE, INPUT)
RNG = np.random.default_rng(0)


def known(found: Structure | Missing) -> Structure:
    assert isinstance(found, Structure), found
    return found


def written(
    path: Path, nodes: list[NodeProto], held: dict[str, np.ndarray], *, size: int | str = "batch", opset: int = 17
) -> Structure | Missing:
    """What the nodes from `image` to `logits` hold."""
    ports = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, (size, C, H, W)),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, (size, CLASSES)),
    ]
    constants = [numpy_helper.from_array(v, k) for k, v in held.items()]
    graph = helper.make_graph(nodes, "network", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return models.load(files.read(path, Role.CANDIDATE), SLOT).structure()


def node(kind: str, given: str, out: str, **attributes: object) -> NodeProto:
    return helper.make_node(kind, given.split(), [out], name=f"{kind}-{out}", **attributes)


HEAD = [node("Flatten", "image", "flat"), node("MatMul", "flat w", "logits")]
DENSE = RNG.uniform(0.5, 1.5, (C * H * W, CLASSES)).astype(np.float32)
MASK = (np.arange(DENSE.size).reshape(DENSE.shape) % 4 == 0).astype(np.float32)
LEFT = int(MASK.sum())


def masked(folder: Path) -> Structure | Missing:
    nodes = [node("Mul", "orig mask", "w"), *HEAD]
    return written(folder / "a.onnx", nodes, {"orig": DENSE, "mask": MASK})


def thresholded(folder: Path) -> Structure | Missing:
    threshold = np.float32(np.sort(DENSE, axis=None)[-LEFT])
    nodes = [
        node("Abs", "orig", "size"),
        node("Less", "size threshold", "small"),
        node("Where", "small zero orig", "w"),
        *HEAD,
    ]
    held = {"orig": DENSE, "threshold": np.array(threshold), "zero": np.array(0, np.float32)}
    return written(folder / "a.onnx", nodes, held)


def quantised(folder: Path) -> Structure | Missing:
    stored = (DENSE * MASK * 10 + 3).round().astype(np.int8)  # zero is stored as 3
    nodes = [node("DequantizeLinear", "stored scale point", "w"), *HEAD]
    held = {"stored": stored, "scale": np.array(0.1, np.float32), "point": np.array(3, np.int8)}
    return written(folder / "a.onnx", nodes, held)


def stored(folder: Path) -> Structure | Missing:
    return written(folder / "a.onnx", HEAD, {"w": DENSE * MASK})


def in_a_function(folder: Path) -> Structure | Missing:
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Mul", ["a", "b"], ["c"])]
    written(folder / "a.onnx", HEAD, {"w": DENSE})
    model = onnx.load(folder / "a.onnx")
    model.functions.append(helper.make_function("house", "Mask", ["a", "b"], ["c"], body, opsets))
    model.opset_import.append(helper.make_opsetid("house", 1))
    model.graph.node.insert(0, helper.make_node("Mask", ["orig", "mask"], ["w"], domain="house"))
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in {"orig": DENSE, "mask": MASK}.items())
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    return models.load(files.read(folder / "a.onnx", Role.CANDIDATE), SLOT).structure()


@pytest.mark.parametrize("make", [stored, masked, thresholded, quantised, in_a_function])
def test_weights_are_what_the_operator_receives(tmp_path: Path, make: object) -> None:
    found = known(make(tmp_path))  # type: ignore[operator]
    assert (found.parameters, found.nonzero) == (DENSE.size, LEFT)
    (layer,) = found.layers
    assert (layer.kind, layer.shape, layer.nonzero) == ("linear", (CLASSES, C * H * W), LEFT)
    assert (layer.positions, layer.operations) == (1, LEFT)


def test_convolutions(tmp_path: Path) -> None:
    kernel = RNG.normal(size=(6, 1, 3, 3)).astype(np.float32)
    kernel[4] = 0  # filter 4; channel 2 feeds filters 4 and 5
    kernel[5, 0, 1:] = 0
    up = RNG.normal(size=(6, 5, 2, 2)).astype(np.float32)
    up[3] = 0  # an input that nothing uses
    matrix = RNG.normal(size=(CLASSES, 5 * 8 * 8)).astype(np.float32)
    nodes = [
        node("Conv", "image kernel bias", "a", group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
        node("ConvTranspose", "a up", "b", strides=[2, 2]),
        node("Flatten", "b", "flat"),
        node("Gemm", "flat matrix offset", "logits", transB=1),
    ]
    held = {"kernel": kernel, "bias": np.arange(6, dtype=np.float32), "up": up, "matrix": matrix}
    found = known(written(tmp_path / "a.onnx", nodes, {**held, "offset": np.ones(CLASSES, np.float32)}))
    first, second, third = found.layers
    assert (first.kind, first.shape, first.groups, first.positions) == ("convolution", (6, 1, 3, 3), 3, 16)
    assert (first.nonzero, first.dead_filters, first.dead_channels) == (4 * 9 + 3, 1, 0)
    assert (second.shape, second.positions) == ((5, 6, 2, 2), 64)
    assert (second.nonzero, second.dead_filters, second.dead_channels) == (5 * 5 * 4, 0, 1)
    assert (third.kind, third.shape, third.positions) == ("linear", matrix.shape, 1)
    assert first.name == "Conv-a"
    assert found.parameters == kernel.size + 6 + up.size + matrix.size + CLASSES
    assert found.nonzero == first.nonzero + 5 + second.nonzero + matrix.size + CLASSES


def test_what_is_shared_or_describes_data_counts_once_or_not(tmp_path: Path) -> None:
    square = RNG.normal(size=(C, C, 1, 1)).astype(np.float32)
    channel = np.ones(C, np.float32)
    nodes = [
        node("Conv", "image square", "a"),
        node("Conv", "a square", "b"),
        node("BatchNormalization", "b scale shift mean var", "c"),
        node("Mul", "c one", "d"),
        node("Flatten", "d", "flat"),
        node("MatMul", "flat w", "logits"),
    ]
    held = {"square": square, "scale": channel, "shift": 0 * channel, "mean": channel, "var": channel, "w": DENSE}
    found = known(written(tmp_path / "a.onnx", nodes, {**held, "one": np.array(2, np.float32)}))
    assert len(found.layers) == 3
    assert found.parameters == square.size + 2 * C + DENSE.size
    assert found.nonzero == square.size + C + DENSE.size


@pytest.mark.parametrize("size", [1, 3])
def test_positions_are_those_of_one_item(tmp_path: Path, size: int) -> None:
    kernel = np.ones((2, C, 1, 1), np.float32)
    nodes = [
        node("Conv", "image kernel", "a"),
        node("Reshape", "a shape", "rows"),
        node("MatMul", "rows inner", "b"),
        node("Flatten", "b", "flat"),
        node("MatMul", "flat w", "logits"),
    ]
    held = {
        "kernel": kernel,
        "shape": np.array([size, 8, 16]),
        "inner": np.ones((16, 3), np.float32),
        "w": np.ones((24, CLASSES), np.float32),
    }
    found = known(written(tmp_path / "a.onnx", nodes, held, size=size))
    assert [layer.positions for layer in found.layers] == [64, 8, 1]


TAIL = RNG.uniform(0.5, 1.5, (CLASSES, CLASSES)).astype(np.float32)


def with_tail(path: Path, nodes: list[NodeProto], held: dict[str, np.ndarray], opset: int = 17) -> Structure | Missing:
    """The same with a layer behind that can be seen: what is hidden must not vanish beside it."""
    return written(path, [*nodes, node("MatMul", "hidden tail", "logits")], {**held, "tail": TAIL}, opset=opset)


FLAT = node("Flatten", "image", "flat")


def captured_by_a_branch(folder: Path) -> Structure | Missing:
    def branch() -> onnx.GraphProto:
        inner = [helper.make_node("MatMul", ["flat", "w"], ["out"])]
        return helper.make_graph(inner, "branch", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)])

    choice = helper.make_node("If", ["yes"], ["hidden"], then_branch=branch(), else_branch=branch())
    return with_tail(folder / "a.onnx", [FLAT, choice], {"yes": np.array(True), "w": DENSE})


def inside_a_branch(folder: Path) -> Structure | Missing:
    def branch() -> onnx.GraphProto:
        inner = [helper.make_node("MatMul", ["flat", "inside"], ["out"])]
        given = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
        return helper.make_graph(inner, "branch", [], given, [numpy_helper.from_array(DENSE, "inside")])

    choice = helper.make_node("If", ["yes"], ["hidden"], then_branch=branch(), else_branch=branch())
    return with_tail(folder / "a.onnx", [FLAT, choice], {"yes": np.array(True)})


def sparse(folder: Path) -> Structure | Missing:
    path = folder / "a.onnx"
    with_tail(path, [FLAT, node("MatMul", "flat w", "hidden")], {"w": DENSE})
    model = onnx.load(path)
    place = next(i for i, each in enumerate(model.graph.initializer) if each.name == "w")
    del model.graph.initializer[place]
    where = np.flatnonzero(MASK)
    kept = model.graph.sparse_initializer.add(dims=DENSE.shape)
    kept.values.CopyFrom(numpy_helper.from_array(DENSE.ravel()[where], "w"))
    kept.indices.CopyFrom(numpy_helper.from_array(where, "where"))
    path.write_bytes(model.SerializeToString())
    return models.load(files.read(path, Role.CANDIDATE), SLOT).structure()


def scaled_by_the_input(folder: Path) -> Structure | Missing:
    nodes = [
        FLAT,
        node("ReduceMax", "image", "scale", keepdims=0),
        node("DequantizeLinear", "stored scale", "w"),
        node("MatMul", "flat w", "hidden"),
    ]
    return with_tail(folder / "a.onnx", nodes, {"stored": np.ones(DENSE.shape, np.int8)})


def through_einsum(folder: Path) -> Structure | Missing:
    nodes = [FLAT, helper.make_node("Einsum", ["flat", "w"], ["hidden"], equation="nk,kc->nc")]
    return with_tail(folder / "a.onnx", nodes, {"w": DENSE})


def masked_by_the_input(folder: Path) -> Structure | Missing:
    nodes = [
        FLAT,
        node("ReduceMax", "image", "gate", keepdims=0),
        node("Mul", "w gate", "gated"),
        node("MatMul", "flat gated", "hidden"),
    ]
    return with_tail(folder / "a.onnx", nodes, {"w": DENSE})


@pytest.mark.parametrize(
    "make",
    [captured_by_a_branch, inside_a_branch, sparse, scaled_by_the_input, through_einsum, masked_by_the_input],
)
def test_what_cannot_be_seen_is_not_guessed(tmp_path: Path, make: object) -> None:
    found = make(tmp_path)  # type: ignore[operator]
    assert isinstance(found, Missing) and "cannot be looked into" in found.detail
    for each in check._compared(found, found):
        assert each.statistic == found


def test_what_runs_for_nobody_does_not_count(tmp_path: Path) -> None:
    zeros = np.zeros((C * H * W, 50), np.float32)
    found = known(
        written(tmp_path / "a.onnx", [*HEAD, node("MatMul", "flat zeros", "aside")], {"w": DENSE, "zeros": zeros})
    )
    assert (len(found.layers), found.parameters, found.nonzero) == (1, DENSE.size, DENSE.size)


def test_the_same_values_in_another_form_count_once(tmp_path: Path) -> None:
    square = RNG.normal(size=(16, 16)).astype(np.float32)
    nodes = [
        node("Reshape", "image rows", "a"),
        node("MatMul", "a square", "b"),
        node("Transpose", "square", "turned"),
        node("Identity", "turned", "again"),
        node("MatMul", "b again", "c"),
        node("Flatten", "c", "flat"),
        node("MatMul", "flat w", "logits"),
    ]
    found = known(written(tmp_path / "a.onnx", nodes, {"square": square, "w": DENSE, "rows": np.array([-1, 12, 16])}))
    assert found.parameters == square.size + DENSE.size
    assert [layer.again for layer in found.layers] == [False, True, False]
    sparsity = next(check._alone(Role.CANDIDATE, found)).statistic
    assert isinstance(sparsity, Exact) and sparsity.n == square.size + DENSE.size


def test_random_numbers_are_no_pruning(tmp_path: Path) -> None:
    nodes = [node("Dropout", "w half yes", "dropped"), FLAT, node("MatMul", "flat dropped", "logits")]
    held = {"w": DENSE, "half": np.array(0.5, np.float32), "yes": np.array(True)}
    assert isinstance(written(tmp_path / "a.onnx", nodes, held), Missing)


def test_empty_layers_are_none(tmp_path: Path) -> None:
    nodes = [*HEAD, node("MatMul", "flat empty", "nothing"), node("ReduceSum", "nothing", "zero", keepdims=1)]
    nodes[1] = node("MatMul", "flat w", "raw")
    nodes += [node("Squeeze", "zero", "scalar"), node("Add", "raw scalar", "logits")]
    found = written(tmp_path / "a.onnx", nodes, {"w": DENSE, "empty": np.zeros((C * H * W, 0), np.float32)})
    assert len(known(found).layers) == 1


def test_without_layers_nothing_is_said_of_them() -> None:
    bare = Structure((), 5, 5, 20)
    assert all(isinstance(each.statistic, Missing) for each in check._alone(Role.CANDIDATE, bare))
    found = {each.claim.metric: each.statistic for each in check._compared(bare, bare)}
    assert isinstance(found["structure.operations"], Missing)
    nothing = Structure((), 0, 0, 8)
    assert all(isinstance(each.statistic, Missing) for each in check._compared(bare, nothing))


class Small(nn.Module):
    """A convolution and two linear maps, one of them shared by eight rows of an item."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(C, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Linear(64, 5, bias=False)
        self.head = nn.Linear(40, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.norm(self.conv(x)).flatten(2)
        out: Tensor = self.head(self.inner(rows).flatten(1))
        return out


def small() -> Small:
    torch.manual_seed(0)
    return Small()


def of_module(module: nn.Module) -> Structure:
    return known(memory.of_module(module, replace(SLOT, batch=4)).structure())


def test_torch_modules() -> None:
    found = of_module(small())
    assert [(each.name, each.kind, each.shape, each.positions) for each in found.layers] == [
        ("conv.weight", "convolution", (8, C, 3, 3), 64),
        ("inner.weight", "linear", (5, 64), 8),
        ("head.weight", "linear", (CLASSES, 40), 1),
    ]
    assert found.parameters == sum(p.numel() for p in small().parameters())
    assert found.nonzero == found.parameters - 8  # shifts of the normalisation begin at 0


def test_a_mask_of_torch_counts_as_zeros() -> None:
    module = small()
    prune.l1_unstructured(module.conv, "weight", amount=0.75)
    prune.ln_structured(module.head, "weight", amount=0.5, n=2, dim=0)
    found = of_module(module)
    conv, inner, head = found.layers
    assert conv.nonzero == round(0.25 * conv.weights)
    assert inner.nonzero == inner.weights
    assert (head.dead_filters, head.nonzero) == (CLASSES // 2, head.weights // 2)
    prune.remove(module.conv, "weight")
    assert of_module(module).layers[0].nonzero == conv.nonzero


def test_a_threshold_in_code_counts_as_zeros() -> None:
    class Rewired(Small):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.conv.weight
            used = torch.sign(weight) * torch.relu(weight.abs() - 0.1)
            self.conv.forward = lambda x: nn.functional.conv2d(x, used, self.conv.bias, padding=1)  # type: ignore[method-assign]
            return super().forward(x)

    torch.manual_seed(0)
    module = Rewired()
    expected = int((module.conv.weight.abs() > 0.1).sum())
    found = of_module(module)
    assert 0 < expected < module.conv.weight.numel()
    assert found.layers[0].nonzero == expected


class Odd(nn.Module):
    """A network whose matrix is held, shown or used in the way that it is told, before a layer that can be seen."""

    def __init__(self, how: str) -> None:
        super().__init__()
        weight = torch.from_numpy(DENSE.copy())
        self.how, self.plain = how, weight.clone()
        self.register_buffer("buffered", weight.clone())
        self.weight = nn.Parameter(weight.clone())
        self.gate = nn.Linear(C * H * W, 1)
        self.tail = nn.Linear(CLASSES, CLASSES, bias=False)
        self.bilinear = nn.Bilinear(C * H * W, 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        match self.how:
            case "attribute":
                out = flat @ self.plain
            case "buffer":
                out = flat @ self.buffered
            case "made here":
                out = flat @ torch.tensor(DENSE.tolist())
            case "expanded":
                out = torch.bmm(flat[:, None], self.weight.expand(len(x), -1, -1))[:, 0]
            case "cut":
                out = flat @ self.weight + flat[:, :50] @ self.weight[:50]
            case "tiny":
                out = (flat.double() @ (self.weight.double() * 1e-60) * 1e60).float()
            case "mask of a range":
                mask = (torch.arange(DENSE.size).reshape(DENSE.shape) % 4 == 0).float()
                out = flat @ (self.weight * mask)
            case "gated":
                out = flat @ (self.weight * self.gate(flat).mean())
            case "where":
                out = flat @ torch.where(self.weight.abs() > x.mean(), self.weight, 0.0)
            case "bilinear":
                out = self.bilinear(flat, flat[:, :2])
            case _:
                out = torch.sparse.mm(self.weight.t().to_sparse(), flat.t()).t()
        result: Tensor = self.tail(out)
        return result


def of_odd(how: str) -> Structure | Missing:
    torch.manual_seed(0)
    return memory.of_module(Odd(how), replace(SLOT, batch=4)).structure()


@pytest.mark.parametrize("how", ["attribute", "buffer", "made here", "expanded", "cut", "tiny"])
def test_weights_of_torch_are_seen_however_they_are_held(how: str) -> None:
    found = known(of_odd(how))
    assert found.parameters == found.nonzero == DENSE.size + CLASSES**2
    assert found.layers[0].shape == (CLASSES, C * H * W)


def test_a_mask_made_on_the_way_counts_as_zeros() -> None:
    assert known(of_odd("mask of a range")).layers[0].nonzero == LEFT


@pytest.mark.parametrize("how", ["gated", "where", "bilinear", "sparse"])
def test_what_torch_does_with_weights_is_not_guessed(how: str) -> None:
    found = of_odd(how)
    assert isinstance(found, Missing), found


def test_frozen_and_quantised_modules_are_unknown_or_counted(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(C * H * W, CLASSES)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(module, torch.zeros(2, *INPUT)))
        packed = torch.ao.quantization.quantize_dynamic(module, {nn.Linear})
    frozen.save(tmp_path / "a.pt")
    entry = ModelEntry(model=tmp_path / "a.pt")
    found = loading.load(entry, tmp_path, replace(SLOT, batch=4, trust_code=True)).structure()
    assert known(found).nonzero == sum(p.numel() for p in module.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(memory.of_module(packed, replace(SLOT, batch=4)).structure(), Missing)


def test_onnx_and_torch_agree(tmp_path: Path) -> None:
    module = small().eval()
    prune.l1_unstructured(module.inner, "weight", amount=0.5)
    prune.remove(module.inner, "weight")
    held = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items() if tensor.ndim}
    nodes = [
        node("Conv", "image conv.weight conv.bias", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a norm.weight norm.bias norm.running_mean norm.running_var", "b"),
        node("Reshape", "b rows", "c"),
        node("MatMul", "c inner", "d"),
        node("Flatten", "d", "flat"),
        node("Gemm", "flat head.weight head.bias", "logits", transB=1),
    ]
    held |= {"rows": np.array([-1, 8, 64]), "inner": held.pop("inner.weight").T.copy()}
    mine, theirs = of_module(module), known(written(tmp_path / "a.onnx", nodes, held))
    assert (mine.parameters, mine.nonzero) == (theirs.parameters, theirs.nonzero)
    assert [replace(each, name="") for each in mine.layers] == [replace(each, name="") for each in theirs.layers]


def test_patterns() -> None:
    weight = np.zeros((2, 8, 1, 1), np.float32)
    weight[0, :4, 0, 0] = 1, 1, 0, 0  # keeps 2:4
    weight[0, 4:, 0, 0] = 1, 1, 1, 0  # does not; all eight keep no 4:8
    weight[1, :, 0, 0] = 1, 0, 0, 0, 0, 1, 0, 0
    found = counting.layer("a", "convolution", weight)
    assert structure.PATTERNS == ((1, 4), (2, 4), (4, 8))
    assert (found.blocks, found.conforming) == ((4, 4, 2), (2, 3, 1))
    assert counting.layer("a", "linear", np.ones((3, 6), np.float32)).blocks == (0, 0, 0)


SIZES = (6_912, 589_824, 589_824, 589_824, 589_824, 589_824, 33_554_432, 204_800)
STDS = {
    0.9536: (0.853, 0.9399, 0.8738, 0.8385, 0.8467, 0.7905, 0.9654, 0.3928),
    0.9777: (0.9324, 0.9782, 0.9399, 0.9207, 0.9252, 0.8841, 0.9844, 0.5758),
    0.9860: (0.9601, 0.9894, 0.9676, 0.9547, 0.9551, 0.926, 0.9903, 0.6708),
    0.9901: (0.975, 0.9943, 0.9799, 0.9705, 0.9701, 0.9468, 0.9932, 0.738),
    0.9925: (0.9784, 0.9959, 0.9859, 0.9796, 0.9785, 0.9585, 0.9949, 0.7904),
}
"""Sparsities of the layers, and in all, of the networks of STDS on CIFAR-10 (Chen et al., 2022)."""


@pytest.mark.parametrize("total", STDS)
def test_layers_add_up_to_a_published_total(total: float) -> None:
    layers = tuple(
        Layer(str(i), "linear", (1, size), 1, 1, round(size * (1 - zero)), 0, 0, (0, 0, 0), (0, 0, 0))
        for i, (size, zero) in enumerate(zip(SIZES, STDS[total], strict=True))
    )
    nonzero = sum(layer.nonzero for layer in layers)
    whole = Structure(layers, sum(SIZES), nonzero, 1)
    sparsity = next(check._alone(Role.CANDIDATE, whole)).statistic
    assert isinstance(sparsity, Exact)
    assert sparsity.value == pytest.approx(total, abs=1e-4)  # the layers are given to four digits


def test_the_size_of_the_files_is_told(world: World) -> None:
    policy_of(world, "structure.file_size", "at_most", 150.0, "%")
    found = api.run(world.audit, pdf=False).evidence.body
    sizes = [model.bytes for model in found.models]
    claim = next(each for each in found.findings if each.claim == "structure.file_size")
    assert claim.estimate == pytest.approx(100 * sizes[1] / sizes[0])


def test_inputs_that_nothing_uses_are_counted() -> None:
    weight = np.ones((4, 3, 2, 2), np.float32)
    weight[:, 1] = 0
    found = check._alone(Role.CANDIDATE, Structure((counting.layer("a", "convolution", weight),), 48, 32, 1))
    shares = {each.claim.metric: each.statistic for each in found}
    assert shares["structure.dead_channels"] == Exact(1 / 3, 3)


def policy_of(world: World, claim: str, sense: str, limit: float, unit: str) -> None:
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "structure"]')
    criterion = f'\n[[criterion]]\nclaim = "{claim}"\n{sense} = {limit}\nunit = "{unit}"\n'
    world.policy.write_text(text + criterion)


@pytest.mark.parametrize(("limit", "verdict"), [(60.0, "PASS"), (90.0, "FAIL")])
def test_limits_on_the_prune_ratio(tmp_path: Path, limit: float, verdict: str) -> None:
    world = World(tmp_path)
    model = onnx.load(world.reference)
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[-12:] = 1e-9  # 48 values more than the four that decide, and too small to decide anything
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    world.reference.write_bytes(model.SerializeToString())
    policy_of(world, "structure.prune_ratio", "at_least", limit, "%")
    body = api.run(world.audit, pdf=False).evidence.body
    nonzero = {record.role: record.structure.nonzero for record in body.models if record.structure}
    assert nonzero == {"reference": 52, "candidate": 8}
    (decision,) = [each for each in body.decisions if each.claim == "structure.prune_ratio"]
    assert decision.estimate == pytest.approx(100 * (1 - 8 / 52))
    assert (decision.verdict, body.verdict.overall) == (verdict, verdict)


def test_a_candidate_that_is_not_pruned_is_called_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy_of(world, "structure.collapsed_layers@role=candidate", "at_most", 0, "layers")
    outcome = api.run(world.audit, pdf=False)
    page = (outcome.folder / "certificate.html").read_text(encoding="utf-8")
    assert "NOT PRUNED." in page and "8 of its values are not zero, and 4 of the reference’s" in page
    assert outcome.evidence.body.verdict.overall == "PASS"
    assert page.index("NOT PRUNED.") < page.index('id="environment"')
    assert "Weights in effect" in page


def test_structure_alone_passes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy_of(world, "structure.collapsed_layers@role=candidate", "at_most", 0, "layers")
    head, _, rest = world.policy.read_text().partition("[[criterion]]")
    world.policy.write_text(head + rest[rest.index("[[criterion]]") :])
    assert api.run(world.audit, pdf=False).evidence.body.verdict.overall != "PASS"


def test_every_weight_is_in_the_products(tmp_path: Path) -> None:
    found = known(written(tmp_path / "a.onnx", HEAD, {"w": DENSE}))
    assert prod(found.layers[0].shape) == found.parameters
