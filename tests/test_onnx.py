"""ONNX files: what is hashed is all that runs, what is counted is all that is stored, what fails is named."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from audit import digest
from audit.errors import AuditError
from audit.models import files
from audit.models import onnx as models
from audit.models.adapter import Preprocessing, Slot
from audit.models.onnx import OnnxModel
from audit.types import Role
from tests.world import CANDIDATE, CLASSES, INPUT, REFERENCE, network

PIXELS = REFERENCE.shape[0]


def load(path: Path, preprocessing: Preprocessing | None = None) -> OnnxModel:
    slot = Slot(Role.CANDIDATE, INPUT, preprocessing or Preprocessing())
    return models.load(files.read(path, Role.CANDIDATE), slot)


def refusal(path: Path) -> str:
    with pytest.raises(AuditError) as caught:
        load(path)
    assert str(path) in caught.value.what
    return caught.value.what


def value(name: str, *shape: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def assemble(
    path: Path,
    nodes: list[NodeProto],
    *,
    initializer: tuple[TensorProto, ...] = (),
    taken: onnx.ValueInfoProto | None = None,
    given: tuple[onnx.ValueInfoProto, ...] = (),
) -> ModelProto:
    """Write nodes that lead from `image` to `logits` as a file."""
    inputs, outputs = [taken or value("image", "batch", *INPUT)], [*(given or (value("logits", "batch", CLASSES),))]
    graph = helper.make_graph(nodes, "network", inputs, outputs, list(initializer))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return model


def linear() -> list[NodeProto]:
    return [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]


def constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], ["w"], value=tensor)


def external(name: str = "w") -> TensorProto:
    """A tensor whose values lie in weights.bin, wherever the program happens to run."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[PIXELS, CLASSES])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def branch(tensor: TensorProto) -> GraphProto:
    """A branch that gives its own initialiser."""
    return helper.make_graph(
        [helper.make_node("Identity", [tensor.name], ["inner"])],
        "branch", [], [value("inner", PIXELS, CLASSES)], [tensor],
    )  # fmt: skip


def branching(then: TensorProto, otherwise: TensorProto) -> list[NodeProto]:
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    choice = helper.make_node("If", ["yes"], ["w"], then_branch=branch(then), else_branch=branch(otherwise))
    return [yes, choice, *linear()]


def in_constant(path: Path) -> None:
    assemble(path, [constant(external()), *linear()])


def in_branch(path: Path) -> None:
    assemble(path, branching(numpy_helper.from_array(REFERENCE, "a"), external("b")))


def in_initializer(path: Path) -> None:
    assemble(path, linear(), initializer=(external(),))


def in_function(path: Path) -> None:
    opset = [helper.make_opsetid("", 17)]
    model = assemble(path, [helper.make_node("Weights", [], ["w"], domain="house"), *linear()])
    model.functions.append(helper.make_function("house", "Weights", [], ["w"], [constant(external())], opset))
    model.opset_import.append(helper.make_opsetid("house", 1))
    path.write_bytes(model.SerializeToString())


def in_list(path: Path) -> None:
    node = helper.make_node("Flatten", ["image"], ["flat"])
    node.attribute.append(AttributeProto(name="more", type=AttributeProto.TENSORS, tensors=[external()]))
    assemble(path, [node, linear()[1]], initializer=(numpy_helper.from_array(REFERENCE, "w"),))


def in_sparse(path: Path) -> None:
    model = assemble(path, linear())
    sparse = model.graph.sparse_initializer.add(dims=[PIXELS, CLASSES])
    sparse.values.CopyFrom(external())
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch, in_function, in_list, in_sparse])
def test_weights_outside_the_hashed_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], None]
) -> None:
    (tmp_path / "weights.bin").write_bytes(REFERENCE.tobytes())
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "a.onnx")
    assert "keeps its weights in another file" in refusal(tmp_path / "a.onnx")


def test_what_was_checked_is_what_runs(tmp_path: Path) -> None:
    # These bytes carry the mark of onnxruntime's own format too, by which it would skip the ONNX in them.
    model = onnx.load(network(tmp_path / "a.onnx", REFERENCE))
    model.producer_name = "ORTM"
    content = model.SerializeToString()
    assert content[4:8] == b"ORTM"
    (tmp_path / "a.onnx").write_bytes(content)
    assert load(tmp_path / "a.onnx").outputs == (CLASSES,)


def test_a_file_swapped_after_it_was_read_does_not_run(tmp_path: Path) -> None:
    path, x = network(tmp_path / "a.onnx", REFERENCE), torch.from_numpy(ITEMS)
    expected = load(path)(x)
    file = files.read(path, Role.CANDIDATE)
    swapped = load(network(path, CANDIDATE))(x)
    model = models.load(file, Slot(Role.CANDIDATE, INPUT))
    assert not torch.equal(expected, swapped)
    assert torch.equal(model(x), expected)
    assert model.sha256 == file.sha256 == digest.of_bytes(file.content)
    with pytest.raises(AuditError, match="changed during the audit"):
        model.verify_unchanged()


def counts(path: Path) -> tuple[int, int]:
    model = load(path)
    return model.parameters, model.nonzero


NONZERO = int(np.count_nonzero(REFERENCE))


def test_weights_count_wherever_they_are_stored(tmp_path: Path) -> None:
    path = network(tmp_path / "a.onnx", REFERENCE)
    assert counts(path) == (REFERENCE.size, NONZERO)
    assemble(path, [constant(numpy_helper.from_array(REFERENCE)), *linear()])
    assert counts(path) == (REFERENCE.size, NONZERO)
    assemble(path, branching(numpy_helper.from_array(REFERENCE, "a"), numpy_helper.from_array(CANDIDATE, "b")))
    assert counts(path) == (REFERENCE.size + CANDIDATE.size, NONZERO + np.count_nonzero(CANDIDATE))


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT16])
def test_weights_of_half_the_size_count(tmp_path: Path, kind: int) -> None:
    half = helper.make_tensor("half", kind, REFERENCE.shape, REFERENCE.ravel())
    widen = helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT)
    assemble(tmp_path / "a.onnx", [widen, *linear()], initializer=(half,))
    assert counts(tmp_path / "a.onnx") == (REFERENCE.size, NONZERO)


def test_quantised_weights_count_and_shapes_do_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["quantised", "scale"], ["w"]),
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        linear()[1],
    ]
    stored = (
        numpy_helper.from_array(REFERENCE.astype(np.int8), "quantised"),
        numpy_helper.from_array(np.float32(1), "scale"),
        numpy_helper.from_array(np.array([-1, PIXELS]), "shape"),
    )
    assemble(tmp_path / "a.onnx", nodes, initializer=stored)
    assert counts(tmp_path / "a.onnx") == (REFERENCE.size + 1, NONZERO + 1)


def test_sparse_weights_count_as_stored(tmp_path: Path) -> None:
    model = assemble(tmp_path / "a.onnx", linear())
    sparse = model.graph.sparse_initializer.add(dims=REFERENCE.shape)
    flat = np.flatnonzero(REFERENCE)
    sparse.values.CopyFrom(numpy_helper.from_array(REFERENCE.ravel()[flat], "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(flat, "where"))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert counts(tmp_path / "a.onnx") == (NONZERO, NONZERO)


@pytest.mark.parametrize("name", [b"batch", b"image"])
def test_names_that_are_not_text_are_refused(tmp_path: Path, name: bytes) -> None:
    path = network(tmp_path / "a.onnx", REFERENCE)
    path.write_bytes(path.read_bytes().replace(name, b"\xff" * len(name)))
    assert "not a valid ONNX file" in refusal(path)


def test_an_element_type_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "a.onnx", REFERENCE))
    model.graph.initializer[0].data_type = 99
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "not a valid ONNX file" in refusal(tmp_path / "a.onnx")


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_run_or_are_refused(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = network(tmp_path / "a.onnx", REFERENCE)
    content = bytearray(path.read_bytes())
    frame = [i for i in range(len(content)) if i < 120 or i > len(content) - 120]  # the rest are weights
    for position in rng.choice(frame, 3):
        content[position] = rng.integers(256)
    path.write_bytes(content)
    try:
        load(path)
    except AuditError as error:
        assert str(path) in error.what


def test_a_network_that_fails_on_real_data_is_named(tmp_path: Path) -> None:
    table = numpy_helper.from_array(REFERENCE[:1], "table")
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["brightest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["logits"], axis=0),
    ]
    assemble(tmp_path / "a.onnx", nodes, initializer=(table,))
    model = load(tmp_path / "a.onnx")
    with pytest.raises(AuditError, match=r"a\.onnx: fails on inputs of 3 × 8 × 8"):
        model(torch.ones(2, *INPUT))


def test_pipes_devices_and_giants_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(Path("/dev/zero"))
    assert "not a regular file" in refusal(tmp_path)
    with (tmp_path / "giant.onnx").open("wb") as stream:
        stream.truncate(2**31)
    assert "larger than any ONNX file" in refusal(tmp_path / "giant.onnx")


def test_a_model_replaced_by_a_pipe_has_changed(tmp_path: Path) -> None:
    model = load(network(tmp_path / "a.onnx", REFERENCE))
    model.verify_unchanged()
    (tmp_path / "a.onnx").unlink()
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(AuditError, match="changed during the audit"):
        model.verify_unchanged()


def test_an_output_under_another_name_is_the_same_output(tmp_path: Path) -> None:
    found = []
    for name in ("logits", "probabilities"):
        path = tmp_path / f"{name}.onnx"
        nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], [name])]
        assemble(path, nodes, initializer=(numpy_helper.from_array(REFERENCE, "w"),), given=(value(name, "batch", 4),))
        found.append(load(path)(torch.from_numpy(ITEMS)))
    np.testing.assert_array_equal(*found)


def test_a_name_with_nul_is_refused() -> None:
    with pytest.raises(AuditError, match="cannot be the name of a file"):
        load(Path("a\0b.onnx"))


ITEMS = np.random.default_rng(0).random((2, *INPUT), np.float32)


def test_preprocessing_scales_then_normalises_each_channel() -> None:
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
    found = Preprocessing(range=(-5.0, 250.0), mean=mean, std=std).apply(ITEMS)
    for channel in range(3):
        pixels = ITEMS[:, channel].astype(np.float64) * 255 - 5
        np.testing.assert_allclose(found[:, channel], (pixels - mean[channel]) / std[channel], rtol=1e-5, atol=1e-5)


def test_channels_come_last_where_the_network_wants_them_last(tmp_path: Path) -> None:
    plain = network(tmp_path / "a.onnx", REFERENCE)
    swap = helper.make_node("Transpose", ["last"], ["image"], perm=[0, 3, 1, 2])
    last = tmp_path / "last.onnx"
    taken = value("last", "batch", *INPUT[1:], INPUT[0])
    assemble(last, [swap, *linear()], initializer=(numpy_helper.from_array(REFERENCE, "w"),), taken=taken)
    expected = load(plain)(torch.from_numpy(ITEMS))
    given = load(last, Preprocessing(layout="NHWC"))(torch.from_numpy(ITEMS))
    np.testing.assert_array_equal(given, expected)
    assert "takes inputs of 8 × 8 × 3, but the data are 3 × 8 × 8" in refusal(last)
