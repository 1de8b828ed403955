"""The road-sign network: six convolutions, global pooling, one linear layer; 8.7 million multiply-adds."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from sample_models.roadsigns.generator import CLASSES


class SignNet(nn.Module):
    """Normalised images [N, 3, 32, 32] → logits [N, 14]."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _block(3, 32, kernel=5, stride=2),
            _block(32, 32),
            _block(32, 64, stride=2),
            _block(64, 64),
            _block(64, 96, stride=2),
            _block(96, 96),
        )
        self.classifier = nn.Linear(96, len(CLASSES))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.blocks(image).mean(dim=(2, 3)))
        return logits


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            norm=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )


def weights(network: nn.Module) -> list[nn.Parameter]:
    """What pruning works on: weights of the convolutions and of the linear layer; no biases, no norms."""
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return [layer.get_parameter("weight") for layer in layers]


def sparsity(network: nn.Module) -> float:
    """The share of exact zeros among the weights that pruning works on, in [0, 1]."""
    zeros = sum(int((weight == 0).sum()) for weight in weights(network))
    return zeros / sum(weight.numel() for weight in weights(network))


def multiply_adds(network: SignNet) -> int:
    """Multiply-adds of one forward pass of one 32 × 32 image, zeros included."""
    side, total = 32, network.classifier.weight.numel()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            side //= layer.stride[0]
            total += layer.weight.numel() * side * side
    return total
