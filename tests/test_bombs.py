"""Small files that ask for more memory than there is."""

import resource
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import pytest
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from audit.errors import AuditError, ExitCode
from audit.models import loading
from audit.models.adapter import Slot
from audit.request import ModelEntry
from audit.types import Role
from tests import graphs
from tests.conftest import Command
from tests.world import INPUT, World


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


def tower(height: int, last: str = "") -> bytes:
    """A network in which each function calls the next one twice; the last one calls an operator, or the one named."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]

    def function(level: int, inner: str, domain: str) -> FunctionProto:
        nodes = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("a", "b"), ("b", "c"))]
        return helper.make_function("own", f"f{level}", ["a"], ["c"], nodes, opsets)

    below = [function(level, f"f{level + 1}", "own") for level in range(height)]
    end = function(height, last or "Neg", "own" if last else "")
    return network(helper.make_node("f0", ["x"], ["y"], domain="own"), [*below, end])


def network(node: NodeProto, functions: Sequence[FunctionProto] = ()) -> bytes:
    """A network that does one thing with its input."""
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *INPUT])
    given = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", prod(INPUT)])
    graph = helper.make_graph([node, helper.make_node("Flatten", ["y"], ["z"])], "network", [taken], [given])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(("height", "last"), [(17, ""), (49, ""), (60, ""), (3, "f0"), (0, "f0")])
def test_functions_that_become_too_many_nodes_are_refused_unread(tmp_path: Path, height: int, last: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(tower(height, last))
    assert path.stat().st_size < 10_000
    entry, slot = ModelEntry(model=path), Slot(Role.CANDIDATE, INPUT)
    for opened in (loading.load, loading.parse_untrusted):
        with pytest.raises(AuditError, match=r"a\.onnx: not a valid ONNX file \(.*(100,000 nodes|calls itself)"):
            opened(entry, tmp_path, slot)


def test_functions_that_become_few_nodes_run(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(tower(4))
    model = loading.load(ModelEntry(model=path), tmp_path, Slot(Role.CANDIDATE, INPUT))
    x = graphs.items(2, *INPUT)
    assert (model(x) == x.flatten(1)).all()
