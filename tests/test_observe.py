"""Networks whose answer to an item is not a function of the item."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import audit
from audit.errors import AuditError
from tests.world import CANDIDATE, World


def write(path: Path, *extra: onnx.NodeProto) -> None:
    """The candidate, whose logits go through further nodes before they are the output."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        *extra,
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(CANDIDATE, "w"), numpy_helper.from_array(np.asarray([0]), "first")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def test_a_random_network_is_refused(world: World) -> None:
    noise = helper.make_node("RandomNormalLike", ["logits"], ["noise"], scale=0.001)
    write(world.candidate, noise, helper.make_node("Add", ["logits", "noise"], ["out"]))
    with pytest.raises(AuditError, match="candidate: gives different outputs for the same items"):
        audit.run(world.audit, pdf=False)


def test_a_network_that_mixes_the_items_of_a_batch_is_refused(world: World) -> None:
    mean = helper.make_node("ReduceMean", ["logits", "first"], ["mean"], keepdims=1)
    write(world.candidate, mean, helper.make_node("Sub", ["logits", "mean"], ["out"]))
    with pytest.raises(AuditError, match="depend on the other items"):
        audit.run(world.audit, pdf=False)


def test_the_same_nodes_without_that_are_audited(world: World) -> None:
    write(world.candidate, helper.make_node("Identity", ["logits"], ["out"]))
    assert audit.run(world.audit, pdf=False).evidence.body.verdict.overall == "PASS"
