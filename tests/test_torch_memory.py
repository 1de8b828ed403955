"""Modules handed over by a Python program: copied at once, identified by what they compute."""

import importlib.util
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import audit
from audit.errors import AuditError
from audit.models.adapter import Slot
from audit.models.memory import of_module
from audit.models.network import TorchModel
from audit.types import Role
from tests.torchnets import Branching, Ends, Net, pruned
from tests.world import INPUT, Items

BATCH = 8
ITEMS = torch.from_numpy(np.random.default_rng(0).random((BATCH + 5, *INPUT), np.float32))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def model_of(module: nn.Module, batch: int = BATCH) -> TorchModel:
    return of_module(module, Slot(Role.REFERENCE, INPUT, batch=batch))


def test_what_is_done_to_the_module_later_changes_nothing() -> None:
    module = net().train()
    model = model_of(module)
    before = model(ITEMS)
    module.load_state_dict(net(1).state_dict())
    assert torch.equal(model(ITEMS), before)
    model.verify_unchanged()
    assert module.training
    assert module.head.weight.requires_grad
    assert torch.equal(model_of(net())(ITEMS), before)


def test_it_says_what_it_is() -> None:
    module = net()
    model = model_of(module)
    tensors = [*module.parameters(), *module.buffers()]
    assert (model.name, model.format, model.deviations) == ("Net", "PyTorch module", ())
    assert model.size == sum(t.numel() * t.element_size() for t in tensors)
    assert model.parameters == sum(t.numel() for t in tensors if t.is_floating_point())


def test_identity_follows_what_is_computed() -> None:
    class Louder(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.factor

        factor = 2.0

    louder, loudest = Louder(), Louder()
    for module in (louder, loudest):
        module.load_state_dict(net().state_dict())
    loudest.factor = 2.0000000000000004
    digests = [model_of(module).sha256 for module in (net(), net(1), louder, loudest)]
    assert len(set(digests)) == 4
    assert digests == [model_of(module).sha256 for module in (net(), net(1), louder, loudest)]
    assert model_of(net(), batch=3).sha256 == digests[0]


def test_constants_that_no_state_dict_holds_are_part_of_the_identity() -> None:
    def scaled(value: float) -> Net:
        module = net()
        module.register_buffer("scale", torch.full((4, 1, 1), value), persistent=False)
        module.norm.register_forward_hook(lambda _module, _given, out: out * module.scale)
        return module

    one, other = scaled(1.0), scaled(2.0)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert model_of(one).sha256 != model_of(other).sha256


def test_identity_does_not_depend_on_where_the_source_stands(tmp_path: Path) -> None:
    source = Path(__file__).with_name("torchnets.py").read_text()

    def model(path: Path, text: str) -> str:
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        torch.manual_seed(0)
        return model_of(module.Net()).sha256

    assert model(tmp_path / "one.py", source) == model(tmp_path / "two.py", "# a comment\n\n" + source)


def test_what_cannot_be_exported_is_known_by_its_weights_alone() -> None:
    torch.manual_seed(0)
    model = model_of(Branching())
    assert model.deviations == ("identity of the reference: weights only",)
    assert model.runtime["architecture_sha256"]
    model.verify_unchanged()
    other = model_of(Branching())
    assert other.sha256 != model.sha256
    torch.manual_seed(0)
    assert model_of(Branching()).sha256 == model.sha256


def test_a_pruned_module_runs_with_its_masks() -> None:
    torch.manual_seed(0)
    module = pruned()
    model = model_of(module)
    with torch.no_grad():
        expected = module.eval()(ITEMS[:BATCH])
    assert torch.allclose(model(ITEMS[:BATCH]), expected, atol=1e-6)
    model.verify_unchanged()


def test_a_module_that_learns_is_found_out() -> None:
    model = model_of(Ends("learns"))
    model(ITEMS)
    with pytest.raises(AuditError, match="the reference's module: changed during the audit"):
        model.verify_unchanged()


def test_what_is_no_module_or_cannot_be_copied_is_refused() -> None:
    with pytest.raises(AuditError, match=r"the reference's module: is int, not a torch\.nn\.Module"):
        model_of(3)  # type: ignore[arg-type]
    locked = net()
    locked.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(AuditError, match="cannot be copied"):
        model_of(locked)
    with pytest.raises(AuditError, match="the reference's module: gives NoneType"):
        model_of(Ends("none"))


def test_tensors_that_are_not_dense_are_refused() -> None:
    module = net()
    module.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.raises(AuditError, match="holds tensors that are not dense"):
        model_of(module)


def test_a_module_known_by_its_weights_alone_never_takes_over_observations() -> None:
    def runtime(module: nn.Module) -> dict[str, str | int]:
        torch.manual_seed(0)
        return dict(model_of(module).runtime)

    first, second = (runtime(Branching()) for _ in range(2))
    assert first.pop("session") != second.pop("session")
    assert first == second
    assert runtime(net()) == runtime(net())


def test_a_failed_export_prints_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(Branching())
    model.verify_unchanged()
    assert model.deviations
    assert tuple(capfd.readouterr()) == ("", "")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    logging.getLogger("torch").warning("as before")
    assert caplog.messages[-1] == "as before"


class Reading(Net):
    """Reads memory that nobody wrote: NaN where torch fills it, and else what happens to be there."""

    def __init__(self) -> None:
        super().__init__()
        self.filled: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.filled.append(torch.utils.deterministic.fill_uninitialized_memory)  # type: ignore[attr-defined]
        return super().forward(x) * (float("nan") if self.filled[-1] else 1.0)


def test_new_memory_is_filled_unless_the_batch_is_whole() -> None:
    model, one = model_of(Reading()), model_of(Reading(), batch=1)
    seen, single = (each.runner.module.filled for each in (model, one))
    seen.clear(), single.clear()
    for n in (BATCH, 2 * BATCH, BATCH - 1, BATCH + 1):
        model(ITEMS[:1].repeat(n, 1, 1, 1))
    one(ITEMS[:1])
    assert (seen, single) == ([False, False, False, True, True, True], [True])
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_a_module_that_reads_what_nobody_wrote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="depend on the other items of the batch"):
        audit.compare(Reading(), Reading(), Items(n=300).arrays(), out=tmp_path / "out", device="cpu", pdf=False)
