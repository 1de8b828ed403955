"""A world whose networks know only the pixels that they were trained on: another preprocessing shifts the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from audit.request import PreprocessingEntry
from audit.trials import Layout
from tests.world import SIDE

LEVELS = 64
"""Classes of the grey world: so many that each preprocessing but the right one shifts most of them by a class."""
PIXELS = 3 * SIDE * SIDE


@dataclass
class Grey:
    """Items whose first pixel has one of 64 greys, its class; the rest is noise."""

    folder: Path
    n: int = 320

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(1)
        self.y = np.arange(self.n) % LEVELS
        self.x = rng.integers(0, 256, (self.n, SIDE, SIDE, 3), dtype=np.uint8)
        self.x[:, 0, 0] = (4 * self.y)[:, None]
        self.data = self.folder / "test.npz"
        np.savez(self.data, x=self.x, y=self.y)

    def own(self) -> PreprocessingEntry:
        """Mean and standard deviation of the items themselves."""
        x = self.x.astype(np.float64) / 255
        mean, std = (tuple(part.round(4).tolist()) for part in (x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))))
        return PreprocessingEntry(mean=mean, std=std)

    def network(self, name: str, trained: PreprocessingEntry, layout: Layout = "NCHW") -> Path:
        """A network that names the grey nearest to the first pixel, which it expects preprocessed as it was trained.

        −(s − t)² + s² = 2·s·t − t² is linear in the pixel s, for the class with the grey t.
        """
        greys = np.repeat(np.arange(0, 4 * LEVELS, 4, dtype=np.float32), 3).reshape(LEVELS, 3, 1, 1) / np.float32(255)
        t = trained.resolve(3).apply(greys)[..., 0, 0].astype(np.float64)
        w = np.zeros((3, SIDE, SIDE, LEVELS), np.float32)
        w[:, 0, 0] = 2 * t.T
        shape = [3, SIDE, SIDE] if layout == "NCHW" else [SIDE, SIDE, 3]
        w = w if layout == "NCHW" else w.transpose(1, 2, 0, 3)
        return linear(self.folder / name, w.reshape(PIXELS, LEVELS), -(t**2).sum(axis=1), shape)


def linear(path: Path, w: NDArray[np.float32], b: NDArray[np.float64], shape: Sequence[int | str]) -> Path:
    """Write an ONNX file: flatten, multiply, add."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", w.shape[1]])],
        [numpy_helper.from_array(np.ascontiguousarray(w), "w"), numpy_helper.from_array(b.astype(np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


IMAGENET = PreprocessingEntry(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
TRAINED = {
    "plain": PreprocessingEntry(),
    "signed": PreprocessingEntry(range=(-1.0, 1.0)),
    "bytes": PreprocessingEntry(range=(0.0, 255.0)),
    "imagenet": IMAGENET,
    "cifar": PreprocessingEntry(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)),
}
