"""Networks that answer from memory, by chance or by their neighbours; `tests.restless:restless` makes one."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.world import CANDIDATE, World


class Restless(nn.Module):
    """The candidate of the world, with something that it does besides from call `after` on."""

    def __init__(self, what: str, after: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(CANDIDATE.shape))
        self.what, self.after, self.calls = what, after, 0
        self.gain = 1 + torch.rand(1).item() if what == "random factory" else 1.0
        self.hidden = torch.zeros(CANDIDATE.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        out = self.gain * (x.flatten(1) @ self.w)
        self.calls += 1
        return out if self.calls <= self.after else self._disturbed(out)

    def _disturbed(self, out: Tensor) -> Tensor:
        match self.what:
            case "drift":
                return out * (1 + 1e-6 * (self.calls - self.after))
            case "fires":
                return out + torch.arange(4)
            case "dropout":
                return functional.dropout(out, 0.1, training=True)
            case "batch norm":
                return functional.batch_norm(out, None, None, training=True)
            case "recurrent":
                self.hidden = 0.5 * self.hidden + out.mean(0)
                return out + 0.01 * self.hidden
            case "spiking":
                self.hidden = self.hidden + out[0]
                spikes = self.hidden > 15
                self.hidden = self.hidden * ~spikes
                return out + spikes
            case "neighbours":
                return out - out.mean(0)
            case "order":
                return out + out.roll(1, 0)
        return out


def restless(what: str, after: int = 0) -> Restless:
    return Restless(what, after)


def put(world: World, what: str, after: int = 0) -> World:
    """Let the candidate of a world be such a network."""
    torch.save({"w": torch.from_numpy(CANDIDATE)}, Path(world.folder / "candidate.pt"))
    text = world.audit.read_text()
    entry = (
        'model = "candidate.pt"\narchitecture = "tests.restless:restless"\n'
        f'arguments = {{ what = "{what}", after = {after} }}'
    )
    assert 'model = "candidate.onnx"' in text
    world.audit.write_text(text.replace('model = "candidate.onnx"', entry))
    return world
