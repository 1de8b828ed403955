"""Weights in files beside an ONNX file: hashed and run like the rest of it, and never read from elsewhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from audit import api, digest
from audit.errors import AuditError
from audit.models import files, loading
from audit.models.adapter import Slot
from audit.request import ModelEntry
from audit.types import Role
from tests.world import CANDIDATE, INPUT, REFERENCE, World, network

ITEMS = torch.from_numpy(np.random.default_rng(0).random((3, *INPUT), np.float32))
SLOT = Slot(Role.CANDIDATE, INPUT)
RAW = REFERENCE.tobytes()


def split(path: Path, location: str = "weights.bin", **told: str) -> Path:
    """Bring the weights of a network to a file beside it, or only say that they are there."""
    model = onnx.load(network(path, REFERENCE))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in {"location": location, **told}.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def load(path: Path) -> loading.Model:
    return loading.load(ModelEntry(model=Path(path.name)), path.parent, SLOT)


def parse(path: Path) -> dict[str, str]:
    return loading.parse_untrusted(ModelEntry(model=path), Path(), SLOT)


def refusal(path: Path) -> str:
    """Both ways into the program refuse, in the same words, and name the file."""
    said = []
    for opened in (load, parse):
        with pytest.raises(AuditError) as caught:
            opened(path)
        said.append(caught.value.what)
    assert said[0] == said[1] and str(path.parent) in said[0]
    return said[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (RAW, {}),
        (RAW, {"offset": "0", "length": str(len(RAW))}),
        (b"\7" * 4096 + RAW + b"more", {"offset": "4096", "length": str(len(RAW)), "checksum": "0"}),
    ],
)
def test_a_network_runs_wherever_its_weights_lie(tmp_path: Path, content: bytes, told: dict[str, str]) -> None:
    whole = load(network(tmp_path / "whole.onnx", REFERENCE))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(content)
    path = split(tmp_path / "a.onnx", "parts/w.bin", **told)
    model = load(path)
    assert torch.equal(model(ITEMS), whole(ITEMS))
    assert (model.parameters, model.nonzero) == (whole.parameters, whole.nonzero)
    assert model.size == path.stat().st_size + len(content)
    assert parse(path) == {
        "": digest.of_file(path),
        "parts/w.bin": digest.of_bytes(content),
    }


def test_every_byte_of_every_file_counts(tmp_path: Path) -> None:
    path, beside = split(tmp_path / "a.onnx", length=str(len(RAW))), tmp_path / "weights.bin"
    beside.write_bytes(RAW + b"\0")
    model = load(path)
    assert model.sha256 != files.read(path, Role.CANDIDATE).sha256
    beside.write_bytes(RAW + b"\1")  # behind the weights: no output changes
    assert load(path).sha256 != model.sha256
    with pytest.raises(AuditError, match=r"weights\.bin: changed during the audit"):
        model.verify_unchanged()
    beside.unlink()
    with pytest.raises(AuditError, match=r"weights\.bin: changed during the audit"):
        model.verify_unchanged()


def test_only_the_examined_weights_are_opened(tmp_path: Path) -> None:
    path, beside = split(tmp_path / "a.onnx"), tmp_path / "weights.bin"
    beside.write_bytes(RAW)
    examined = parse(path)
    beside.write_bytes(CANDIDATE.tobytes())
    with pytest.raises(AuditError, match="changed while it was being opened"):
        loading.load(ModelEntry(model=Path(path.name)), tmp_path, SLOT, examined=examined)


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "a/../../weights.bin", "/etc/hostname", "", ".", "..", "a\\b", "a\0b"],
)
def test_places_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "weights.bin").write_bytes(RAW)
    assert "which is no place inside its own folder" in refusal(split(inner / "a.onnx", location))


@pytest.mark.parametrize("what", ["file", "folder", "absolute"])
def test_links_are_not_followed(tmp_path: Path, what: str) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    (outer / "weights.bin").write_bytes(RAW)
    if what == "folder":
        (inner / "parts").symlink_to("../outer")
    else:
        (inner / "parts").mkdir()
        (inner / "parts" / "weights.bin").symlink_to(
            outer / "weights.bin" if what == "absolute" else "../../outer/weights.bin"
        )
    assert "is a link" in refusal(split(inner / "a.onnx", "parts/weights.bin"))


def missing(folder: Path) -> Path:
    return split(folder / "a.onnx")


def a_folder(folder: Path) -> Path:
    (folder / "weights.bin").mkdir()
    return split(folder / "a.onnx")


def too_short(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(RAW[:-1])
    return split(folder / "a.onnx")


def beyond_the_end(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(RAW)
    return split(folder / "a.onnx", offset="4", length=str(len(RAW)))


def before_the_start(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(RAW)
    return split(folder / "a.onnx", offset="-4", length=str(len(RAW)))


def at_no_number(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(RAW)
    return split(folder / "a.onnx", offset="here")


def too_long(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(RAW + RAW)
    return split(folder / "a.onnx", offset="0", length=str(2 * len(RAW)))


def too_large(folder: Path) -> Path:
    with (folder / "weights.bin").open("wb") as stream:
        stream.truncate(files.LARGEST)
    return split(folder / "a.onnx")


BROKEN: dict[Callable[[Path], Path], str] = {
    missing: "cannot be read (No such file or directory)",
    a_folder: "is not a regular file",
    too_short: "not a valid ONNX file",
    beyond_the_end: "is said to lie in bytes 4 to",
    before_the_start: "is said to lie in bytes -4 to",
    at_no_number: "lies at no place that is a number",
    too_long: "not a valid ONNX file",
    too_large: "holds more than an ONNX file can",
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_weights_that_are_not_there_as_said_are_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    assert BROKEN[make] in refusal(make(tmp_path))


def test_an_audit_names_all_files_in_one_digest(tmp_path: Path) -> None:
    world = World(tmp_path)
    split(world.reference)
    (tmp_path / "weights.bin").write_bytes(RAW)
    body = api.run(world.audit, pdf=False).evidence.body
    assert body.verdict.overall == "PASS"
    assert body.models[0].sha256 == load(world.reference).sha256
