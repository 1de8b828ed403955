"""ONNX files on CUDA, as far as it goes without a device: what is chosen runs there as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

import audit
from audit import runtime
from audit.errors import AuditError, ExitCode
from audit.models import files, loading, provider
from audit.models import onnx as models
from audit.models.adapter import Preprocessing
from audit.models.onnx import OnnxModel
from audit.models.provider import CPU, CUDA
from audit.request import ModelEntry
from audit.types import Role
from tests.posing import Machine, pose
from tests.test_interface import ITEMS, PIXELS, SLOT, C, H, Size, W, fixed, linear, write
from tests.world import CLASSES, World

BATCH = 4
"""Fewer than there are items, and no divisor of their number."""
ON_CUDA = replace(SLOT, device="cuda", batch=BATCH)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One whose device is the processor in disguise."""
    return pose(monkeypatch)


def load(path: Path, preprocessing: Preprocessing | None = None, *, device: str = "cuda") -> OnnxModel:
    slot = replace(ON_CUDA, device=device, preprocessing=preprocessing or Preprocessing())
    return models.load(files.read(path, Role.CANDIDATE), slot)


def refusal(path: Path) -> AuditError:
    with pytest.raises(AuditError) as caught:
        load(path)
    assert caught.value.what.startswith(f"{path}: ") and caught.value.code is ExitCode.INPUT
    return caught.value


def machine_with(patch: pytest.MonkeyPatch, offered: tuple[str, ...], devices: int) -> None:
    patch.setattr(onnxruntime, "get_available_providers", lambda: [*offered])
    patch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    patch.setattr(torch.cuda, "device_count", lambda: devices)


@pytest.mark.parametrize(
    ("device", "offered", "devices", "expected"),
    [
        ("cpu", (CUDA, CPU), 1, None),
        ("auto", (CPU,), 1, None),
        ("auto", (CUDA, CPU), 0, None),
        ("auto", (CUDA, CPU), 2, "cuda:0"),
        ("cuda", (CUDA, CPU), 1, "cuda:0"),
        ("cuda:1", (CUDA, CPU), 2, "cuda:1"),
    ],
)
def test_where_a_file_runs(
    monkeypatch: pytest.MonkeyPatch, device: str, offered: tuple[str, ...], devices: int, expected: str | None
) -> None:
    machine_with(monkeypatch, offered, devices)
    found = provider.resolve(device)
    assert (found and str(found)) == expected


def test_cuda_without_the_package_for_it_names_the_swap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, (CPU,), 1)
    world.audit.write_text(f'device = "cuda"\n{world.audit.read_text()}')
    with pytest.raises(AuditError, match=r"device cuda: the installed onnxruntime .* has no CUDA") as caught:
        audit.run(world.audit, pdf=False)
    assert "pip uninstall -y onnxruntime && pip install onnxruntime-gpu" in caught.value.hint
    assert caught.value.code is ExitCode.INPUT
    assert not world.out.exists()


def test_cuda_without_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, (CUDA, CPU), 1)
    with pytest.raises(AuditError, match="device cuda:1: torch finds 1 CUDA devices"):
        provider.resolve("cuda:1")


def test_a_silent_fall_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    machine.starts = False
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9: no such file\nmore"))
    provider._load_libraries.cache_clear()
    found = refusal(fixed(tmp_path / "a.onnx", 1))
    provider._load_libraries.cache_clear()
    assert "could not start CUDA, and would run it on the processor" in found.what
    assert found.what.endswith("(Failed to load libcudnn.so.9: no such file)")
    assert "device cpu" in found.hint


@pytest.mark.parametrize("setting", [{"use_tf32": "1"}, {"cudnn_conv_algo_search": "EXHAUSTIVE"}, {"device_id": "1"}])
def test_settings_that_were_not_taken_are_refused(tmp_path: Path, machine: Machine, setting: dict[str, str]) -> None:
    machine.changed = setting
    assert f"did not take the settings of CUDA ({setting})" in refusal(write(tmp_path / "a.onnx", linear())).what


def test_settings_are_those_under_which_outputs_repeat(tmp_path: Path, machine: Machine) -> None:
    load(write(tmp_path / "a.onnx", linear()))
    assert machine.asked == [{"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0", "device_id": "0"}]
    [options] = machine.options
    assert options.use_deterministic_compute
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.load_model_format") == "ONNX"


def sized(path: Path) -> Path:
    """A file that asks for the shape of its input to lay it out in rows."""
    nodes = [
        helper.make_node("Shape", ["image"], ["sizes"], end=1),
        helper.make_node("Concat", ["sizes", "rest"], ["rows"], axis=0),
        helper.make_node("Reshape", ["image", "rows"], ["flat"]),
        linear()[1],
    ]
    return write(path, nodes, constants={"rest": np.array([-1])})


def test_sizes_may_be_computed_on_the_processor_and_are_told_of(tmp_path: Path, machine: Machine) -> None:
    machine.left = frozenset({"Shape", "Concat"})
    assert load(sized(tmp_path / "a.onnx")).runtime["on_processor"] == "Concat, Shape"
    machine.left = frozenset()
    assert "on_processor" not in load(tmp_path / "a.onnx").runtime


def test_values_may_not(tmp_path: Path, machine: Machine) -> None:
    machine.left, machine.added = frozenset({"MatMul"}), ({"op_name": "MemcpyToHost", "provider": CUDA},)
    found = refusal(sized(tmp_path / "a.onnx"))
    assert "does not run all of it on CUDA; on the processor run MatMul" in found.what
    assert "device cpu" in found.hint


def test_a_network_of_which_nothing_runs_on_cuda_is_refused(tmp_path: Path, machine: Machine) -> None:
    machine.left = frozenset({"Flatten", "Reshape", "MatMul", "Gemm"})
    assert "does not run all of it on CUDA" in refusal(write(tmp_path / "a.onnx", linear())).what


@pytest.mark.parametrize("written", ["", "["])
def test_what_does_not_say_where_it_runs_is_refused(tmp_path: Path, machine: Machine, written: str) -> None:
    machine.profile = written
    assert "did not say what it runs" in refusal(write(tmp_path / "a.onnx", linear())).what


def assert_same(path: Path, preprocessing: Preprocessing | None = None) -> OnnxModel:
    """Both ways give the same scores; the device here is the processor, so to the last bits."""
    there, here = load(path, preprocessing), load(path, preprocessing, device="cpu")
    assert (there.runtime["provider"], here.runtime["provider"]) == (CUDA, CPU)
    before = ITEMS.clone()
    for items in (ITEMS, ITEMS[:1], ITEMS[:BATCH]):
        found = there(items)
        assert found.dtype == torch.float32 and found.device == torch.device("cpu")
        np.testing.assert_allclose(found.numpy(), here(items).numpy(), rtol=1e-6, atol=1e-6)
    assert torch.equal(ITEMS, before)
    return there


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(range=(-1.0, 1.0), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)),
        Preprocessing(layout="NHWC", mean=(0.1, 0.2, 0.3)),
    ],
)
def test_what_is_bound_is_what_the_processor_takes(
    tmp_path: Path, machine: Machine, preprocessing: Preprocessing
) -> None:
    sizes = (C, H, W) if preprocessing.layout == "NCHW" else (H, W, C)
    assert_same(write(tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, ("n", *sizes))), preprocessing)


def test_items_are_resized_on_the_device(tmp_path: Path, machine: Machine) -> None:
    weights = np.random.default_rng(0).random((C * 16, CLASSES), np.float32)
    path = write(
        tmp_path / "a.onnx",
        linear(),
        taken=("image", TensorProto.FLOAT, ("n", C, 4, 4)),
        constants={"w": weights},
    )
    assert_same(path, Preprocessing(resize=(4, 4)))


@pytest.mark.parametrize(
    ("kind", "high"),
    [(TensorProto.FLOAT16, 1.0), (TensorProto.DOUBLE, 1.0), (TensorProto.UINT8, 255.0)],
)
def test_element_types(tmp_path: Path, machine: Machine, kind: int, high: float) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT), *linear("wide")]
    path = write(tmp_path / "a.onnx", nodes, taken=("image", kind, ("batch", C, H, W)))
    assert_same(path, Preprocessing(range=(0.0, high)))


def test_items_in_one_row(tmp_path: Path, machine: Machine) -> None:
    assert_same(write(tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, ("batch", PIXELS))))


def in_pieces(size: int) -> list[NodeProto]:
    shape = numpy_helper.from_array(np.array([size, PIXELS]))
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        linear()[1],
    ]


@pytest.mark.parametrize(
    ("nodes", "size", "passes", "batch"),
    [(None, None, BATCH, None), (None, 3, BATCH, "any, in the file 3"), (in_pieces, 3, 3, 3), (in_pieces, 16, 16, 16)],
)
def test_every_forward_pass_has_one_size(
    tmp_path: Path,
    machine: Machine,
    nodes: Callable[[int], list[NodeProto]] | None,
    size: Size,
    passes: int,
    batch: Size,
) -> None:
    wanted = linear() if nodes is None else nodes(int(size or 0))
    path = write(
        tmp_path / "a.onnx",
        wanted,
        taken=("image", TensorProto.FLOAT, (size, C, H, W)),
        given=(("logits", TensorProto.FLOAT, (size, CLASSES)),),
    )
    model = assert_same(path)
    assert (model.runtime["forward_batch"], model.runtime.get("batch")) == (passes, batch)
    bound = str((passes, C, H, W))
    assert machine.order[::3] == [bound] * (len(machine.order) // 3)
    assert machine.order[1::3] == ["wait"] * (len(machine.order) // 3)


def test_what_fails_on_the_device_is_named(tmp_path: Path, machine: Machine) -> None:
    model = load(write(tmp_path / "a.onnx", linear()))
    machine.fails = True
    with pytest.raises(AuditError, match=r"a\.onnx: fails on inputs of 3 × 8 × 8 \(CUDA error: an illegal"):
        model(ITEMS)


def test_weights_are_looked_at_on_the_processor(tmp_path: Path, machine: Machine) -> None:
    path = fixed(tmp_path / "a.onnx", 2)
    assert load(path).structure() == load(path, device="cpu").structure()


def test_the_runtime_says_what_can_change_an_output(tmp_path: Path, machine: Machine) -> None:
    assert load(write(tmp_path / "a.onnx", linear())).runtime == {
        "engine": "onnxruntime",
        "version": onnxruntime.__version__,
        "provider": CUDA,
        "optimisation": "all",
        "forward_batch": BATCH,
        "device": "a card",
        "cuda": "13.0",
        "cudnn": 92400,
        "cudnn_conv_algo_search": "DEFAULT",
        "use_tf32": "0",
        "output": "logits",
    }


def test_files_of_others_are_examined_on_the_processor(tmp_path: Path, machine: Machine) -> None:
    path = write(tmp_path / "a.onnx", linear())
    loading.parse_untrusted(ModelEntry(model=path), tmp_path, ON_CUDA)
    assert machine.asked == []


def test_an_audit_names_the_provider_that_ran(world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes: list[int] = []
    monkeypatch.setattr(runtime, "cores", lambda: 4)
    monkeypatch.setattr(runtime, "threads", lambda count: lanes.append(count) or 1)
    body = audit.run(world.audit, pdf=False).evidence.body
    assert {model.runtime["provider"] for model in body.models} == {CUDA}
    assert body.verdict.overall == "PASS"
    assert set(lanes) == {1}
    world.audit.write_text(f'device = "cpu"\n{world.audit.read_text()}')
    on_processor = audit.run(world.audit, out=world.folder / "other", pdf=False).evidence.body
    assert {model.runtime["provider"] for model in on_processor.models} == {CPU}
    assert set(lanes) == {1, 4}
    assert on_processor.verdict.overall == "PASS"
