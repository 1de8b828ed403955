"""A world small enough to know every answer: images that say what each network will answer.

An image of 8×8 RGB shows one class in its first row; the reference reads that. A second row may show another
class, which only the candidate reads. So the numbers of right and wrong answers of both networks are chosen.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 8, 4
NAMES = ("stop", "yield", "speed", "other")
INPUT = (3, SIDE, SIDE)


@dataclass(frozen=True)
class Items:
    """A test set of `n` items: the reference misses `errors`; the candidate breaks `harm` and mends `gain`."""

    n: int = 400
    errors: int = 8
    harm: int = 0
    gain: int = 0
    seed: int = 0

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rng = np.random.default_rng(self.seed)
        x = rng.integers(0, 256, (self.n, SIDE, SIDE, 3), dtype=np.uint8)
        y = rng.integers(0, CLASSES, self.n)
        x[:, :2] = 0
        rows = np.arange(self.n)
        wrong = (y + 1) % CLASSES
        shown = np.where(rows < self.errors, wrong, y)
        x[rows, 0, shown, 0] = 255
        mended, broken = rows[: self.gain], rows[self.errors : self.errors + self.harm]
        x[mended, 1, y[mended], 0] = 255
        x[broken, 1, wrong[broken], 0] = 255
        return x, y

    def save(self, path: Path) -> Path:
        x, y = self.arrays()
        np.savez(path, x=x, y=y, classes=np.asarray(NAMES))
        return path

    def networks(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return REFERENCE, CANDIDATE


@dataclass(frozen=True)
class Scores:
    """A test set that states both networks' outputs: `labels` [N], scores [N, K] in 0 … 255 with K ≤ 8.

    The reference reads its scores in the first row, the candidate reads its own in the second; a score of 255 is
    a logit of 10, and equal scores are equal logits.
    """

    labels: NDArray[np.integer]
    reference: NDArray[np.integer]
    candidate: NDArray[np.integer]

    @property
    def classes(self) -> int:
        return int(self.reference.shape[1])

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        x = np.random.default_rng(0).integers(0, 256, (len(self.labels), SIDE, SIDE, 3), dtype=np.uint8)
        x[:, :2] = 0
        x[:, 0, : self.classes, 0], x[:, 1, : self.classes, 0] = self.reference, self.candidate
        return x, np.asarray(self.labels, np.int64)

    def save(self, path: Path) -> Path:
        x, y = self.arrays()
        np.savez(path, x=x, y=y)
        return path

    def networks(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return weights(classes=self.classes), weights(0.0, 10.0, self.classes)


def ranked(label: int, rank: int, classes: int) -> NDArray[np.int64]:
    """Scores [classes] that place exactly `rank` classes before the label."""
    rivals = [k for k in range(classes) if k != label]
    scores = np.zeros(classes, np.int64)
    scores[label], scores[rivals[:rank]] = 100, 200
    return scores


def weights(first: float = 10.0, second: float = 0.0, classes: int = CLASSES) -> NDArray[np.float32]:
    """[C·H·W, classes]: how strongly a network reads the first and the second row."""
    w = np.zeros((*INPUT, classes), np.float32)
    for k in range(classes):
        w[0, 0, k, k], w[0, 1, k, k] = first, second
    return w.reshape(-1, classes)


REFERENCE = weights()
CANDIDATE = weights(second=20.0)


def network(path: Path, w: NDArray[np.float32], *, softmax: bool = False, size: int = SIDE) -> Path:
    """Write an ONNX file: flatten, multiply, optionally softmax."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    output = "logits"
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
        output = "probabilities"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", w.shape[1]])],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


POLICY = """
format = "prune-audit/policy/1"
id = "{id}"
alpha = 0.05
accept = {accept}
checks = ["accuracy", "functional", "integrity"]
"""
CRITERION = """
[[criterion]]
claim = "{claim}"
at_most = {limit}
unit = "{unit}"
"""


@dataclass
class World:
    """A folder with both networks, a test set and a policy, and the audit file that names them."""

    folder: Path
    items: Items | Scores = field(default_factory=Items)
    limit: float = 2.0
    accept: str = '["PASS"]'

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        reference, candidate = self.items.networks()
        self.reference = network(self.folder / "reference.onnx", reference)
        self.candidate = network(self.folder / "candidate.onnx", candidate)
        self.data = self.items.save(self.folder / "test.npz")
        self.policy = self.folder / "policy.toml"
        self.policy.write_text(POLICY.format(id="house/1", accept=self.accept))
        self.require("accuracy.drop", self.limit, "points")
        self.audit = self.folder / "audit.toml"
        self.audit.write_text(
            'policy = "policy.toml"\nout = "out"\n\n[reference]\nmodel = "reference.onnx"\n\n'
            '[candidate]\nmodel = "candidate.onnx"\n\n[data.test]\npath = "test.npz"\n'
        )
        self.out = self.folder / "out"

    def require(self, claim: str, at_most: float, unit: str) -> None:
        """Add a required criterion to the policy."""
        text = CRITERION.format(claim=claim, limit=at_most, unit=unit)
        self.policy.write_text(self.policy.read_text() + text)
