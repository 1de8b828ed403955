"""Whether a model has gradients is found out before the run, told on the certificate, and can be required."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from audit import api, plan
from audit.evidence import Body, DecisionRecord
from audit.findings import Missing
from audit.gradients import DEAD, FREE, Gradients
from audit.models import loading, memory
from audit.models.adapter import Preprocessing, Slot
from audit.models.differentiable import gate
from audit.models.differentiable.interpreter import Interpreter
from audit.records import GradientsRecord
from audit.report import gradients as words
from audit.request import ModelEntry
from audit.types import OutputKind, Role
from tests.tinynets import INPUT as IMAGE
from tests.tinynets import path, source
from tests.torchnets import Net
from tests.world import CANDIDATE, INPUT, NAMES, Items, World, network

ITEMS = torch.from_numpy(np.random.default_rng(0).random((40, *INPUT), np.float32))
CLAIM = "structure.gradient_error@role={}"


def asking(folder: Path, *, limited: bool = True) -> World:
    """A world whose policy asks for gradients, and requires those of both models or only looks."""
    world = World(folder)
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "structure"]')
    head, at, rest = text.partition("\n[[criterion]]")
    world.policy.write_text(f"{head}\n[settings.structure]\ngradients = true\n{at}{rest}")
    for role in ("reference", "candidate") if limited else ():
        world.require(CLAIM.format(role), 0.01, "%")
    return world


def judged(world: World) -> tuple[Body, str]:
    outcome = api.run(world.audit, pdf=False)
    return outcome.evidence.body, (outcome.folder / "certificate.html").read_text(encoding="utf-8")


def decision(body: Body, role: str) -> DecisionRecord:
    return next(each for each in body.decisions if each.claim == CLAIM.format(role))


def told(body: Body) -> dict[str, GradientsRecord]:
    return {model.role: model.gradients for model in body.models if model.gradients}


def of_file(file: Path, slot: Slot, x: Tensor) -> Gradients | Missing:
    return loading.load(ModelEntry(model=file), file.parent, slot).victim(x, OutputKind.LOGITS).gradients


def of_module(module: nn.Module, **changes: object) -> Gradients | Missing:
    slot = replace(Slot(Role.CANDIDATE, INPUT, batch=16), **changes)  # type: ignore[arg-type]
    return memory.of_module(module, slot).victim(ITEMS, OutputKind.LOGITS).gradients


def reason(found: Gradients | Missing) -> str:
    assert isinstance(found, Missing)
    assert found.reason in (FREE, DEAD)
    return found.detail


def without_gradients(file: Path, w: NDArray[np.float32]) -> None:
    """The same network behind an operator that nobody carries: the real part of a Fourier transform of one value."""
    model = onnx.load(network(file, w))
    shape = numpy_helper.from_array(np.asarray([0, -1, 1], np.int64), "shape")
    back = numpy_helper.from_array(np.asarray([0, -1], np.int64), "back")
    nodes = [
        helper.make_node("Reshape", ["flat", "shape"], ["lines"]),
        helper.make_node("Unsqueeze", ["lines", "last"], ["signals"]),
        helper.make_node("DFT", ["signals"], ["spectra"], axis=2),
        helper.make_node("Slice", ["spectra", "zero", "one", "three"], ["real"]),
        helper.make_node("Reshape", ["real", "back"], ["same"]),
    ]
    for name, value in (("last", [3]), ("zero", [0]), ("one", [1]), ("three", [3])):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    model.graph.initializer.extend([shape, back])
    flatten, product = model.graph.node
    product.input[0] = "same"
    del model.graph.node[:]
    model.graph.node.extend([flatten, *nodes, product])
    file.write_bytes(model.SerializeToString())


def test_a_converted_network_is_compared_and_told(tmp_path: Path) -> None:
    body, page = judged(asking(tmp_path))
    assert {role: (found.how, found.items) for role, found in told(body).items()} == {
        "reference": ("converted", 64),
        "candidate": ("converted", 64),
    }
    assert body.verdict.overall == "PASS"
    for role, found in told(body).items():
        assert decision(body, role).estimate == pytest.approx(100 * found.deviation)
        assert 0 <= found.deviation < gate.TOLERANCE
        assert words.told(found) in page and "checked on 64 items" in words.told(found)


def test_an_operator_that_nobody_carries_leaves_it_without(tmp_path: Path) -> None:
    world = asking(tmp_path)
    without_gradients(world.candidate, CANDIDATE)
    body, page = judged(world)
    why = "not translated: DFT (opset 17): not among the operators that are carried"
    assert told(body)["candidate"] == GradientsRecord(how="none", why=why)
    assert f"gradient-free: {why}" in page
    assert page.index("gradient-free: ") < page.index('id="environment"')
    found = decision(body, "candidate")
    assert (found.verdict, found.reason, found.detail) == ("NOT EVALUATED", "gradient-free", why)
    assert (body.verdict.overall, body.verdict.reason) == ("NOT EVALUATED", "gradient-free")
    assert decision(body, "reference").verdict == "PASS"


def test_a_conversion_that_is_wrong_leaves_it_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Interpreter.forward
    monkeypatch.setattr(Interpreter, "forward", lambda self, x: right(self, x) * (1 + 3e-4))
    body, page = judged(asking(tmp_path))
    for role in ("reference", "candidate"):
        assert "differs from onnxruntime by 3.0e-04 of the largest output" in told(body)[role].why
        assert decision(body, role).reason == "gradient-free"
    assert page.count("differs from onnxruntime by 3.0e-04") >= 2
    assert body.verdict.overall == "NOT EVALUATED"


def test_without_a_limit_it_is_told_and_decides_nothing(tmp_path: Path) -> None:
    world = asking(tmp_path, limited=False)
    without_gradients(world.candidate, CANDIDATE)
    body, page = judged(world)
    assert body.verdict.overall == "PASS"
    assert "gradient-free: not translated" in page


def test_nobody_who_does_not_ask_pays_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "differentiable", None)
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "structure"]'))
    body, page = judged(world)
    assert not told(body) and "Gradients</th>" not in page
    assert not [each for each in body.findings if each.claim.startswith("structure.gradient_error")]


def test_a_limit_that_was_not_asked_for_before_the_run_decides_nothing(tmp_path: Path) -> None:
    world = asking(tmp_path)
    late = world.policy.read_text()
    before, _, _ = late.replace("gradients = true", "gradients = false").partition('[[criterion]]\nclaim = "structure')
    world.policy.write_text(before)
    api.run(world.audit, pdf=False)
    world.policy.write_text(late)
    body = api.judge(world.out, policy_name=str(world.policy), pdf=False).evidence.body
    found = decision(body, "candidate")
    assert (found.verdict, found.reason) == ("NOT EVALUATED", "gradient-free")
    assert found.detail == "nobody asked for it before the run"


def test_plans_of_one_audit_are_the_same(tmp_path: Path) -> None:
    world = asking(tmp_path)
    api.run(world.audit, pdf=False)
    first = plan.load(world.out).meaning
    assert sum(api.run(world.audit, pdf=False).evidence.run.passes.values()) == 0
    assert plan.load(world.out).meaning == first


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("exporter", ["TorchScript", "dynamo"])
def test_networks_are_fed_as_the_audit_feeds_them(tmp_path: Path, exporter: str, layout: str) -> None:
    file = path("resnet", exporter)
    if layout == "NHWC":
        model = onnx.load(file)
        model.graph.node.insert(
            0, helper.make_node("Transpose", ["image"], [model.graph.input[0].name], perm=[0, 3, 1, 2])
        )
        taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *IMAGE[1:], IMAGE[0]])
        model.graph.input[0].CopyFrom(taken)
        file = tmp_path / "a.onnx"
        file.write_bytes(model.SerializeToString())
    adapted = Preprocessing(layout=layout, range=(0.0, 255.0), mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))  # type: ignore[arg-type]
    x = torch.from_numpy(np.random.default_rng(0).random((33, *IMAGE), np.float32))
    found = of_file(file, Slot(Role.CANDIDATE, IMAGE, adapted), x)
    assert isinstance(found, Gradients), found
    assert (found.how, found.items) == ("converted", 33)
    assert 0 < found.deviation < 1e-5


def twice(file: Path) -> Path:
    """A network whose first output is another than its logits."""
    model = onnx.load(network(file, CANDIDATE))
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["other"]))
    model.graph.output.insert(0, helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", len(NAMES)]))
    file.write_bytes(model.SerializeToString())
    return file


def test_of_several_outputs_the_one_that_counts_is_compared(tmp_path: Path) -> None:
    found = of_file(twice(tmp_path / "a.onnx"), Slot(Role.CANDIDATE, INPUT, output="logits"), ITEMS)
    assert isinstance(found, Gradients), found


def test_a_batch_in_the_file_is_no_hindrance_where_it_may_be_freed(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "a.onnx", CANDIDATE))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 1
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert isinstance(of_file(tmp_path / "a.onnx", Slot(Role.CANDIDATE, INPUT), ITEMS), Gradients)


def test_networks_in_other_element_types_are_gradient_free(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "a.onnx", CANDIDATE))
    model.graph.node[0].input[0] = "cast"
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    found = of_file(tmp_path / "a.onnx", Slot(Role.CANDIDATE, INPUT), ITEMS)
    assert reason(found) == "takes float64: gradients are taken of float32 alone"


def test_too_few_items_prove_nothing(tmp_path: Path) -> None:
    found = of_file(network(tmp_path / "a.onnx", CANDIDATE), Slot(Role.CANDIDATE, INPUT), ITEMS[:31])
    assert reason(found) == "compared on 31 items with 31 outputs: needs 32 of each"


@pytest.mark.parametrize("batch", [1, 3, 16, 256])
def test_a_module_has_gradients_of_its_own(batch: int) -> None:
    torch.manual_seed(0)
    found = of_module(Net(), batch=batch)
    assert isinstance(found, Gradients), found
    assert (found.how, found.items) == ("torch", 40)
    assert found.deviation < 1e-5


class Cut(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Rounds(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 255).round() / 255)


class Otherwise(Net):
    """Answers otherwise where somebody wants gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (1.0 if x.requires_grad or len(x) == 8 else 0.0)


class Refuses(Net):
    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise SystemExit("no gradients here")
        return super().forward(x)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Cut, "fails in torch: "),
        (Rounds, "its gradients are all zero"),
        (Otherwise, "differs from its outputs in the audit by "),
        (Refuses, "fails in torch: no gradients here"),
    ],
)
def test_a_module_without_gradients_is_told(kind: type[Net], why: str) -> None:
    torch.manual_seed(0)
    assert reason(of_module(kind())).startswith(why)


def test_modules_in_memory_are_told_too(tmp_path: Path) -> None:
    x, y = Items().arrays()
    torch.manual_seed(0)
    net, pixels = Net(), (x.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    policy = str(asking(tmp_path).policy)
    outcome = api.compare(net, net, (pixels, y), policy_name=policy, out=tmp_path / "c", pdf=False, device="cpu")
    assert {found.how for found in told(outcome.evidence.body).values()} == {"torch"}
    page = (outcome.folder / "certificate.html").read_text(encoding="utf-8")
    assert "of the module itself; checked on 64 items" in page


def test_what_was_not_asked_is_said() -> None:
    assert words.told(None) == "not asked for"
    exact = GradientsRecord(how="converted", deviation=0.0, items=64)
    assert words.told(exact) == "of the file, converted to torch; checked on 64 items, no difference in outputs"
    near = exact.model_copy(update={"deviation": 2.5e-7})
    assert words.told(near).endswith("checked on 64 items, within 2.5e-07 of the largest output")


def test_the_source_of_an_export_agrees_with_it() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((32, *IMAGE), np.float32))
    module = (
        memory.of_module(source("mobilenet"), Slot(Role.CANDIDATE, IMAGE, batch=16))
        .victim(x, OutputKind.LOGITS)
        .gradients
    )
    file = of_file(path("mobilenet", "dynamo"), Slot(Role.CANDIDATE, IMAGE), x)
    assert isinstance(module, Gradients) and isinstance(file, Gradients)
