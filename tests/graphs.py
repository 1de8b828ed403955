"""Small ONNX graphs, and what onnxruntime makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

Array = NDArray[Any]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node; names are given as one text, `_` stands for an input that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), **attributes)


def model(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 20,
    given: str = "y",
    functions: Sequence[FunctionProto] = (),
) -> bytes:
    """A file from `x`, float32 of any shape, to the outputs named in `given`."""
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    taken = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in given.split()]
    graph = helper.make_graph(list(nodes), "graph", taken, outputs, stored)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    made = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=9)
    return bytes(made.SerializeToString())


def answers(content: bytes, x: Tensor, *, optimised: bool = True) -> Tensor:
    """The first output of onnxruntime, with all optimisations as in an audit, or with none."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def items(*shape: int, seed: int = 0) -> Tensor:
    """Values from a standard normal distribution."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))
