"""The CIFAR residual network of depth 6n + 2 and base width 16, with projection shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv 1512.03385: section 4.2 for the
shape, section 3.3 for the projections.
"""

from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
WIDTHS = (16, 32, 64)


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut: [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        projection = (_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if same else nn.Sequential(*projection)

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """Maps normalised images, float32 [N, 3, 32, 32], to logits [N, 10].

    `depth` is 6n + 2 with n ≥ 1: 8 has 78,042 parameters, 20 has 272,474. Any other depth raises ValueError.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"a CIFAR ResNet has depth 6n + 2 (8, 14, 20, …), not {depth}")
        self.conv1 = _convolution(3, WIDTHS[0], 3, 1)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        layers: list[nn.Module] = []
        inputs = WIDTHS[0]
        for stage, outputs in enumerate(WIDTHS):
            for block in range(blocks):
                layers.append(ResidualBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.blocks(functional.relu(self.bn1(self.conv1(image)), inplace=True))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def parameter_count(model: nn.Module) -> int:
    """Number of trained values: weights, biases and the scales and shifts of the batch normalisations."""
    return sum(parameter.numel() for parameter in model.parameters())
