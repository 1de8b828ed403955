"""Weights with an architecture on torch: all of the file and nothing else runs, in batches of one size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audit import digest
from audit.errors import AuditError
from audit.models import architecture, files
from audit.models.adapter import Preprocessing, Slot
from audit.models.device import reproducible, resolve_device
from audit.models.network import TorchModel
from audit.runtime import processor
from audit.types import Role
from audit.userland import Factory
from tests import torchnets
from tests.world import CLASSES, INPUT

BATCH = 8
ITEMS = torch.from_numpy(np.random.default_rng(0).random((BATCH + 5, *INPUT), np.float32))
CPU = torch.device("cpu")
ELSEWHERE = Path(__file__).with_name("report")
"""A folder that `tests.torchnets` does not lie in: it is then as good as installed, and imported once."""
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def state(seed: int = 0, width: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(torchnets.Net(width).state_dict())


def saved(path: Path, tensors: Mapping[str, Any], **options: Any) -> Path:
    torch.save(dict(tensors), path, **options)
    return path


def factory(name: str = "net", **arguments: Any) -> Factory:
    return Factory(f"tests.torchnets:{name}", arguments, ELSEWHERE)


def load(
    path: Path,
    made: Factory | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    device: str = "cpu",
    batch: int = BATCH,
) -> TorchModel:
    slot = Slot(Role.CANDIDATE, INPUT, preprocessing or Preprocessing(), device=device, batch=batch)
    return architecture.load(files.read(path, Role.CANDIDATE), made or factory(), slot)


def refusal(path: Path, made: Factory | None = None) -> str:
    with pytest.raises(AuditError) as caught:
        load(path, made)
    return str(caught.value)


def direct(tensors: Mapping[str, Tensor], x: Tensor, module: torch.nn.Module | None = None) -> Tensor:
    """What torch itself gives for one full batch."""
    made = module or torchnets.Net()
    made.load_state_dict(tensors)
    with reproducible(CPU, 1, strict=True):
        out: Tensor = made.eval()(x)
    return out


def test_a_state_dict_runs_as_it_would_without_us(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.bin", state())
    model = load(path)
    assert torch.equal(model(ITEMS[:BATCH]), direct(state(), ITEMS[:BATCH]))
    assert (model.role, model.name, model.format) == (Role.CANDIDATE, "a.bin", "PyTorch state dict")
    assert (model.sha256, model.size) == (digest.of_file(path), path.stat().st_size)
    assert (model.outputs, model.deviations) == ((CLASSES,), ())
    model.verify_unchanged()


def test_stored_weights_count_and_counters_do_not(tmp_path: Path) -> None:
    tensors = state()
    tensors["head.weight"][0] = 0
    model = load(saved(tmp_path / "a.pt", tensors))
    weights = {name: t for name, t in tensors.items() if name != "norm.num_batches_tracked"}
    assert model.parameters == sum(t.numel() for t in weights.values())
    assert model.nonzero == sum(int((t != 0).sum()) for t in weights.values()) < model.parameters


def test_every_forward_pass_has_the_size_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    forward = torchnets.Net.forward

    def counted(self: torchnets.Net, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(torchnets.Net, "forward", counted)
    model = load(saved(tmp_path / "a.pt", state()))
    whole = model(ITEMS)
    assert whole.shape == (len(ITEMS), CLASSES)
    assert set(sizes) == {BATCH}
    for n in (1, 3, BATCH):
        assert torch.equal(model(ITEMS[:n]), whole[:n])
    assert torch.equal(model(ITEMS[BATCH:]), whole[BATCH:])
    with pytest.raises(ValueError, match="at least one item"):
        model(ITEMS[:0])


def test_a_file_swapped_after_it_was_read_does_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", state())
    file = files.read(path, Role.CANDIDATE)
    saved(path, state(seed=1))
    model = architecture.load(file, factory(), Slot(Role.CANDIDATE, INPUT, batch=BATCH))
    assert torch.equal(model(ITEMS[:BATCH]), direct(state(), ITEMS[:BATCH]))
    assert not torch.equal(load(path)(ITEMS), model(ITEMS))
    assert model.sha256 == file.sha256 != digest.of_file(path)
    with pytest.raises(AuditError, match=r"a\.pt: changed during the audit"):
        model.verify_unchanged()


def test_a_factory_of_one_object_gives_two_models(tmp_path: Path) -> None:
    first = load(saved(tmp_path / "a.pt", state()), factory("shared"))
    before = first(ITEMS)
    second = load(saved(tmp_path / "b.pt", state(seed=1)), factory("shared"))
    assert torch.equal(first(ITEMS), before)
    assert not torch.equal(second(ITEMS), before)
    first.verify_unchanged()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    tensors = state(width=5)
    del tensors["norm.bias"]
    text = refusal(saved(tmp_path / "a.pt", tensors | {"extra": torch.ones(1)}))
    assert "a.pt: does not fit tests.torchnets:net" in text
    assert "1 missing ('norm.bias'); 1 unexpected ('extra'); 6 of another shape ('conv.weight' [5, 3, 3, 3]," in text
    assert "expected [4, 3, 3, 3]" in text
    load(saved(tmp_path / "a.pt", state(width=5)), factory(width=5))


def test_pruning_masks_are_explained(tmp_path: Path) -> None:
    masked = torchnets.pruned().state_dict()
    assert "prune.remove" in refusal(saved(tmp_path / "a.pt", masked))
    model = load(saved(tmp_path / "a.pt", masked), factory("pruned"))
    assert torch.equal(model(ITEMS[:BATCH]), direct(masked, ITEMS[:BATCH], torchnets.pruned()))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_dropped_where_all_names_have_them(tmp_path: Path, prefix: str) -> None:
    path = saved(tmp_path / "a.pt", {prefix + name: tensor for name, tensor in state().items()})
    if prefix == "module._orig_mod.":
        load(path)
    else:
        assert torch.equal(load(path)(ITEMS[:BATCH]), direct(state(), ITEMS[:BATCH]))
    (first, tensor), *others = state().items()
    assert "missing" in refusal(saved(path, {prefix + first: tensor} | dict(others)))


def test_a_module_that_does_not_take_the_weights_is_refused(tmp_path: Path) -> None:
    assert "holds other values in 'conv.weight'" in refusal(saved(tmp_path / "a.pt", state()), factory("deaf"))


def test_tied_weights_must_be_equal_in_the_file(tmp_path: Path) -> None:
    tensors = torchnets.tied().state_dict()
    load(saved(tmp_path / "a.pt", tensors), factory("tied"))
    tensors["b.weight"] = tensors["b.weight"] + 1
    assert "holds other values in 'a.weight'" in refusal(saved(tmp_path / "a.pt", tensors), factory("tied"))


def test_tied_weights_count_once(tmp_path: Path) -> None:
    module = torchnets.tied()
    model = load(saved(tmp_path / "a.pt", module.state_dict()), factory("tied"))
    assert model.parameters == module.a.weight.numel()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_load(tmp_path: Path, value: float) -> None:
    tensors = state()
    tensors["head.bias"][0] = value
    out = load(saved(tmp_path / "a.pt", tensors))(ITEMS)
    assert not out[:, 0].isfinite().any()
    assert out[:, 1:].isfinite().all()


@pytest.mark.parametrize(
    ("name", "said"), [("number", "gives int, not a torch.nn.Module"), ("absent", "AttributeError")]
)
def test_a_factory_that_gives_no_module_is_named(tmp_path: Path, name: str, said: str) -> None:
    text = refusal(saved(tmp_path / "a.pt", state()), factory(name))
    assert f"tests.torchnets:{name}" in text
    assert said in text


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raises", "fails on inputs of 3 × 8 × 8 ('logits')"),
        ("exits", "fails on inputs of 3 × 8 × 8 (0)"),
        ("memory", "fails on inputs of 3 × 8 × 8 (MemoryError)"),
        ("none", "gives NoneType, not a tensor"),
        ("flat", f"gives outputs of shape ({BATCH},) for {BATCH} items"),
        ("one", f"gives outputs of shape (1, {CLASSES}) for {BATCH} items"),
        ("labels", "gives torch.int64, not floating-point numbers"),
    ],
)
def test_what_is_no_row_of_scores_is_refused(tmp_path: Path, what: str, said: str) -> None:
    text = refusal(saved(tmp_path / "a.pt", state()), factory("ends", what=what))
    assert f"a.pt: {said}" in text


@pytest.mark.parametrize("what", ["half", "bfloat16", "double", "nan"])
def test_scores_are_float32(tmp_path: Path, what: str) -> None:
    out = load(saved(tmp_path / "a.pt", state()), factory("ends", what=what))(ITEMS)
    assert out.dtype is torch.float32
    assert out.is_contiguous()
    assert what == "nan" or torch.allclose(out, load(tmp_path / "a.pt")(ITEMS), atol=1e-2)


def test_outputs_share_no_memory_with_the_network(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "a.pt", state()), factory("ends", what="buffer"))
    model(ITEMS[:BATCH]).zero_()
    kept: Any = model.runner.module.kept
    assert kept.any()


def test_inputs_are_left_as_they_are(tmp_path: Path) -> None:
    class Inplace(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.zero_().flatten(1)[:, :CLASSES]

    x = ITEMS[:BATCH].clone()
    from audit.models.memory import of_module

    model = of_module(Inplace(), Slot(Role.CANDIDATE, INPUT, batch=BATCH))
    assert not model(x).any()
    assert torch.equal(x, ITEMS[:BATCH])


def test_preprocessing_is_applied_inside(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", state())
    adapter = Preprocessing(layout="NHWC", range=(0.0, 255.0), mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    fed = (ITEMS[:BATCH] * 255 - torch.tensor(adapter.mean)[:, None, None]) / torch.tensor(adapter.std)[:, None, None]
    found = load(path, factory("last"), adapter)(ITEMS[:BATCH])
    assert torch.allclose(found, direct(state(), fed), rtol=1e-4, atol=1e-4)
    assert "fails on inputs" in refusal(path, factory("last"))


def test_the_runtime_says_what_can_change_an_output(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", state())
    found = load(path).runtime
    assert found["engine"] == "torch"
    assert found["version"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["processor"] == processor()
    assert (found["threads"], found["batch"], found["deterministic"]) == (1, BATCH, "all")
    assert found["architecture"] == "tests.torchnets:net"
    assert found["architecture_sha256"] == factory().identity()
    assert all(type(value) in (str, int) for value in found.values())
    assert load(path, batch=4).runtime != found
    assert load(path, factory(width=4)).runtime != found


def test_a_network_without_deterministic_operations_says_so(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "a.pt", state()), factory("unrepeatable"))
    assert model.runtime["deterministic"] == "where they exist"
    assert torch.equal(model(ITEMS[:BATCH]), direct(state(), ITEMS[:BATCH]))


def test_settings_of_the_process_are_put_back_and_do_not_matter(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "a.pt", state()))
    expected = model(ITEMS)
    assert not torch.are_deterministic_algorithms_enabled()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(ITEMS), expected)
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def test_a_network_that_changes_its_own_weights_is_found_out(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "a.pt", state()), factory("ends", what="learns"))
    model.verify_unchanged()
    model(ITEMS)
    with pytest.raises(AuditError, match="changed its own weights"):
        model.verify_unchanged()


def test_a_factory_whose_source_changes_is_found_out(tmp_path: Path) -> None:
    source = tmp_path / "house_of_nets.py"
    source.write_text("from tests.torchnets import net\n")
    model = load(saved(tmp_path / "a.pt", state()), Factory("house_of_nets:net", {}, tmp_path))
    model.verify_unchanged()
    source.write_text("from tests.torchnets import deaf as net\n")
    with pytest.raises(AuditError, match="house_of_nets:net: its source changed"):
        model.verify_unchanged()


def test_devices() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(AuditError, match="device cuda:99: torch finds"):
        resolve_device("cuda:99")
    for wrong in ("gpu", "cpu:0", "auto:1", "cuda:x", ""):
        with pytest.raises(ValueError, match="is not auto, cpu"):
            resolve_device(wrong)


def test_cuda_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AuditError, match="device cuda: torch finds 0 CUDA devices"):
        load(saved(tmp_path / "a.pt", state()), device="cuda")
    assert load(tmp_path / "a.pt", device="auto").runtime["device"] == "cpu"


@pytest.mark.cuda
@needs_cuda
def test_cuda_gives_what_the_processor_gives(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", state())
    model = load(path, device="cuda")
    out = model(ITEMS)
    assert out.device == CPU
    assert torch.equal(out, model(ITEMS))
    assert torch.allclose(out, load(path)(ITEMS), rtol=1e-5, atol=1e-5)
    assert model.runtime["device"] == torch.cuda.get_device_name(0)
    assert model.runtime["cuda"] == torch.version.cuda
    model.verify_unchanged()
