"""Files that hold programs run for who trusts them, and for nobody else."""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from audit import api, digest
from audit.errors import AuditError
from audit.models import loading
from audit.models.adapter import Slot
from audit.request import ModelEntry
from audit.types import Role
from tests.test_models_loading import Payload, legacy, pickled
from tests.torchnets import Net
from tests.world import INPUT, World

ITEMS = torch.from_numpy(np.random.default_rng(0).random((7, *INPUT), np.float32))
SLOT = Slot(Role.CANDIDATE, INPUT, batch=4)
TRUSTED = replace(SLOT, trust_code=True)


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net().eval()


def exported(module: nn.Module, batch: int | None = None) -> bytes:
    stream, size = io.BytesIO(), batch or 2
    free = None if batch else ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (torch.zeros(size, *INPUT),), dynamic_shapes=free), stream)
    return stream.getvalue()


def scripted(module: nn.Module) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


def traced(module: nn.Module) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, ITEMS[:2]), stream)
    return stream.getvalue()


FORMS: dict[str, Callable[[nn.Module], bytes]] = {
    "exported program (.pt2)": exported,
    "TorchScript archive": scripted,
    "TorchScript archive, traced": traced,
    "pickle that calls code": pickled,
    "pickle that calls code, legacy": legacy,
}


def load(path: Path, slot: Slot = TRUSTED) -> loading.Model:
    return loading.load(ModelEntry(model=Path(path.name)), path.parent, slot)


def parse(path: Path, slot: Slot = TRUSTED) -> dict[str, str]:
    return loading.parse_untrusted(ModelEntry(model=path), path.parent, slot)


@pytest.mark.parametrize("form", FORMS)
def test_a_trusted_program_computes_what_its_module_did(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(FORMS[form](net()))
    model = load(path)
    with torch.no_grad():
        expected = net()(ITEMS)
    torch.testing.assert_close(model(ITEMS), expected, rtol=1e-5, atol=1e-5)
    assert parse(path) == {"": model.sha256} == {"": digest.of_file(path)}
    assert (model.format, model.outputs) == (form.partition(",")[0], expected.shape[1:])
    assert model.parameters == sum(t.numel() for t in net().state_dict().values() if t.is_floating_point())
    assert len(model.deviations) == 1 and "--trust-code" in model.deviations[0]
    path.write_bytes(FORMS[form](net(1)))
    with pytest.raises(AuditError, match=r"a\.bin: changed during the audit"):
        model.verify_unchanged()


@pytest.mark.parametrize("form", FORMS)
def test_without_trust_they_are_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(FORMS[form](net()))
    for opened in (load, parse):
        with pytest.raises(AuditError, match="loading one executes code from the file, so it is refused") as caught:
            opened(path, SLOT)
        assert str(path) in caught.value.what and "--trust-code" in caught.value.hint


@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_of_a_fixed_batch_runs_in_pieces(tmp_path: Path, batch: int) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(exported(net(), batch))
    model = load(path)
    assert model.runtime["batch"] == batch
    with torch.no_grad():
        torch.testing.assert_close(model(ITEMS), net()(ITEMS), rtol=1e-5, atol=1e-5)


def altered(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The same archive with other contents."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return stream.getvalue()


def in_sample_inputs(trace: Path) -> bytes:
    """torch reads sample inputs without restriction where reading them safely fails."""
    evil = pickled(Payload(trace))
    return altered(exported(net()), lambda name, old: evil if name.endswith("data/sample_inputs/model.pt") else old)


def in_an_expression(trace: Path) -> bytes:
    """torch evaluates the sizes of a program as Python."""

    def change(name: str, old: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return old

        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                evil = f"__import__('pathlib').Path({str(trace)!r}).touch() or 3"
                return {k: evil if k == "expr_str" else walk(v) for k, v in value.items()}
            return [walk(v) for v in value] if isinstance(value, list) else value

        return json.dumps(walk(json.loads(old))).encode()

    return altered(exported(net()), change)


def in_a_weight(trace: Path) -> bytes:
    """torch reads a weight without restriction where the archive says that it is a pickle."""
    evil = pickled(Payload(trace))

    def change(name: str, old: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return old.replace(b'"use_pickle": false', b'"use_pickle": true')
        return evil if name.endswith("weights/weight_0") else old

    return altered(exported(net()), change)


@pytest.mark.parametrize("make", [in_sample_inputs, in_an_expression, in_a_weight])
def test_crafted_programs_run_nothing(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    trace, path = tmp_path / "trace", tmp_path / "a.pt2"
    path.write_bytes(make(trace))
    for opened in (load, parse):
        with pytest.raises(AuditError, match="is an exported program"):
            opened(path, SLOT)
    assert not trace.exists()
    # The payload would have worked.
    with warnings.catch_warnings(), suppress(Exception):  # it need not be a good program besides
        warnings.simplefilter("ignore")
        torch.export.load(path)
    assert trace.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_damaged_programs_are_named(tmp_path: Path, form: str, cut: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(FORMS[form](net())[:-cut])
    with pytest.raises(AuditError) as caught:
        load(path)
    assert str(path) in caught.value.what


@pytest.mark.parametrize("value", [{"a": print}, [1, nn.Linear], 7, Payload])
def test_a_trusted_pickle_of_anything_else_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickled(value))
    with pytest.raises(AuditError, match=r"a\.pt: (holds|not a dict of tensors)"):
        load(path)


SOURCE = """
import torch
class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(192, 4))
    def forward(self, x):
        return {sign}(x.flatten(1) @ self.w)
"""


def test_classes_of_a_pickle_are_found_beside_the_audit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "smallnets.py").write_text(SOURCE.format(sign="+"))
    with monkeypatch.context() as patched:
        patched.syspath_prepend(folder)
        import smallnets  # type: ignore[import-not-found]

        (folder / "a.pt").write_bytes(pickled(smallnets.Small()))
        del sys.modules["smallnets"]
    first = load(folder / "a.pt")
    assert torch.equal(first(ITEMS), ITEMS.flatten(1) @ torch.ones(192, 4))
    sys.modules.pop("smallnets", None)
    (folder / "smallnets.py").write_text(SOURCE.format(sign="-"))
    second = load(folder / "a.pt")
    sys.modules.pop("smallnets", None)
    assert first.sha256 == second.sha256
    assert first.runtime["architecture_sha256"] != second.runtime["architecture_sha256"]
    with pytest.raises(AuditError, match=r"a\.pt: cannot be loaded \(No module named 'smallnets'\)"):
        loading.load(ModelEntry(model=folder / "a.pt"), tmp_path, TRUSTED)


@pytest.mark.quarantined
def test_the_certificate_says_that_code_ran(tmp_path: Path) -> None:
    world = World(tmp_path)
    program = tmp_path / "candidate.pt2"
    program.write_bytes(exported(net()))
    world.audit.write_text(world.audit.read_text().replace("candidate.onnx", program.name))
    with pytest.raises(AuditError, match="is an exported program"):
        api.run(world.audit, pdf=False)
    outcome = api.run(world.audit, pdf=False, trust_code=True)
    said = "the candidate is an exported program (.pt2): code from its file ran, as --trust-code allows"
    assert outcome.evidence.body.deviations == (said,)
    assert not outcome.evidence.body.verdict.accepted
    page = (outcome.folder / "certificate.html").read_text(encoding="utf-8")
    assert page.index(said) < page.index('id="environment"')
