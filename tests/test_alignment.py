"""Centred kernel alignment of named layers: the figure itself, and how it is had of ONNX files and modules."""

from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import audit
from audit import api, plan, planning, sizes
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body, Evidence
from audit.findings import Exact, Missing
from audit.ledger import Ledger
from audit.models import files, memory
from audit.models import onnx as onnx_models
from audit.models.adapter import Slot
from audit.planning import Load
from audit.types import PAIR, Role
from checks.alignment import aligned
from checks.noise import NoiseSimilarity
from checks.perturbations.clean import CLEAN
from tests.graphs import node
from tests.world import CLASSES, INPUT, NAMES, REFERENCE, Items, World

RNG = np.random.default_rng(0)
PIXELS, HIDDEN = int(np.prod(INPUT)), 6
ITEMS = torch.from_numpy(RNG.random((11, *INPUT), np.float32))
WIDE = 0.1 * RNG.standard_normal((PIXELS, HIDDEN)).astype(np.float32)
LAST = RNG.standard_normal((HIDDEN, CLASSES)).astype(np.float32)
Rows = NDArray[np.float32]


def rows(n: int, width: int, seed: int = 0) -> Rows:
    return np.random.default_rng((n, width, seed)).standard_normal((n, width)).astype(np.float32)


def value(x: NDArray[np.generic], y: NDArray[np.generic]) -> float:
    found = aligned([(x.astype(np.float32), y.astype(np.float32))])
    assert isinstance(found, Exact) and found.n == len(x)
    return found.value


# The figure.


def quadruples(k: list[list[int]], other: list[list[int]]) -> Fraction:
    """The unbiased criterion as it is defined: the mean of k_ij (l_ij + l_qr − 2 l_iq) over all four unlike items."""
    every = list(permutations(range(len(k)), 4))
    total = sum(k[i][j] * (other[i][j] + other[q][r] - 2 * other[i][q]) for i, j, q, r in every)
    return Fraction(total, len(every))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_its_definition_gives_over_all_quadruples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-3, 4, (7, 3)), rng.integers(-3, 4, (7, 2))
    k, other = (x @ x.T).tolist(), (y @ y.T).tolist()
    expected = quadruples(k, other) / Fraction(sqrt(quadruples(k, k) * quadruples(other, other)))
    assert value(x, y) == pytest.approx(float(expected), abs=1e-12)


def test_four_items_by_hand() -> None:
    # Without diagonals, less the sums of rows over n − 2, and with the whole over (n − 1)(n − 2), the six pairs have
    # (7, −2, −5, −5, −2, 7) / 6 of 0, 1, 2, 3 and (2, −1, −1, −1, −1, 2) / 6 of 0, 0, 1, 1: 42 / √(156 · 12).
    assert value(np.array([[0], [1], [2], [3]]), np.array([[0], [0], [1], [1]])) == pytest.approx(7 / sqrt(52))


def test_equal_rows_are_alike_to_the_last_bit() -> None:
    x = rows(300, 40)
    assert value(x, x.copy()) == 1.0


def test_rotation_scale_and_place_change_nothing() -> None:
    x = rows(200, 8)
    turned = 3 * x @ np.linalg.qr(rows(8, 8))[0] + 100
    assert value(x, turned) == pytest.approx(1.0, abs=1e-4)
    assert value(x, x[:, ::-1]) == pytest.approx(1.0, abs=1e-12)


def test_layers_wider_than_there_are_items_are_not_alike_for_that() -> None:
    x, y = rows(50, 2_000), rows(50, 2_000, 1)
    plug_in = _centred(x), _centred(y)
    biased = np.sum(plug_in[0] * plug_in[1]) / np.linalg.norm(plug_in[0]) / np.linalg.norm(plug_in[1])
    assert biased > 0.9
    assert abs(value(x, y)) < 0.05


def _centred(x: Rows) -> NDArray[np.float64]:
    x = (x - x.mean(axis=0)).astype(np.float64)
    kernel: NDArray[np.float64] = x @ x.T
    return kernel


def test_parts_are_one_whole() -> None:
    x, y = rows(100, 9), rows(100, 4)
    found = aligned((x[start : start + 30], y[start : start + 30]) for start in range(0, 100, 30))
    assert isinstance(found, Exact)
    assert found.value == pytest.approx(value(x, y), abs=1e-12)


@pytest.mark.parametrize("width", [8, 64, 512])
@pytest.mark.parametrize("seed", range(5))
def test_layers_that_answer_to_one_item_alone_have_nothing_to_be_alike_in(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.zeros((2, 400, width), np.float32)
    x[7], y[7] = rng.standard_normal((2, width))
    for pair in ((x, y), (x, rows(400, 5)), (rows(400, 5), y)):
        found = aligned([pair])
        assert isinstance(found, Missing) and found.reason == "no-variation"


@pytest.mark.parametrize("far", [1e2, 1e4])
def test_neither_an_outlier_nor_a_far_origin_takes_its_digits(far: float) -> None:
    x, y = rows(300, 6).astype(np.float64), rows(300, 4).astype(np.float64)
    x[0] += far
    y += far
    x, y = x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)
    k, other = ((each - each.mean(axis=0)) @ (each - each.mean(axis=0)).T for each in (x, y))
    expected = _centred_twice(k, other) / sqrt(_centred_twice(k, k) * _centred_twice(other, other))
    assert value(x, y) == pytest.approx(expected, abs=1e-6)


def _centred_twice(k: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The scalar product of two kernels without diagonals, centred as Székely and Rizzo (2014) do it."""
    n, centred = len(k), []
    for each in (k, other):
        off = each - np.diag(np.diag(each))
        sums = off.sum(axis=1)
        u = off - sums[:, None] / (n - 2) - sums[None] / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
        centred.append(u - np.diag(np.diag(u)))
    return float(np.sum(centred[0] * centred[1]) / (n * (n - 3)))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_ends_of_float32_do_not_change_it(scale: float) -> None:
    x, y = rows(60, 5), rows(60, 5, 1)
    assert value(x * np.float32(scale), y) == pytest.approx(value(x, y), abs=1e-5)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (rows(3, 2), "too-few-items"),
        (np.ones((50, 3), np.float32), "no-variation"),
        (np.where(np.eye(50, 3) > 0, np.float32("nan"), np.float32(1)), "non-finite"),
        (np.where(np.eye(50, 3) > 0, np.float32("inf"), np.float32(1)), "non-finite"),
    ],
)
def test_what_cannot_be_told_is_missing(x: Rows, reason: str) -> None:
    for pair in ((x, rows(len(x), 4)), (rows(len(x), 4), x)):
        found = aligned([pair])
        assert isinstance(found, Missing) and found.reason == reason


def test_no_items_have_no_alignment() -> None:
    assert isinstance(aligned([]), Missing)


# Layers of ONNX files and of modules.


def hidden(
    path: Path, wide: Rows = WIDE, last: Rows = LAST, *, batch: int | str = "batch", further: tuple[str, ...] = ()
) -> Path:
    """An ONNX file: flatten, multiply, cut off below zero (`hidden`, of the node `cut`), multiply."""
    nodes = [
        node("Flatten", "image", "flat"),
        node("MatMul", "flat w", "wide"),
        node("Relu", "wide", "hidden", name="cut"),
        node("MatMul", "hidden v", "logits"),
        node("ArgMax", "logits", "named"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *INPUT])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, None]) for name in ("logits", *further)],
        [numpy_helper.from_array(wide, "w"), numpy_helper.from_array(last, "v")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


class Hidden(nn.Module):
    """The same as a module, whose layer `cut` works in place."""

    def __init__(self, wide: Rows = WIDE, last: Rows = LAST) -> None:
        super().__init__()
        self.flat, self.wide, self.cut = nn.Flatten(), nn.Linear(PIXELS, len(wide.T), bias=False), nn.ReLU(inplace=True)
        self.last = nn.Linear(len(last), CLASSES, bias=False)
        self.wide.weight.data, self.last.weight.data = torch.from_numpy(wide.T.copy()), torch.from_numpy(last.T.copy())

    def forward(self, x: Tensor) -> Tensor:
        given: Tensor = self.last(self.cut(self.wide(self.flat(x))))
        return given


def opened(path: Path, layer: str = "hidden", **more: str) -> onnx_models.OnnxModel:
    return onnx_models.load(files.read(path, Role.CANDIDATE), Slot(Role.CANDIDATE, INPUT, layer=layer, **more))  # type: ignore[arg-type]


def of_module(module: nn.Module, layer: str) -> memory.TorchModel:
    return memory.of_module(module, Slot(Role.CANDIDATE, INPUT, batch=4, layer=layer))


def expected(x: Tensor) -> Rows:
    found: Rows = np.maximum(x.reshape(len(x), -1).numpy() @ WIDE, 0)
    return found


@pytest.mark.parametrize("layer", ["hidden", "cut"])
@pytest.mark.parametrize("batch", ["batch", 4])
@pytest.mark.parametrize("further", [(), ("hidden",)])
def test_an_onnx_file_gives_its_outputs_and_a_layer_in_one_pass(
    tmp_path: Path, layer: str, batch: int | str, further: tuple[str, ...]
) -> None:
    model = opened(hidden(tmp_path / "a.onnx", batch=batch, further=further), layer)
    out, values = model.watch(ITEMS)
    assert model.watched is not None and (model.watched.layer, model.watched.values) == (layer, HIDDEN)
    assert torch.equal(out, model(ITEMS))
    np.testing.assert_allclose(values.numpy(), expected(ITEMS), rtol=1e-5, atol=1e-6)
    assert model.runtime["watched"] == "hidden"
    assert model.network.freed == (4 if batch == 4 else None)


def test_a_batch_that_is_fixed_and_stays_so_is_watched_in_pieces(tmp_path: Path) -> None:
    path = hidden(tmp_path / "a.onnx", batch=4)
    made = onnx.load_model(path)
    made.graph.node.append(node("Shape", "hidden", "size"))  # who looks at sizes is not freed of its batch
    onnx.save_model(made, path)
    model = opened(path)
    assert isinstance(model.network, onnx_models.Network) and model.network.interface.batch == 4
    np.testing.assert_allclose(model.watch(ITEMS)[1].numpy(), expected(ITEMS), rtol=1e-5, atol=1e-6)


def test_a_module_gives_its_outputs_and_a_layer_in_one_pass() -> None:
    passes: list[int] = []
    model = of_module(Hidden(), "cut")
    model.runner.module.register_forward_hook(lambda *given: passes.append(len(given[1][0])))
    out, values = model.watch(ITEMS)
    assert passes == [4, 4, 4]
    assert torch.equal(out, model(ITEMS))
    np.testing.assert_allclose(values.numpy(), expected(ITEMS), rtol=1e-5, atol=1e-6)
    assert not model.runner.module.get_submodule("cut")._forward_hooks


def test_what_a_layer_gave_is_kept_though_the_next_works_in_place() -> None:
    values = of_module(Hidden(), "wide").watch(ITEMS)[1].numpy()
    np.testing.assert_allclose(values, ITEMS.reshape(len(ITEMS), -1).numpy() @ WIDE, rtol=1e-4, atol=1e-5)
    assert (values < 0).any()


def test_maps_of_one_pixel_are_rows() -> None:
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, CLASSES)).eval()
    values = of_module(pooled, "1").watch(ITEMS)[1]
    assert torch.allclose(values, pooled[0](ITEMS).mean(dim=(2, 3)), atol=1e-6)


def test_a_module_has_every_name_that_it_is_known_by() -> None:
    module = Hidden()
    module.again = module.cut
    assert of_module(module, "again").watched is not None


def test_a_value_comes_before_a_node_of_its_name(tmp_path: Path) -> None:
    path = hidden(tmp_path / "a.onnx")
    made = onnx.load_model(path)
    made.graph.node[1].name = "hidden"
    onnx.save_model(made, path)
    assert opened(path).runtime["watched"] == "hidden"


# What cannot be watched is refused before the run.


def refusal(open_it: Callable[[], object]) -> str:
    with pytest.raises(AuditError) as caught:
        open_it()
    return f"{caught.value.what} {caught.value.hint}"


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = hidden(tmp_path / "a.onnx")
    assert "no layer 'hiden'" in (text := refusal(lambda: opened(path, "hiden"))) and "'hidden'" in text
    assert "no layer 'cutt'" in (text := refusal(lambda: of_module(Hidden(), "cutt"))) and "'cut'" in text
    assert "no layer 'image'" in refusal(lambda: opened(path, "image"))


def test_the_output_itself_is_no_layer(tmp_path: Path) -> None:
    assert "gives its output" in refusal(lambda: opened(hidden(tmp_path / "a.onnx"), "logits"))
    path = hidden(tmp_path / "b.onnx", further=("hidden",))
    assert "gives its output" in refusal(lambda: opened(path, "hidden", output="hidden"))
    assert opened(path, "hidden", output="logits").watched is not None


def test_a_layer_that_gives_no_row_of_numbers_is_refused(tmp_path: Path) -> None:
    assert "int64" in refusal(lambda: opened(hidden(tmp_path / "a.onnx"), "named"))
    convolution = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(1), nn.Linear(5 * 36, CLASSES))
    assert "row" in refusal(lambda: of_module(convolution, "0"))
    for width, fits in ((4_096, True), (4_097, False)):
        wide = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, width), nn.Linear(width, CLASSES))
        if fits:
            assert of_module(wide, "1").watched is not None
        else:
            assert "4,096" in refusal(lambda: of_module(wide, "1"))  # noqa: B023

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Taking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.last = Pair(), Hidden()

        def forward(self, x: Tensor) -> Tensor:
            given: Tensor = self.last(self.pair(x)[0])
            return given

    assert "layer 'pair' gives tuple" in refusal(lambda: of_module(Taking(), "pair"))


@pytest.mark.parametrize("times", [0, 2])
def test_a_layer_that_does_not_run_once_is_refused(times: int) -> None:
    class Odd(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(times):
                self.wide(self.flat(x))
            given: Tensor = self.last(self.flat(x)[:, :HIDDEN])
            return given

    assert "does not run once" in refusal(lambda: of_module(Odd(), "wide"))


# In an audit.


@pytest.fixture
def layered(world: World) -> World:
    """Networks with a layer between: the candidate's is narrower, and reads less."""
    wide = np.concatenate([REFERENCE, np.abs(rows(PIXELS, 2)) * 0.3], axis=1)
    hidden(world.reference, wide, np.eye(6, CLASSES, dtype=np.float32))
    hidden(world.candidate, wide[:, :5], np.eye(5, CLASSES, dtype=np.float32))
    return world


def name_layers(world: World, of: tuple[Role, ...] = PAIR, layer: str = "hidden") -> None:
    text = world.audit.read_text()
    for role in of:
        text = text.replace(f"[{role}]\n", f'[{role}]\nlayer = "{layer}"\n')
    world.audit.write_text(text)


def run(world: World, **more: object) -> Evidence:
    return audit.run(world.audit, pdf=False, **more).evidence  # type: ignore[arg-type]


def figure(body: Body, claim: str = "functional.alignment") -> float:
    found = next(finding for finding in body.findings if finding.claim == claim)
    assert found.estimate is not None, found.detail
    return found.estimate


def test_no_pass_is_made_for_it_and_nothing_else_changes(layered: World) -> None:
    plain = run(layered, out=layered.folder / "plain")
    name_layers(layered)
    evidence = run(layered)
    assert evidence.run.passes == plain.run.passes
    without = [each for each in evidence.body.findings if each.claim != "functional.alignment"]
    assert without == list(plain.body.findings)
    x = layered.items.arrays()[0].astype(np.float32)[:, :, :, :].transpose(0, 3, 1, 2).reshape(-1, PIXELS) / 255
    seen = [np.maximum(x @ _stored(path, "w"), 0) for path in (layered.reference, layered.candidate)]
    assert figure(evidence.body) == pytest.approx(100 * value(*seen), abs=1e-3)
    assert 50 < figure(evidence.body) < 100
    assert evidence.body.models[0].adapter.watched is not None
    page = (layered.out / "certificate.html").read_text()
    assert "Alignment of the named layers" in page and "layer hidden, 6 values" in page


def _stored(path: Path, name: str) -> Rows:
    return next(numpy_helper.to_array(each) for each in onnx.load_model(path).graph.initializer if each.name == name)


def test_a_copy_is_alike(layered: World) -> None:
    layered.candidate.write_bytes(layered.reference.read_bytes())
    name_layers(layered)
    assert figure(run(layered).body) == 100.0


def test_modules_are_compared_likewise(tmp_path: Path) -> None:
    x, y = Items().arrays()
    wide = np.concatenate([REFERENCE, rows(PIXELS, 2)], axis=1)
    modules = [Hidden(wide[:, :k], np.eye(k, CLASSES, dtype=np.float32)) for k in (6, 5)]
    result = api.compare(
        *modules, (x, y), baseline=modules[0], origin=modules[1], layer="cut", out=tmp_path / "out", pdf=False
    )
    body = result.evidence.body
    assert [model.adapter.watched is None for model in body.models] == [False, False, False, True]
    seen = [np.maximum((x.transpose(0, 3, 1, 2).reshape(-1, PIXELS) / 255).astype(np.float32) @ each, 0)
            for each in (wide, wide[:, :5])]  # fmt: skip
    assert figure(body) == pytest.approx(100 * value(*seen), abs=1e-3)
    assert figure(body, "baseline.alignment") == 100.0


def test_it_is_judged_again_from_the_ledger(layered: World) -> None:
    name_layers(layered)
    body = run(layered).body
    assert api.judge(layered.out, pdf=False).evidence.body == body


def test_only_items_as_they_are_leave_it(layered: World) -> None:
    name_layers(layered)
    layered.policy.write_text(layered.policy.read_text().replace('"integrity"', '"integrity", "noise"'))
    run(layered)
    fixed, ledger = plan.load(layered.out), Ledger(layered.out / "ledger")
    held = {probe.name: "watched" in ledger.get(next(fixed.keys(Role.REFERENCE, probe))) for probe in fixed.plan.probes}
    assert held.pop("clean") and held and not any(held.values())


def test_a_limit_can_be_set_on_it(layered: World) -> None:
    layered.policy.write_text(
        layered.policy.read_text()
        + '\n[[criterion]]\nclaim = "functional.alignment"\nat_least = 100\nunit = "%"\nwhere_possible = true\n'
    )
    assert run(layered, out=layered.folder / "plain").body.policy.left_out == ("functional.alignment",)
    name_layers(layered)
    decision = next(part for part in run(layered).body.decisions if part.claim == "functional.alignment")
    assert decision.verdict == "FAIL"


def test_a_layer_that_gives_no_numbers_blocks_its_limit(layered: World) -> None:
    for path in (layered.reference, layered.candidate):
        remade(path, node("Neg", "hidden", "below"), node("Log", "below", "side"))
    layered.policy.write_text(
        layered.policy.read_text() + '\n[[criterion]]\nclaim = "functional.alignment"\nat_least = 1\nunit = "%"\n'
    )
    name_layers(layered, layer="side")
    body = run(layered).body
    decision = next(part for part in body.decisions if part.claim == "functional.alignment")
    assert (decision.verdict, decision.reason) == ("NOT EVALUATED", "non-finite")
    assert (body.verdict.overall, body.verdict.accepted) == ("NOT EVALUATED", False)


def test_no_audit_passes_by_it_alone(layered: World) -> None:
    text = layered.policy.read_text()
    layered.policy.write_text(
        text[: text.index("\n[[criterion]]")]
        + '\n[[criterion]]\nclaim = "functional.alignment"\nat_least = 1\nunit = "%"\n'
    )
    name_layers(layered)
    verdict = run(layered).body.verdict
    assert (verdict.overall, verdict.reason) == ("NOT EVALUATED", "no-required-criterion")


def test_a_limit_on_what_nobody_named_stops_the_audit(layered: World) -> None:
    layered.policy.write_text(
        layered.policy.read_text() + '\n[[criterion]]\nclaim = "functional.alignment"\nat_least = 100\nunit = "%"\n'
    )
    with pytest.raises(AuditError, match=r"functional\.alignment"):
        run(layered)


@pytest.mark.parametrize("named", [(Role.REFERENCE,), (Role.CANDIDATE,), (*PAIR, Role.ORIGIN)])
def test_layers_that_nothing_is_compared_with_are_refused(layered: World, named: tuple[Role, ...]) -> None:
    layered.audit.write_text(layered.audit.read_text() + '\n[origin]\nmodel = "candidate.onnx"\n')
    name_layers(layered, named)
    with pytest.raises(AuditError, match="layer"):
        run(layered)


def test_observations_of_another_layer_are_not_taken_over(layered: World) -> None:
    name_layers(layered)
    run(layered)
    assert run(layered, out=layered.folder / "same", reuse=[layered.out]).run.reused
    layered.audit.write_text(layered.audit.read_text().replace('"hidden"', '"wide"'))
    assert not run(layered, out=layered.folder / "other", reuse=[layered.out]).run.reused


def test_values_that_were_lent_are_measured_again(layered: World) -> None:
    layered.policy.write_text(layered.policy.read_text().replace("alpha", "recheck_reused = 100\nalpha", 1))
    hidden(layered.candidate, _stored(layered.reference, "w") * np.float32(1.5), _stored(layered.reference, "v"))
    name_layers(layered)
    run(layered)
    assert run(layered, out=layered.folder / "again", reuse=[layered.out]).run.reused
    fixed, ledger = plan.load(layered.out), Ledger(layered.out / "ledger")
    kept, forged = (next(fixed.keys(role, fixed.plan.probes[0])) for role in PAIR)
    ledger.put({forged: {**ledger.get(forged), "watched": ledger.get(kept)["watched"]}})
    with pytest.raises(AuditError, match="came out otherwise"):
        run(layered, out=layered.folder / "forged", reuse=[layered.out])
    moments = np.zeros((len(ledger.get(kept)["watched"]), 6), "M8[ms]")
    ledger.put({forged: {**ledger.get(forged), "watched": moments}})
    with pytest.raises(AuditError, match="came out otherwise"):
        run(layered, out=layered.folder / "moments", reuse=[layered.out])


@pytest.mark.parametrize(
    "other",
    [
        lambda values: {},
        lambda values: {"watched": values[:, :2]},
        lambda values: {"watched": values.astype(np.float64)},
    ],
)
def test_a_ledger_without_the_values_is_refused(
    layered: World, other: Callable[[Rows], dict[str, NDArray[Any]]]
) -> None:
    name_layers(layered)
    run(layered)
    fixed, ledger = plan.load(layered.out), Ledger(layered.out / "ledger")
    key = next(fixed.keys(Role.CANDIDATE, fixed.plan.probes[0]))
    kept = dict(ledger.get(key))
    values = kept.pop("watched")
    ledger.put({key: {**kept, **other(values)}})
    with pytest.raises(AuditError, match="no values of its layer"):
        api.judge(layered.out, pdf=False)


def test_outputs_too_large_to_be_kept_leave_no_layer(layered: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "WHOLE", 100)
    name_layers(layered)
    found = next(each for each in run(layered).body.findings if each.claim == "functional.alignment")
    assert found.missing == "not-kept"


@pytest.mark.parametrize(("widths", "chunk"), [((2_000, 6), 400), ((6, 2_000), 4_000)])
def test_the_layer_of_the_reference_says_how_much_is_stored_at_once(
    layered: World, widths: tuple[int, int], chunk: int
) -> None:
    for path, width in zip((layered.reference, layered.candidate), widths, strict=True):
        wide = np.concatenate([REFERENCE, np.abs(rows(PIXELS, width - CLASSES))], axis=1)
        hidden(path, wide, np.eye(width, CLASSES, dtype=np.float32))
    name_layers(layered)
    run(layered)
    fixed = plan.load(layered.out)
    assert fixed.plan.chunk == chunk
    assert fixed.watched_values(fixed.plan.probes[0]) == widths


def test_layers_are_part_of_what_is_kept_and_of_what_it_costs() -> None:
    noise = NoiseSimilarity(uniform=(2.0,), gaussian=()).ask(Context(NAMES)).probes[-1]
    bare, layered = (sizes.kept([CLEAN, noise], {"test": 100}, 10, 8_500, watched) for watched in (0, 5))
    assert (bare, layered) == (("outputs", "outputs"), ("outputs", "comparisons"))
    assert sizes.row_bytes("outputs", (10,), 2, 100) - sizes.row_bytes("outputs", (10,), 2) == 400
    dims: dict[str, Any] = {"outputs": (10,), "shape": (3, 8, 8), "chunk": 4_000, "batch": 200, "lanes": 1}
    plain, more = (planning.cost([Load(1_000, watched=each)], PAIR, {}, **dims) for each in ((), (2_000, 10)))
    assert more.disk - plain.disk == 4 * 2_010 * 1_000
    assert more.memory - plain.memory >= 32 * 2_000**2


def test_modules_may_name_their_layers_each(tmp_path: Path) -> None:
    modules, data = (Hidden(), Hidden()), Items().arrays()
    named = {Role.REFERENCE: "cut", Role.CANDIDATE: "wide"}
    body = api.compare(*modules, data, layer=named, out=tmp_path / "out", pdf=False).evidence.body
    assert [model.adapter.watched and model.adapter.watched.layer for model in body.models] == ["cut", "wide"]
    wrong: list[Any] = [{Role.REFERENCE: "cut"}, {**named, Role.BASELINE: "cut"}, None, ["cut"], {**named, "x": 3}]
    for each in wrong:
        with pytest.raises(AuditError, match="layer"):
            api.compare(*modules, data, layer=each, out=tmp_path / "other", pdf=False)


# What a hostile file does with it ends by name.


def remade(path: Path, *nodes: onnx.NodeProto, **constants: NDArray[np.generic]) -> Path:
    """The file with further nodes and constants."""
    made = onnx.load_model(path)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    path.write_bytes(made.SerializeToString())
    return path


def changing(path: Path, bright: Tensor, batch: int | str = "batch") -> Path:
    """A file whose value `some` has six columns for dark items, and two for these."""
    return remade(
        hidden(path, np.abs(WIDE), batch=batch),
        node("ReduceMax", "hidden", "most", axes=[0], keepdims=0),
        node("Less", "most bound", "dark"),
        node("Compress", "hidden dark", "some", axis=1),
        bound=np.sort((bright.reshape(len(bright), -1).numpy() @ np.abs(WIDE)).max(axis=0))[2:3],
    )


def test_a_layer_that_changes_its_width_ends_the_audit(layered: World) -> None:
    x = torch.from_numpy(layered.items.arrays()[0][:200].transpose(0, 3, 1, 2).astype(np.float32) / 255)
    changing(layered.reference, x)
    changing(layered.candidate, x)
    name_layers(layered, layer="some")
    with pytest.raises(AuditError, match=r"gave \d values for an item, not 6"):
        run(layered)


def test_a_layer_that_changes_its_width_between_pieces_ends_the_audit(tmp_path: Path) -> None:
    path = remade(changing(tmp_path / "a.onnx", ITEMS[:4], 4), node("Shape", "hidden", "size"))
    model = opened(path, "some")
    assert "another form" in refusal(lambda: model.watch(torch.cat([torch.zeros(4, *INPUT), ITEMS[:4]])))


def test_a_sequence_is_no_layer(tmp_path: Path) -> None:
    path = remade(
        hidden(tmp_path / "a.onnx"),
        node("SplitToSequence", "hidden parts", "pieces", axis=1),
        parts=np.asarray([4, 2]),
    )
    assert "no tensor" in refusal(lambda: opened(path, "pieces"))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = hidden(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes().replace(b"hidden", b"hid\xffen"))
    assert "not UTF-8" in refusal(lambda: opened(path, "cut"))


def test_a_node_that_gives_nothing_is_no_layer(tmp_path: Path) -> None:
    path = hidden(tmp_path / "a.onnx")
    made = onnx.load_model(path)
    nothing = helper.make_function("own", "Nothing", ["x"], [], [], [helper.make_opsetid("", 17)])
    made.functions.append(nothing)
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node.append(helper.make_node("Nothing", ["hidden"], [], name="nothing", domain="own"))
    path.write_bytes(made.SerializeToString())
    assert opened(path).watched is not None
    assert "no layer 'nothing'" in refusal(lambda: opened(path, "nothing"))
