"""Small networks of the kinds that people prune, and the ONNX files that both of torch's exporters make of them.

    python -m tests.tinynets        # writes them anew; needs the extra `export`

The files lie in tests/tinynets/, so that a test needs no exporter.
"""

import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.nn import Module
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.models.vision_transformer import VisionTransformer

from benchmarks.differentiable import EXPORTERS, export, redraw
from tests.graphs import items

FOLDER = Path(__file__).parent / "tinynets"
CLASSES = 5
INPUT = (3, 16, 16)


def _head(width: int) -> list[Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)]


def _resnet() -> Module:
    shortcut = nn.Sequential(conv1x1(8, 12, 2), nn.BatchNorm2d(12))
    stem = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, BasicBlock(8, 8), BasicBlock(8, 12, 2, shortcut), *_head(12))


def _mobilenet() -> Module:
    """Squeeze and excitation, HardSwish and HardSigmoid."""
    config = InvertedResidualConfig(8, 3, 16, 8, True, "HS", 1, 1, 1.0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), InvertedResidual(config, nn.BatchNorm2d), *_head(8)
    )  # fmt: skip


def _efficientnet() -> Module:
    """Squeeze and excitation, SiLU."""
    config = MBConvConfig(2, 3, 1, 8, 8, 1)
    block = config.block(config, 0.0, partial(nn.BatchNorm2d, eps=1e-3))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), block, *_head(8))


def _vit() -> Module:
    return VisionTransformer(16, 4, 1, 2, 16, 32, num_classes=CLASSES)


def _convnext() -> Module:
    return ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=CLASSES)


def _densenet() -> Module:
    return DenseNet(4, (2, 2), 8, 2, num_classes=CLASSES)


NETWORKS: dict[str, Callable[[], Module]] = {
    "convnext": _convnext,
    "densenet": _densenet,
    "efficientnet": _efficientnet,
    "mobilenet": _mobilenet,
    "resnet": _resnet,
    "vit": _vit,
}


def source(name: str) -> Module:
    """The network in torch, all its parameters drawn anew."""
    net = NETWORKS[name]().eval()
    redraw(net, 0)
    return net


def path(name: str, exporter: str) -> Path:
    """Its ONNX file by one of the exporters."""
    return FOLDER / f"{name}-{exporter}.onnx"


def main() -> None:
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    for name in NETWORKS:
        for exporter in EXPORTERS:
            export(source(name), torch.rand(4, *INPUT), path(name, exporter), exporter)
            _strip(path(name, exporter))
    _quantise("resnet")


def quantised(name: str) -> Path:
    """Its file with QuantizeLinear and DequantizeLinear around every layer."""
    return FOLDER / f"{name}-quantised.onnx"


def _quantise(name: str) -> None:
    """8-bit activations, and weights with one scale per channel, as onnxruntime's own tool writes them."""
    from onnxruntime import quantization

    class Items(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{"x": items(32, *INPUT).numpy()}])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    given = path(name, "TorchScript"), quantised(name)
    kinds = {"activation_type": quantization.QuantType.QUInt8, "weight_type": quantization.QuantType.QInt8}
    quantization.quantize_static(*given, Items(), quantization.QuantFormat.QDQ, per_channel=True, **kinds)


def _strip(file: Path) -> None:
    """Take out what the exporters note of the machine and of the source's lines, and long names."""
    model = onnx.load(file)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node in model.graph.node:
        node.ClearField("name")
    content = model.SerializeToString()
    assert not re.search(rb"/(home|root|work|usr|tmp)/", content)
    file.write_bytes(content)


if __name__ == "__main__":
    main()
