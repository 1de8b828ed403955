"""Architectures as a user would write them, tiny; `module:factory` of the tests names the functions here."""

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from tests.world import CLASSES, INPUT, SIDE


class Net(nn.Module):
    """A convolution, a batch norm, a linear layer."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(INPUT[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.conv(x)).relu_().flatten(1))
        return out


def net(width: int = 4) -> Net:
    return Net(width)


_SHARED = Net()


def shared() -> Net:
    """The same object every time."""
    return _SHARED


def last() -> nn.Module:
    """Takes channels last."""

    class Last(Net):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1:] == (SIDE, SIDE, INPUT[0])
            return super().forward(x.permute(0, 3, 1, 2))

    return Last()


def number() -> int:
    return 3


class Deaf(Net):
    """Says that it has loaded, and has not."""

    def load_state_dict(self, *_arguments: object, **_options: object) -> None:  # type: ignore[override]
        return None


def deaf() -> Net:
    return Deaf()


class Tied(nn.Module):
    """Two names, one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(INPUT[0] * SIDE * SIDE, CLASSES, bias=False)
        self.b = nn.Linear(INPUT[0] * SIDE * SIDE, CLASSES, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.flatten(1)) + self.b(x.flatten(1))  # type: ignore[no-any-return]


def tied() -> Tied:
    return Tied()


def pruned() -> Net:
    """As torch leaves it: masks beside the weights, and the masked weight computed."""
    module = Net()
    prune.l1_unstructured(module.head, "weight", amount=0.5)
    return module


class Ends(Net):
    """Does at the end what it is told to."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> object:  # type: ignore[override]
        out = super().forward(x)
        match self.what:
            case "raises":
                raise KeyError("logits")
            case "exits":
                raise SystemExit(0)
            case "memory":
                raise MemoryError
            case "none":
                return None
            case "flat":
                return out[:, 0]
            case "one":
                return out[:1]
            case "labels":
                return out.argmax(1, keepdim=True).expand(-1, 2)
            case "half" | "bfloat16" | "double":
                return out.to(getattr(torch, self.what))
            case "buffer":
                self.kept = out
                return out
            case "learns":
                self.head.bias += 1
                return out
            case "nan":
                return out * float("nan")
        return out


def ends(what: str) -> Ends:
    return Ends(what)


class Unrepeatable(Net):
    """Uses an operation for which torch has no deterministic implementation."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out + torch.zeros(CLASSES, device=x.device).put_(torch.tensor([0], device=x.device), out.new_zeros(1))


def unrepeatable() -> Net:
    return Unrepeatable()


class Branching(Net):
    """Looks at the values of its input, which no exporter can follow."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out * 2 if x.sum() > 10 else out
