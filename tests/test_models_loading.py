"""Opening model files of others: known by content, read once, and never a line of code in them run."""

import io
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from audit import digest
from audit.errors import AuditError
from audit.models import files, loading
from audit.models.adapter import Slot
from audit.models.files import Format
from audit.request import ModelEntry
from audit.types import Role
from tests.torchnets import Net
from tests.world import CLASSES, INPUT, REFERENCE, network

NET = "tests.torchnets:net"
Loaded = Any


def state(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(Net().state_dict())


def pickled(found: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(found, stream, **options)
    return stream.getvalue()


def legacy(found: Any) -> bytes:
    return pickled(found, _use_new_zipfile_serialization=False)


def load(
    path: Path, architecture: str | None = NET, examined: Mapping[str, str] | None = None, **arguments: JsonValue
) -> Loaded:
    entry = ModelEntry(model=Path(path.name), architecture=architecture, arguments=arguments)
    return loading.load(entry, path.parent, Slot(Role.CANDIDATE, INPUT, batch=4), examined=examined)


def parse(path: Path) -> dict[str, str]:
    return loading.parse_untrusted(ModelEntry(model=path, architecture=NET), Path(), Slot(Role.CANDIDATE, INPUT))


def refusal(path: Path, content: bytes | None = None) -> str:
    """Both ways into the program refuse, in the same words, and name the file."""
    if content is not None:
        path.write_bytes(content)
    said = []
    for opened in (parse, load):
        with pytest.raises(AuditError) as caught:
            opened(path)
        assert str(path) in caught.value.what
        assert caught.value.hint
        said.append(caught.value.what)
    assert said[0] == said[1]
    return said[0]


WRITERS: dict[str, tuple[Callable[[dict[str, Tensor]], bytes], str]] = {
    "zip": (pickled, "PyTorch state dict"),
    "legacy": (legacy, "PyTorch state dict"),
    "safetensors": (safetensors.torch.save, "safetensors"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_weights_are_known_by_their_content(tmp_path: Path, writer: str) -> None:
    write, name = WRITERS[writer]
    path = tmp_path / "weights.onnx"
    path.write_bytes(write(state()))
    model = load(path)
    assert model.format == name
    assert parse(path) == {"": digest.of_file(path)} == {"": model.sha256}
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickled(state()))
    assert torch.equal(model(torch.ones(2, *INPUT)), load(plain)(torch.ones(2, *INPUT)))


def test_onnx_is_known_by_its_content(tmp_path: Path) -> None:
    path = network(tmp_path / "network.safetensors", REFERENCE)
    model = load(path, architecture=None)
    assert (model.format, model.name, model.outputs) == ("ONNX", "network.safetensors", (CLASSES,))
    assert parse(path) == {"": digest.of_file(path)} == {"": model.sha256}


def test_an_architecture_belongs_to_weights_and_to_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="an architecture is named, but the file holds neither"):
        load(network(tmp_path / "a.onnx", REFERENCE))
    (tmp_path / "a.pt").write_bytes(pickled(state()))
    with pytest.raises(AuditError, match="holds PyTorch state dict weights, and no architecture is named") as caught:
        load(tmp_path / "a.pt", architecture=None)
    assert "the candidate an architecture" in caught.value.hint


def test_arguments_reach_the_factory(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickled(Net(width=7).state_dict()))
    assert load(tmp_path / "a.pt", width=7).outputs == (CLASSES,)
    with pytest.raises(AuditError, match="of another shape"):
        load(tmp_path / "a.pt", width=6)


def test_only_what_was_examined_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickled(state()))
    examined = parse(path)
    assert load(path, examined=examined).sha256 == examined[""]
    path.write_bytes(pickled(state(1)))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(AuditError, match=r"a\.pt: changed while it was being opened"):
        load(path, examined=examined)


WRAPS = ("state_dict", "model", "model_state_dict", "net")


@pytest.mark.parametrize("name", WRAPS)
def test_a_training_checkpoint_is_unwrapped(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickled({name: state(), "epoch": 3, "optimizer": {"state": {}}}))
    assert load(path).parameters == sum(t.numel() for t in state().values() if t.is_floating_point())


def test_checkpoints_that_do_not_say_which_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert "several sets of weights (state_dict, model)" in refusal(
        path, pickled({"model": state(), "state_dict": state(1)})
    )
    assert "beside tensors it holds 'weights', 'epoch'" in refusal(path, pickled({"weights": state(), "epoch": 1}))
    assert "it holds no tensor" in refusal(path, pickled({}))
    assert "holds list, not a dict of tensors" in refusal(path, pickled([torch.ones(2)]))
    assert "holds Tensor, not a dict of tensors" in refusal(path, pickled(torch.ones(2)))
    assert "holds no weights" in refusal(path, safetensors.torch.save({}))


class Payload:
    """A pickle that leaves a trace where it is executed."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("write", [pickled, legacy, pickle.dumps])
@pytest.mark.parametrize("inside", [False, True])
def test_a_malicious_pickle_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Any], bytes], inside: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trace = tmp_path / "trace"
    payload = Payload(trace)
    content = write({"state_dict": {**state(), "x": payload}} if inside else payload)
    said = refusal(tmp_path / "a.pt", content)
    expected = "is a pickle of protocol 4, not" if write is pickle.dumps else "is a pickle that calls 'posix.system'"
    assert expected in said
    assert not trace.exists()
    # The payload would have worked.
    pickle.loads(pickle.dumps(payload))
    assert trace.exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "a.pt", pickled(nn.Linear(2, 2)))
    assert "is a pickle that calls 'torch.nn.modules.linear.Linear'" in said


def test_programs_are_refused(tmp_path: Path) -> None:
    program, script = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.zeros(1, 3),)), program)
        torch.jit.save(torch.jit.script(nn.Linear(3, 2)), script)
    assert "is an exported program (.pt2)" in refusal(tmp_path / "a.pt", program.getvalue())
    assert "is a TorchScript archive" in refusal(tmp_path / "a.pt", script.getvalue())


def test_other_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    assert "a zip archive, but not a torch checkpoint" in refusal(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    assert "is an exported program (.pt2)" in refusal(tmp_path / "old.pt2")


def test_files_that_end_too_early_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert "not a complete torch checkpoint" in refusal(path, pickled(state())[:-200])
    assert "not a torch state dict" in refusal(path, legacy(state())[:-200])
    assert "not a valid safetensors file" in refusal(path, safetensors.torch.save(state())[:-1])
    assert "not a torch state dict" in refusal(path, b"\x80\x02")


def test_tensors_that_claim_more_than_the_file_stores_are_refused(tmp_path: Path) -> None:
    claimed = torch.zeros(1).expand(10**10)
    said = refusal(tmp_path / "a.pt", pickled({"w": claimed}))
    assert "'w' claims 10000000000 values, more than the file stores" in said


def test_tensors_that_are_not_dense_are_refused(tmp_path: Path) -> None:
    assert "'w' is torch.sparse_coo" in refusal(tmp_path / "a.pt", pickled({"w": torch.eye(3).to_sparse()}))
    assert "on meta" in refusal(tmp_path / "a.pt", pickled({"w": torch.empty(3, device="meta")}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    assert "'w' is quantized" in refusal(tmp_path / "a.pt", pickled({"w": small}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.complex64])
def test_weights_of_any_type_count(tmp_path: Path, dtype: torch.dtype) -> None:
    from audit.models import weights

    values = torch.tensor([0, 1, 2, 0]).to(dtype)
    counted = {"w": values, "mask": torch.ones(9, dtype=torch.bool), "step": torch.ones(9, dtype=torch.int32)}
    for content in (pickled(counted), safetensors.torch.save(counted)):
        (tmp_path / "a.bin").write_bytes(content)
        assert weights.count(weights.parse(files.read(tmp_path / "a.bin", Role.CANDIDATE)).values()) == (4, 2)


def test_safetensors_missing_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_bytes(safetensors.torch.save(state()))
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(AuditError, match="needs the package safetensors") as caught:
        load(tmp_path / "a.bin")
    assert caught.value.hint == "pip install 'prune-audit[safetensors]'"


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_load_or_are_refused(tmp_path: Path, writer: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(WRITERS[writer][0](state()))
    frame = [i for i in range(len(content)) if i < 900 or i > len(content) - 900]  # the rest are weights
    for position in rng.choice(frame, 3):
        content[position] = rng.integers(256)
    path = tmp_path / "a.pt"
    path.write_bytes(content[: rng.integers(len(content))] if seed % 4 == 0 else content)
    for opened in (parse, load):
        try:
            opened(path)
        except AuditError as error:
            assert str(path) in error.what or NET in error.what


def test_pipes_and_folders_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    assert "not a regular file" in refusal(tmp_path / "pipe.pt")
    assert "not a regular file" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", Format.ONNX),
        (b"\x08\x09\x12\x00", Format.ONNX),
        (b"\x80\x00", Format.ONNX),
        (b"\x80\x05", Format.CHECKPOINT),
        (b"PK\x03\x04", Format.CHECKPOINT),
        ((120).to_bytes(8, "little") + b"{", Format.SAFETENSORS),
        ((2**62).to_bytes(8, "little") + b"{", Format.ONNX),
        ((120).to_bytes(8, "little") + b"x", Format.ONNX),
    ],
)
def test_marks(tmp_path: Path, head: bytes, expected: Format) -> None:
    (tmp_path / "a").write_bytes(head)
    assert files.read(tmp_path / "a", Role.CANDIDATE).format is expected


def test_loading_imports_no_runtime() -> None:
    code = "import sys, audit.models.loading; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "safetensors", "onnx", "onnxruntime"} & set(result.stdout.split())
