"""Six torchvision networks as torch exports them: our outputs against onnxruntime's, our gradients against torch's own.

    python benchmarks/differentiable.py [--keep FOLDER] [--page docs/differentiable.md]

Needs the extra `export`. All parameters and statistics are drawn anew, also those that start at zero or at 1e-6: a
network whose last scale is zero agrees with anything. Each is exported by both exporters with a dynamic batch, and
judged by the gate that an audit uses, on 32 items, against onnxruntime with all optimisations on. Gradients are those
of the sum of the log-sum-exp of the outputs by the input, for 4 items, as a share of the largest; the source network
computes them in torch. Their median and 99 % quantile are shown, not the greatest difference: where an activation or
a maximum is a tie up to rounding, two correct implementations may differ. `--keep` holds exported files, and uses
those that are there: a file of other weights would disagree with the source. Exits 1 where one is without gradients.
"""

import argparse
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor
from torch.nn import Module

from audit.models.differentiable.gate import SAMPLES, GradientFree, differentiable
from audit.models.differentiable.interpreter import translate

NETWORKS = {
    "resnet18": 64, "mobilenet_v3_small": 64, "efficientnet_b0": 64, "vit_b_16": 224, "convnext_tiny": 64,
    "densenet121": 64,
}  # fmt: skip
"""Pixels of the input; only the vision transformer fixes them."""
EXPORTERS = ("TorchScript", "dynamo")
ITEMS = 4
MARK = re.compile(r"(?<=<!-- networks: begin -->\n).*?(?=<!-- networks: end -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One exported network: how far its outputs and its gradients are off, or why it has no gradients."""

    network: str
    exporter: str
    nodes: int
    spread: float
    deviation: float
    median: float
    quantile: float
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"| {self.network} | {self.exporter} | – | – | no gradients: {self.reason} | – | – |"
        figures = f"{self.spread:.2f} | {self.deviation:.1e} | {self.median:.1e} | {self.quantile:.1e}"
        return f"| {self.network} | {self.exporter} | {self.nodes} | {figures} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder of exported files")
    parser.add_argument("--page", type=Path, help="document whose table is renewed")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the exporters warn of their own parts
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.networks:
            for row in measured(name, arguments.keep or Path(scratch)):
                rows.append(row)
                print(row, flush=True)
    if arguments.page:
        text = arguments.page.read_text(encoding="utf-8")
        arguments.page.write_text(MARK.sub(lambda _: table(rows), text), encoding="utf-8")
    return 1 if any(row.reason for row in rows) else 0


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = (
        "| network | exporter | nodes left | standard deviation of the outputs "
        "| outputs: greatest difference ÷ largest output | gradients: median difference ÷ largest | 99 % quantile |"
    )
    return "\n".join([head, "|---|---|--:|--:|--:|--:|--:|", *map(str, rows)]) + "\n"


def measured(name: str, folder: Path) -> Iterator[Row]:
    """Both exports of one network."""
    from torchvision import models

    pixels = NETWORKS[name]
    net = models.get_model(name, weights=None).eval()
    redraw(net, 0)
    x = torch.rand(SAMPLES, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    for exporter in EXPORTERS:
        path = folder / f"{name}-{exporter}.onnx"
        if not path.exists():
            export(net, x[:ITEMS], path, exporter)
        yield compared(name, exporter, net, x, path.read_bytes())


def compared(name: str, exporter: str, net: Module, x: Tensor, content: bytes) -> Row:
    """One export against onnxruntime and against its source."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    reference = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    found = differentiable(content, x, reference)
    if isinstance(found, GradientFree):
        return Row(name, exporter, len(translate(content).nodes), 0, 0, 0, 0, found.reason)
    ours, theirs = gradient(found.module, x[:ITEMS]), gradient(net, x[:ITEMS])
    share = ((ours - theirs).abs() / theirs.abs().max()).flatten()
    off = [float(part) for part in (share.median(), share.kthvalue(int(share.numel() * 0.99)).values)]
    return Row(name, exporter, len(found.module.nodes), float(reference.std()), found.deviation, *off)


def gradient(net: Module, x: Tensor) -> Tensor:
    """Of the sum of the log-sum-exp of the outputs, by the input."""
    given = x.clone().requires_grad_()
    net(given).logsumexp(1).sum().backward()
    assert given.grad is not None
    return given.grad


def redraw(net: Module, seed: int) -> None:
    """Draw all parameters and statistics anew, so that each of them shows in the outputs."""
    source = torch.Generator().manual_seed(seed)
    for module in net.modules():
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            with torch.no_grad():
                if value.ndim >= 2 and name.startswith(("weight", "in_proj_weight")):
                    value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=source)
                elif name in ("weight", "layer_scale", "running_var"):
                    value.uniform_(0.5, 1.5, generator=source)
                elif value.is_floating_point():
                    value.normal_(0, 0.1, generator=source)


def export(net: Module, x: Tensor, path: Path, exporter: str) -> None:
    """Write the network with a dynamic batch and its weights inside."""
    if exporter == "dynamo":
        batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
        torch.onnx.export(net, (x,), path, dynamo=True, external_data=False, dynamic_shapes=batch, verbose=False)
    else:
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        torch.onnx.export(
            net, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
