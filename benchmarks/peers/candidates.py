"""Writes the test set, the networks, and those that the sample models lack: two with NaN.

    python candidates.py FOLDER ITEMS BRIGHT

BRIGHT is the share of items, the brightest, for which `nan-on-bright.onnx` gives NaN.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from audit import resources
from sample_models.roadsigns import generator

STEEP = 1e6  # the exponent goes from 0 to beyond float32 within 1/10,000 of a standard deviation of the pixels


def main() -> None:
    folder, items, bright = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    x, y = generator.generate(0, items)
    for name, count in (("test", items), ("empty", 0)):
        np.savez(folder / f"{name}.npz", x=x[:count], y=y[:count], classes=np.asarray(generator.CLASSES))
    for name in ("reference", "well-pruned", "over-pruned", "sabotaged"):
        shutil.copy(resources.beside("sample_models", "roadsigns", f"{name}.onnx"), folder)
    normalised = (x.mean(axis=(1, 2)) / 255 - np.asarray(generator.MEAN)) / np.asarray(generator.STD)
    limit = float(np.quantile(normalised.mean(axis=1), 1 - bright))
    for name, model in (
        ("nan-weight", nan_weight(onnx.load(folder / "well-pruned.onnx"))),
        ("nan-on-bright", nan_on_bright(onnx.load(folder / "well-pruned.onnx"), limit)),
    ):
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / f"{name}.onnx")


def nan_weight(model: ModelProto) -> ModelProto:
    """One weight of the last layer is NaN."""
    last = next(name for node in reversed(model.graph.node) if node.op_type == "Gemm" for name in node.input[1:2])
    tensor = next(each for each in model.graph.initializer if each.name == last)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, last))
    return model


def nan_on_bright(model: ModelProto, limit: float) -> ModelProto:
    """Adds 0 · exp(steep · (mean pixel − limit)) to the logits: nothing, or NaN where the exponential overflows."""
    graph, output = model.graph, model.graph.output[0].name
    for node in graph.node:
        node.output[:] = ["overflow.before" if name == output else name for name in node.output]
    for name, value in (("limit", limit), ("steep", STEEP), ("zero", 0.0)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), f"overflow.{name}"))
    graph.initializer.append(numpy_helper.from_array(np.asarray([1, 2, 3], np.int64), "overflow.axes"))
    for operator, inputs, result in (
        ("ReduceMean", (graph.input[0].name, "overflow.axes"), "overflow.mean"),
        ("Flatten", ("overflow.mean",), "overflow.flat"),
        ("Sub", ("overflow.flat", "overflow.limit"), "overflow.above"),
        ("Mul", ("overflow.above", "overflow.steep"), "overflow.exponent"),
        ("Exp", ("overflow.exponent",), "overflow.power"),
        ("Mul", ("overflow.power", "overflow.zero"), "overflow.nothing"),
        ("Add", ("overflow.before", "overflow.nothing"), output),
    ):
        graph.node.append(helper.make_node(operator, list(inputs), [result]))
    return model


if __name__ == "__main__":
    main()
