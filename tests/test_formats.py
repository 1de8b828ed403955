"""Every format serves every task: one network in all forms, from the file to the certificate."""

import io
import textwrap
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

import audit
from audit import api
from audit.evidence import Evidence
from tests.test_models_loading import pickled

ITEMS, FEATURES = 60, 4
RNG = np.random.default_rng(3)
POLICY = """
format = "prune-audit/policy/1"
id = "formats/1"
alpha = 0.05
checks = ["integrity", "accuracy", "functional", "structure"]
[reference_floor]
clean = 20

[[criterion]]
claim = "functional.agreement"
at_least = 80
unit = "%"
"""
CODE = """
from torch import nn

def make(layers):
    return nn.Sequential(*(getattr(nn, name)(*arguments) for name, *arguments in layers))
"""


@dataclass(frozen=True)
class Task:
    """What a network of these layers is for: items, targets, and the lines of [task]."""

    layers: list[list[object]]
    x: NDArray[np.generic]
    targets: Callable[[NDArray[np.generic]], NDArray[np.generic]]
    settings: str
    bounds: tuple[float, float] | None = None

    def module(self) -> nn.Module:
        """The network, whose outputs are 0 on average: else it would give one answer to all items."""
        torch.manual_seed(0)
        made = nn.Sequential(*(getattr(nn, str(name))(*arguments) for name, *arguments in self.layers)).eval()
        with torch.no_grad():
            out = made(self.inputs())
            made[-1].bias -= out.transpose(0, 1).flatten(1).median(dim=1).values
        return made

    def inputs(self) -> Tensor:
        """The items as the network takes them."""
        if self.bounds:
            return torch.from_numpy(self.x.astype(np.float32))
        return torch.from_numpy(self.x).permute(0, 3, 1, 2).float() / 255

    def outputs(self) -> NDArray[np.float32]:
        with torch.no_grad():
            return self.module()(self.inputs()).numpy()


IMAGES = RNG.integers(0, 256, (ITEMS, 6, 6, 3), dtype=np.uint8)
ROWS = RNG.uniform(-1, 1, (ITEMS, FEATURES))
TASKS = {
    "classification": Task(
        [["Flatten"], ["Linear", 108, 3]], IMAGES, lambda out: out.argmax(axis=1), 'kind = "classification"'
    ),
    "segmentation": Task(
        [["Conv2d", 3, 5, 3, 1, 1], ["ReLU"], ["Conv2d", 5, 3, 1]], IMAGES, lambda out: out.argmax(axis=1),
        'kind = "segmentation"',
    ),
    "regression": Task(
        [["Linear", FEATURES, 8], ["ReLU"], ["Linear", 8, 2]], ROWS, lambda out: out,
        'kind = "regression"\nabsolute = 0.02', (-1.0, 1.0),
    ),
    "control": Task(
        [["Linear", FEATURES, 8], ["ReLU"], ["Linear", 8, 3]], ROWS, lambda out: out.argmin(axis=1),
        'kind = "control"\nrule = "argmin"\nabsolute = 0.02', (-1.0, 1.0),
    ),
}  # fmt: skip


def exported(module: nn.Module, x: Tensor) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), stream, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    return stream.getvalue()


def onnx_file(folder: Path, module: nn.Module, x: Tensor) -> str:
    (folder / "candidate").write_bytes(exported(module, x))
    return ""


def onnx_with_weights_beside(folder: Path, module: nn.Module, x: Tensor) -> str:
    model = onnx.load_from_string(exported(module, x))
    onnx.save_model(model, folder / "candidate", save_as_external_data=True, location="weights", size_threshold=0)
    return ""


def state_dict(folder: Path, module: nn.Module, x: Tensor) -> str:
    torch.save(module.state_dict(), folder / "candidate")
    return "nets:make"


def safetensors(folder: Path, module: nn.Module, x: Tensor) -> str:
    (folder / "candidate").write_bytes(save(module.state_dict()))
    return "nets:make"


def program(folder: Path, module: nn.Module, x: Tensor) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(module, (x,), dynamic_shapes=free), folder / "candidate.pt2")
    (folder / "candidate.pt2").rename(folder / "candidate")
    return ""


def script(folder: Path, module: nn.Module, x: Tensor) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, x), folder / "candidate")
    return ""


def pickle(folder: Path, module: nn.Module, x: Tensor) -> str:
    (folder / "candidate").write_bytes(pickled(module))
    return ""


FORMATS = {
    "ONNX": onnx_file,
    "ONNX with weights beside it": onnx_with_weights_beside,
    "state dict": state_dict,
    "safetensors": safetensors,
    ".pt2": program,
    "TorchScript": script,
    "pickled module": pickle,
}
TRUSTED = (".pt2", "TorchScript", "pickled module")


def audited(folder: Path, task: Task, form: str, device: str) -> Evidence:
    """The audit of a network as an ONNX file against itself in another form."""
    module, x = task.module(), task.inputs()[:2]
    (folder / "policy.toml").write_text(POLICY)
    (folder / "nets.py").write_text(textwrap.dedent(CODE))
    (folder / "reference.onnx").write_bytes(exported(module, x))
    architecture = FORMATS[form](folder, module, x)
    ends = dict(zip(("low", "high"), (np.atleast_1d(end) for end in task.bounds or ()), strict=False))
    np.savez(folder / "test.npz", x=task.x, y=task.targets(task.outputs()), **ends)
    built = f'architecture = "{architecture}"\narguments = {{ layers = {task.layers} }}\n' if architecture else ""
    (folder / "audit.toml").write_text(
        f'policy = "policy.toml"\ndevice = "{device}"\n[task]\n{task.settings}\n[reference]\nmodel = "reference.onnx"\n'
        f'[candidate]\nmodel = "candidate"\n{built}[data.test]\npath = "test.npz"\n'
    )
    out = folder / "out"
    return api.run(folder / "audit.toml", out=out, pdf=False, trust_code=form in TRUSTED).evidence


def assert_same(evidence: Evidence) -> None:
    """Both forms are the same network: nothing differs but the last bits."""
    found = {finding.claim: finding.estimate for finding in evidence.body.findings}
    assert found["reference.accuracy"] > 99 and found["functional.agreement"] > 99
    assert found["accuracy.drop"] == pytest.approx(0, abs=0.5)
    distance = found.get("functional.deviation", found.get("functional.softmax_l2"))
    assert distance == pytest.approx(0, abs=1e-4)
    assert found["structure.prune_ratio"] == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_serves_every_task(tmp_path: Path, form: str, task: str) -> None:
    evidence = audited(tmp_path, TASKS[task], form, "cpu")
    assert_same(evidence)
    reference, candidate = evidence.body.models
    assert (reference.runtime["engine"], reference.runtime["provider"]) == ("onnxruntime", "CPUExecutionProvider")
    assert candidate.runtime["engine"] == ("onnxruntime" if form.startswith("ONNX") else "torch")
    verdict = evidence.body.verdict
    assert verdict.overall == "PASS" and verdict.accepted is (form not in TRUSTED)


def compared(folder: Path, case: Task, device: str) -> Evidence:
    """The audit of a network against itself, both in memory."""
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    settings = dict(tomllib.loads(case.settings))
    pair, data = (case.module(), case.module()), (case.x, case.targets(case.outputs()))
    return audit.compare(
        *pair, data, task=settings, bounds=case.bounds, policy_name=str(policy), device=device, out=folder / "out",
        pdf=False,
    ).evidence  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_modules_in_memory_serve_every_task(tmp_path: Path, task: str) -> None:
    evidence = compared(tmp_path, TASKS[task], "cpu")
    assert_same(evidence)
    assert evidence.body.verdict.accepted


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_serves_every_task_on_cuda(tmp_path: Path, form: str, task: str) -> None:
    evidence = audited(tmp_path, TASKS[task], form, "cuda")
    assert_same(evidence)
    assert evidence.body.models[0].runtime["provider"] == "CUDAExecutionProvider"
    assert all("NVIDIA" in str(model.runtime["device"]) for model in evidence.body.models)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("task", TASKS)
def test_modules_in_memory_serve_every_task_on_cuda(tmp_path: Path, task: str) -> None:
    evidence = compared(tmp_path, TASKS[task], "cuda")
    assert_same(evidence)
    assert all("NVIDIA" in str(model.runtime["device"]) for model in evidence.body.models)
