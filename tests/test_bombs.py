"""Small files that ask for more memory than there is."""

import resource
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from audit.errors import ExitCode
from tests.conftest import Command
from tests.world import World


def bomb(path: Path, floats: int) -> None:
    """A network of a few hundred bytes that asks for that many numbers as soon as it is loaded or run."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["many"]),
        helper.make_node("ReduceSum", ["many"], ["zero"], keepdims=0),
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Add", ["flat", "zero"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bomb",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 192])],
        [numpy_helper.from_array(np.asarray([floats], np.int64), "size")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def test_a_bomb_among_the_models_ends_in_an_error_that_names_it(world: World, command: Command) -> None:
    bomb(world.candidate, 3 * 2**29)
    result = command("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT, result.stderr
    assert "candidate.onnx" in result.stderr
    assert "Traceback" not in result.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 5 * 2**20  # KiB; the bomb is 6 GiB
    assert not world.out.exists()
