"""How many items go through a network together, and are stored together: by their size, and the same everywhere."""

from collections.abc import Sequence
from pathlib import Path

import onnx.helper as helper
import pytest
import torch
from onnx import TensorProto, numpy_helper

from audit import preparation, request, sizes, subjects
from audit.models.adapter import Preprocessing
from audit.models.onnx import OnnxModel
from audit.types import PAIR, DataRole
from tests.world import CANDIDATE, CLASSES, SIDE, Items, World


@pytest.mark.parametrize(
    ("shapes", "batch"),
    [
        ([(1, 8, 8)], 256),
        ([(3, 32, 32)], 256),
        ([(3, 96, 96)], 128),
        ([(3, 224, 224)], 16),
        ([(3, 32, 32), (3, 224, 224)], 16),  # enlarged for the network
        ([(3, 512, 512), (3, 32, 32)], 4),  # made smaller for it
        ([(3, 1024, 2048)], 1),
        ([(3, 4096, 4096)], 1),
    ],
)
def test_a_batch_of_large_items_has_fewer_of_them(shapes: Sequence[tuple[int, ...]], batch: int) -> None:
    assert sizes.batch_of(shapes, 10**6 // 256 * 256) == batch


@pytest.mark.parametrize(
    ("items", "batch"), [(0, 256), (1, 1), (200, 200), (256, 256), (257, 129), (1000, 250), (10_000, 250)]
)
def test_batches_are_equal_so_that_the_last_is_hardly_filled_up(items: int, batch: int) -> None:
    assert sizes.batch_of([(3, 32, 32)], items) == batch
    assert -items % batch < max(1, -(-items // batch))


@pytest.mark.parametrize(
    ("batch", "left", "chunk"),
    [(256, 40, 4096), (256, 4000, 1024), (32, 40, 4096), (32, 4000, 1024), (256, 10**6, 256), (1, 10**9, 1)],
)
def test_a_chunk_holds_whole_batches(batch: int, left: int, chunk: int) -> None:
    assert sizes.chunk_of(batch, left) == chunk


def test_a_network_that_enlarges_its_items_gets_fewer_at_once_and_so_do_the_others(world: World) -> None:
    assert opened_with(world) == {200}
    pooled(world.candidate, 16)
    text = world.audit.read_text()
    world.audit.write_text(f"{text}\n[candidate.preprocessing]\nresize = [128, 128]\n")
    assert opened_with(world) == {58}


def test_modules_in_memory_are_sized_alike() -> None:
    modules = dict.fromkeys(PAIR, torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()))
    opened = subjects.of_objects(
        modules, {DataRole.TEST: Items(n=32).arrays()}, Preprocessing(resize=(224, 224)), "cpu"
    )
    assert {model.runtime["batch"] for model in opened.models.values()} == {16}


def opened_with(world: World) -> set[int]:
    """The batches of the plan and of what the models were opened for."""
    wanted = request.load(world.audit)
    opened = subjects.load(wanted, world.folder)
    agreed = preparation.agree(wanted.policy, world.folder)
    _, fixed = preparation.prepare(opened, subjects.terms_of(wanted), agreed)
    return {fixed.plan.batch, *(model.slot.batch for model in opened.models.values() if isinstance(model, OnnxModel))}


def pooled(path: Path, factor: int) -> None:
    """The candidate for items that are larger by `factor`."""
    step = {"kernel_shape": [factor, factor], "strides": [factor, factor]}
    nodes = [
        helper.make_node("AveragePool", ["image"], ["small"], **step),
        helper.make_node("Flatten", ["small"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE * factor, SIDE * factor])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(CANDIDATE, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
