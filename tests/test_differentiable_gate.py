"""Gradients are trusted where the outputs are onnxruntime's; everything else ends as a reason."""

import numpy as np
import pytest
import torch
from torch import Tensor

from audit.models.differentiable.gate import QUANTUM, SAMPLES, TOLERANCE, GradientFree, Verified, differentiable
from tests.graphs import answers, items, model, node
from tests.tinynets import INPUT, path, quantised

X = items(SAMPLES, *INPUT)
NETWORK = path("mobilenet", "dynamo").read_bytes()
FLAT = model([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], {"w": np.ones((768, 3), np.float32)})


def cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(out, y, reduction="none")


def reason(content: bytes, x: Tensor, reference: Tensor) -> str:
    found = differentiable(content, x, reference)
    assert isinstance(found, GradientFree)
    return found.reason


def verified(content: bytes, x: Tensor = X) -> Verified:
    found = differentiable(content, x, answers(content, x))
    assert isinstance(found, Verified), found.reason
    return found


def test_the_difference_to_onnxruntime_is_measured() -> None:
    reference = answers(NETWORK, X)
    found = differentiable(NETWORK, X, reference + reference.abs().max() * TOLERANCE / 2)
    assert isinstance(found, Verified)
    assert found.deviation == pytest.approx(TOLERANCE / 2, rel=0.05)


def test_outputs_beyond_the_tolerance_are_not_trusted() -> None:
    reference = answers(NETWORK, X)
    off = reference.clone()
    off[-1, -1] += reference.abs().max() * TOLERANCE * 1.5
    assert reason(NETWORK, X, off).startswith("differs from onnxruntime by 1.5e-04 of the largest output")


@pytest.mark.parametrize(("moved", "trusted"), [(15, True), (17, False)])
def test_a_step_of_quantisation_may_differ_in_fewer_than_half_of_the_items(moved: int, trusted: bool) -> None:
    content = quantised("resnet").read_bytes()
    reference = answers(content, X)
    reference[:moved, 0] += reference.abs().max() * QUANTUM / 2
    assert isinstance(differentiable(content, X, reference), Verified) is trusted
    reference[0, 0] += reference.abs().max() * QUANTUM
    assert "differs from onnxruntime" in reason(content, X, reference)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_not_trusted(value: float) -> None:
    reference = answers(NETWORK, X)
    broken = reference.clone()
    broken[3, 1] = value
    assert reason(NETWORK, X, broken) == "its outputs are not all finite"
    weights = np.ones((768, 3), np.float32)
    weights[0, 0] = value
    content = model([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], {"w": weights})
    assert reason(content, X, answers(content, X)) == "its outputs are not all finite"
    assert reason(content, X, reference[:, :3]) == "its outputs are not all finite"


def test_too_few_items_prove_nothing() -> None:
    assert "needs 32 of each" in reason(NETWORK, X[:31], answers(NETWORK, X[:31]))
    assert "needs 32 of each" in reason(NETWORK, X, answers(NETWORK, X[:31]))


def test_outputs_of_another_shape_are_not_trusted() -> None:
    assert "gives (32, 5), onnxruntime (32, 4)" in reason(NETWORK, X, torch.ones(SAMPLES, 4))


def test_a_network_that_says_nothing_has_no_gradients() -> None:
    content = model([node("Mul", "x zero", "m"), node("Flatten", "m", "y")], {"zero": np.float32(0)})
    assert reason(content, X, answers(content, X)) == "its outputs are all zero"


def test_gradients_that_vanish_are_not_trusted() -> None:
    content = model([node("Sign", "x", "s"), node("Flatten", "s", "y")])
    assert reason(content, X, answers(content, X)) == "its gradients are all zero"


def test_gradients_that_are_not_finite_are_not_trusted() -> None:
    nodes = [node("Mul", "x zero", "m"), node("Sqrt", "m", "r"), node("Add", "x r", "s"), node("Flatten", "s", "y")]
    content = model(nodes, {"zero": np.float32(0)})
    assert bool(answers(content, X.abs()).isfinite().all())
    assert reason(content, X.abs(), answers(content, X.abs())) == "its gradients are not all finite"


@pytest.mark.parametrize("place", [2, 5])
def test_a_network_that_mixes_its_items_is_not_trusted(place: int) -> None:
    # In a batch of one size it looks like a shift of all outputs.
    x = X.clone()
    x[place, 0, 0, 0] = 9.0
    nodes = [node("ReduceMax", "x", "m", keepdims=1), node("Sub", "x m", "d"), node("Flatten", "d", "y")]
    content = model(nodes)
    in_eights = torch.cat([answers(content, part) for part in x.split(8)])
    assert reason(content, x, in_eights) == "its output for one item depends on the other items"


def test_what_cannot_be_translated_says_why() -> None:
    content = model([node("DFT", "x", "y")])
    assert reason(content, X, X) == "not translated: DFT (opset 20): not among the operators that are carried"
    assert reason(b"no file", X, X).startswith("not translated: ")
    assert reason(b"", X, X).startswith("not translated: ")
    cut = model([node("Cast", "x", "i", to=7), node("Cast", "i", "c", to=1), node("Flatten", "c", "y")])
    assert "the gradient would be cut" in reason(cut, X, answers(cut, X))


def test_a_graph_that_makes_no_sense_says_what_torch_says() -> None:
    content = model([node("MatMul", "x w", "y")], {"w": np.ones((5, 3), np.float32)})
    assert reason(content, X, X).startswith("fails in torch: ")


def test_gradients_are_those_of_each_item_alone() -> None:
    module, y = verified(NETWORK), torch.arange(SAMPLES) % 5
    losses, gradients = module.loss_gradient(X, y, cross_entropy)
    assert losses.shape == (SAMPLES,)
    assert gradients.shape == X.shape
    for i in (0, 7):
        loss, gradient = module.loss_gradient(X[i : i + 1], y[i : i + 1], cross_entropy)
        torch.testing.assert_close(loss[0], losses[i])
        torch.testing.assert_close(gradient[0], gradients[i], rtol=1e-4, atol=1e-6)


def test_gradients_are_there_where_torch_is_told_to_keep_none() -> None:
    module = verified(FLAT)
    with torch.no_grad():
        _, gradient = module.loss_gradient(X, torch.zeros(SAMPLES, dtype=torch.long), lambda out, y: out[:, 0])
    assert torch.equal(gradient, torch.ones_like(X))


def test_the_items_are_left_as_they_are() -> None:
    before = X.clone()
    verified(NETWORK).loss_gradient(X, torch.zeros(SAMPLES, dtype=torch.long), cross_entropy)
    assert torch.equal(X, before)
    assert not X.requires_grad
