"""What benchmarks run on: a pair of ResNet-18 with random weights, and generated images.

Needs the extra `export`. Speed and memory do not depend on what a network has learned.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image

CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ROLES = ("reference", "candidate")
RUNTIMES = ("onnx", "torch")
FACTORY = "resnet:made"
POLICY = """
format = "prune-audit/policy/1"
id = "benchmark"
alpha = 0.05
checks = ["accuracy", "functional", "integrity"]
[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"
"""
_SOURCE = f"""
import torchvision
def made():
    return torchvision.models.resnet18(num_classes={CLASSES})
"""


def networks(folder: Path) -> None:
    """Write both networks as ONNX files and as state dicts, with the source of their architecture."""
    (folder / "resnet.py").write_text(_SOURCE)
    for seed, role in enumerate(ROLES):
        torch.manual_seed(seed)
        module = torchvision.models.resnet18(num_classes=CLASSES).eval()
        torch.save(module.state_dict(), folder / f"{role}.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (torch.zeros(2, 3, 64, 64),), folder / f"{role}.onnx", dynamo=True, external_data=False,
                verbose=False, input_names=["image"], dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
            )  # fmt: skip


def audit_file(folder: Path, runtime: str, data: str, device: str = "cpu") -> Path:
    """Write the audit file of the pair on one runtime, and the policy."""
    ending = {"onnx": "onnx", "torch": "pt"}[runtime]
    architecture = {"onnx": "", "torch": f"architecture = {json.dumps(FACTORY)}\n"}[runtime]
    models = "".join(f'[{role}]\nmodel = "{role}.{ending}"\n{architecture}' for role in ROLES)
    path = folder / f"{runtime}.toml"
    path.write_text(
        f'policy = "policy.toml"\ndevice = "{device}"\n{models}[preprocessing]\nmean = {list(MEAN)}\n'
        f"std = {list(STD)}\n[data.test]\npath = {json.dumps(data)}\n"
    )
    (folder / "policy.toml").write_text(POLICY)
    return path


def images(items: int, size: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Smooth random images uint8 [size, size, 3], none like another, and their labels."""
    rng = np.random.default_rng(0)
    for index in range(items):
        seen = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        seen[0, 0] = index % 256, index // 256 % 256, index // 256**2
        yield np.asarray(Image.fromarray(seen).resize((size, size), Image.Resampling.BICUBIC)), index % CLASSES


def archive(path: Path, items: int, size: int) -> None:
    """Write an .npz file of generated images."""
    pairs = list(images(items, size))
    np.savez(path, x=np.stack([x for x, _ in pairs]), y=np.asarray([y for _, y in pairs]))


def folder_of(path: Path, items: int, size: int) -> None:
    """Write a folder of generated images, one folder per class: JPEG, and every tenth a PNG file."""
    for label in range(CLASSES):
        (path / f"class{label}").mkdir(parents=True)
    for index, (x, label) in enumerate(images(items, size)):
        suffix = "png" if index // CLASSES % 10 == 9 else "jpg"
        Image.fromarray(x).save(path / f"class{label}" / f"{index:06}.{suffix}", quality=90)
