"""Networks as torch's exporters write them keep their outputs and their gradients."""

import pytest
import torch
from torch import Tensor

from audit.models.differentiable.gate import Verified, differentiable
from audit.models.differentiable.interpreter import translate
from benchmarks.differentiable import EXPORTERS, gradient
from tests.graphs import answers, items
from tests.tinynets import CLASSES, INPUT, NETWORKS, path, quantised, source

ITEMS = items(32, *INPUT)
FILES = [(name, exporter) for name in NETWORKS for exporter in EXPORTERS]


def close(found: Tensor, expected: Tensor) -> bool:
    """Within 1e-5 of the largest value in nine of ten places: two activations may tie up to rounding."""
    share = ((found - expected).abs() / expected.abs().max()).flatten()
    return bool(share.quantile(0.9) < 1e-5)


@pytest.mark.parametrize(("name", "exporter"), FILES)
def test_outputs_and_gradients_are_those_of_the_source(name: str, exporter: str) -> None:
    content, net = path(name, exporter).read_bytes(), source(name)
    reference = answers(content, ITEMS)
    with torch.no_grad():
        assert close(net(ITEMS), reference), "the file is of other weights: python -m tests.tinynets"
    assert reference.std() >= 0.1
    found = differentiable(content, ITEMS, reference)
    assert isinstance(found, Verified), found.reason
    assert found.deviation < 1e-5
    assert close(gradient(found.module, ITEMS), gradient(net, ITEMS))


@pytest.mark.parametrize(("name", "exporter"), FILES)
def test_an_item_is_the_same_in_any_batch(name: str, exporter: str) -> None:
    module = translate(path(name, exporter).read_bytes())
    with torch.no_grad():
        whole = module(ITEMS[:5])
        assert whole.shape == (5, CLASSES)
        for size in (1, 2):
            assert close(module(ITEMS[:size]), whole[:size])


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_weights_are_held_once_and_never_learn(exporter: str) -> None:
    module = translate(path("resnet", exporter).read_bytes())
    held = sum(buffer.numel() for buffer in module.buffers())
    assert held <= sum(value.numel() for value in source("resnet").state_dict().values())
    assert not list(module.parameters())
    assert not any(buffer.requires_grad for buffer in module.buffers())


def test_what_arrives_at_a_layer_is_known() -> None:
    module = translate(path("vit", "TorchScript").read_bytes())
    layers = [node for node in module.nodes if node.operator in ("Conv", "Gemm", "MatMul")]
    # Two products of every attention are of activations.
    assert sum(node.inputs[1] not in module._buffer_names for node in layers) == 2
    assert module.inputs[0] not in module._buffer_names


def test_a_quantised_network_has_gradients_like_those_of_its_source() -> None:
    content = quantised("resnet").read_bytes()
    found = differentiable(content, ITEMS, answers(content, ITEMS))
    assert isinstance(found, Verified), found.reason
    assert not any(node.operator == "QuantizeLinear" for node in found.module.nodes), "one that cuts the gradient"
    ours, theirs = gradient(found.module, ITEMS), gradient(source("resnet"), ITEMS)
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.9
