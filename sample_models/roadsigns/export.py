"""A trained network as an ONNX file: norms folded, dynamic batch, no trace of the machine that wrote it."""

from __future__ import annotations

import copy
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sample_models.roadsigns.network import SignNet

OPSET = 20


def save(network: SignNet, path: Path) -> None:
    """Writes `network` to `path`.

    Input `image` float32 [batch, 3, 32, 32], normalised; output `logits` [batch, 14].
    """
    program = torch.onnx.export(
        _folded(network),
        (torch.zeros(2, 3, 32, 32),),
        dynamo=True,
        external_data=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    path.write_bytes(_anonymous(program.model_proto).SerializeToString(deterministic=True))


def _folded(network: SignNet) -> SignNet:
    """A copy whose norms are part of the convolutions before them; zeros in the weights stay zeros."""
    result = copy.deepcopy(network).eval()
    for block in result.blocks:
        match dict(block.named_children()):
            case {"conv": nn.Conv2d() as conv, "norm": nn.BatchNorm2d() as norm}:
                block.add_module("conv", fuse_conv_bn_eval(conv, norm))
                block.add_module("norm", nn.Identity())
    return result


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without documentation and metadata: the exporter writes stack traces with local paths there."""
    onnx.checker.check_model(model, full_check=True)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ClearField("metadata_props")
    result.ClearField("doc_string")
    graph = result.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return result
