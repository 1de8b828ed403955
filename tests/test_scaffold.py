"""`prune-audit init`: what it finds out about two models and a test set, and the audit file that it writes."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from audit import request, scaffold, scaffold_text, subjects
from audit.errors import AuditError
from audit.request import PreprocessingEntry
from audit.types import DataRole, Role
from tests.conftest import Command
from tests.greys import IMAGENET, LEVELS, PIXELS, TRAINED, Grey
from tests.torchnets import Net
from tests.world import CLASSES, NAMES, SIDE, Items, World, network


def told(world: World, out: Path) -> str:
    return scaffold.write(world.reference, world.candidate, world.data, out)


# The file


def test_what_init_writes_runs_as_it_is(tmp_path: Path, command: Command, invoke: Command) -> None:
    world = World(tmp_path / "world", Items(n=1000, errors=20))
    names = ("--reference", "world/reference.onnx", "--candidate", "world/candidate.onnx", "--data", "world/test.npz")
    made = command("init", *names, "--out", "pair.toml")
    assert (made.returncode, made.stderr) == (0, "")
    assert "1,000 items of 3 × 8 × 8 (uint8), 4 classes" in made.stdout
    assert made.stdout.count("98.0 % right") == 2
    assert "a look, no verdict" in made.stdout
    assert "  prune-audit plan pair.toml\n  prune-audit run pair.toml\n" in made.stdout
    ran = invoke("run", "pair.toml", "--no-pdf")
    assert ran.returncode in (0, 1, 3, 4), ran.stderr
    folder = world.folder.parent / "pair-out"
    assert {"evidence.json", "certificate.html"} <= {path.name for path in folder.iterdir()}


def test_the_file_is_commented_and_invents_nothing(world: World) -> None:
    out = world.folder / "new.toml"
    told(world, out)
    text = out.read_text()
    for name in ("screening", "standard", "strict"):
        assert f"#   {name} " in text
    assert "#   values" not in text  # the file is for classification
    for table in ("reference", "candidate", "preprocessing", "data.test", "certificate"):
        before = text[: text.index(f"\n[{table}]")].rpartition("\n")[2]
        assert before.startswith("# ")
    assert "# declared_accuracy" in text
    assert "\n# [baseline]\n" in text and "\n# [data.shifted]\n" in text
    parsed = request.load(out)
    assert parsed.reference.declared_accuracy is None
    assert (parsed.policy, parsed.out) == ("standard", Path("new-out"))
    assert set(tomllib.loads(text)["certificate"].values()) == {""}
    assert max(map(len, text.splitlines())) <= 120


def test_commented_tables_are_true_once_uncommented(world: World) -> None:
    out = world.folder / "new.toml"
    told(world, out)
    text = out.read_text()
    origin = ("[origin]", 'model = "origin.pt"')
    sets = ("[data.shifted]", 'path = "shifted.npz"', "[data.calibration]", 'path = "calibration.npz"')
    for line in ("[baseline]", 'model = "baseline.onnx"', *origin, *sets, 'attributes = "attributes.csv"'):
        assert f"\n# {line}\n" in text
        text = text.replace(f"\n# {line}\n", f"\n{line}\n")
    text = text.replace("# declared_accuracy = ...", "declared_accuracy = 97.5").replace("# layer = ...", 'layer = "l"')
    out.write_text(text.replace("[candidate]\n", '[candidate]\nlayer = "l"\n'))
    parsed = request.load(out)
    assert parsed.baseline is not None and parsed.origin is not None and parsed.data.shifted is not None
    assert parsed.data.calibration is not None and parsed.data.test.attributes == Path("attributes.csv")
    assert (parsed.reference.declared_accuracy, parsed.reference.layer) == (97.5, "l")


@pytest.mark.parametrize(
    "name", ['a "quoted" name', "back\\slash", "line\nbreak = 1", "ünï 猫", "del\x7f", "it's # so"]
)
def test_names_survive_the_file(tmp_path: Path, name: str) -> None:
    world = World(tmp_path / name)
    out = tmp_path / name / f"{name}.toml"
    report = told(world, out)
    parsed = request.load(out)
    assert parsed.reference.model == Path("reference.onnx")
    assert parsed.out == Path(f"{name}-out")
    subjects.load(parsed, out.parent)
    assert str(out) in report


@given(st.text())
def test_every_text_can_be_quoted(text: str) -> None:
    assert tomllib.loads(f"a = {scaffold_text.quoted(text)}") == {"a": text}


def test_what_lies_elsewhere_is_named_absolutely(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    here = Path("models")
    here.mkdir()
    world.reference.rename(here / "parent.onnx")
    told_of = (here / "parent.onnx", Path("../world/models/../candidate.onnx"), world.data)
    scaffold.write(*told_of, here / "audit.toml")
    parsed = request.load(here / "audit.toml")
    assert parsed.reference.model == Path("parent.onnx")
    assert parsed.candidate.model == world.folder / "candidate.onnx"
    assert parsed.data.test.path == world.folder / "test.npz"


def test_an_existing_file_is_left_alone(world: World, invoke: Command) -> None:
    before = world.audit.read_bytes()
    paths = ("--reference", world.reference, "--candidate", world.candidate, "--data", world.data)
    result = invoke("init", *paths, "--out", world.audit)
    assert result.returncode == 2
    assert "is there already" in result.stderr
    assert world.audit.read_bytes() == before


def test_a_file_that_appears_meanwhile_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    out = world.folder / "new.toml"
    original = scaffold_text.render

    def slow(*arguments: object) -> str:
        out.write_text("mine")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scaffold_text, "render", slow)
    with pytest.raises(AuditError, match="is there already"):
        told(world, out)
    assert out.read_text() == "mine"


def _no_model(world: World) -> None:
    world.candidate.unlink()


def _no_data(world: World) -> None:
    world.data.unlink()


def _garbage(world: World) -> None:
    world.candidate.write_bytes(b"garbage")


def _other_size(world: World) -> None:
    network(world.candidate, np.zeros((3 * 16 * 16, CLASSES), np.float32), size=16)


def _cut(world: World) -> None:
    world.data.write_bytes(world.data.read_bytes()[:5000])


def _labels_beyond(world: World) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=y + 1)


def _other_classes(world: World) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=y)
    network(world.candidate, np.ones((PIXELS, CLASSES + 1), np.float32))


def _unnamed_class(world: World) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=y.clip(0, 2), classes=np.asarray(NAMES[:3]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_model, "candidate.onnx: cannot be read"),
        (_no_data, "test.npz: cannot be read"),
        (_garbage, "candidate.onnx: not a valid ONNX file"),
        (_other_size, "candidate.onnx: takes inputs of 3 × 16 × 16"),
        (_cut, "test.npz"),
        (_labels_beyond, "label 4"),
        (_other_classes, "reference.onnx has 4 classes, candidate.onnx has 5"),
        (_unnamed_class, "names 3 classes"),
    ],
)
def test_what_cannot_be_opened_leaves_nothing(world: World, spoil: Callable[[World], None], said: str) -> None:
    spoil(world)
    before = sorted(world.folder.iterdir())
    with pytest.raises(AuditError) as error:
        told(world, world.folder / "new.toml")
    assert said in error.value.what
    assert sorted(world.folder.iterdir()) == before


@pytest.mark.quarantined
@pytest.mark.usefixtures("forked")
def test_unreadable_inputs_end_with_2(world: World, invoke: Command) -> None:
    _garbage(world)
    paths = ("--reference", world.reference, "--candidate", world.candidate, "--data", world.data)
    result = invoke("init", *paths)
    assert result.returncode == 2
    assert "candidate.onnx: not a valid ONNX file" in result.stderr
    assert not (world.folder.parent / "audit.toml").exists()


def test_a_name_that_is_no_text_is_refused(world: World) -> None:
    world.candidate = world.candidate.rename(world.folder / os.fsdecode(b"\xff.onnx"))
    with pytest.raises(AuditError, match="UTF-8"):
        told(world, world.folder / "new.toml")


def test_nothing_is_written_among_images(world: World) -> None:
    images = world.folder / "images"
    for label, name in enumerate(NAMES):
        (images / name).mkdir(parents=True)
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[0, label, 0] = 255
        Image.fromarray(pixels).save(images / name / "0.png")
    world.data = images
    with pytest.raises(AuditError, match="among the images"):
        told(world, images / "stop" / "audit.toml")
    report = told(world, world.folder / "new.toml")
    assert "images: 4 items of 3 × 8 × 8 (uint8), 4 classes" in report
    assert "not found" in report  # four items prove nothing
    assert request.load(world.folder / "new.toml").data.test.path == Path("images")


# Weights


def test_weights_get_a_line_to_fill_in(world: World, invoke: Command) -> None:
    torch.manual_seed(0)
    torch.save(Net().state_dict(), world.folder / "candidate.pt")
    paths = ("--reference", world.reference, "--candidate", world.folder / "candidate.pt", "--data", world.data)
    result = invoke("init", *paths, "--out", world.folder / "new.toml")
    assert result.returncode == 0, result.stderr
    assert "candidate.pt: PyTorch state dict; fill in its architecture" in result.stdout
    assert "Fill in what the file asks for, then:" in result.stdout
    assert "reference.onnx: 98.0 % right" in result.stdout
    out = world.folder / "new.toml"
    unfilled = invoke("run", out, "--no-pdf")
    assert unfilled.returncode == 2, unfilled.stderr
    assert "no architecture is named" in unfilled.stderr
    parsed = request.load(out)
    with pytest.raises(AuditError, match="no architecture is named"):
        subjects.load(parsed, out.parent)
    text = out.read_text().replace('# architecture = "FILE:FUNCTION"', 'architecture = "tests.torchnets:net"')
    out.write_text(text.replace("# arguments = {}", "arguments = {}"))
    opened = subjects.load(request.load(out), out.parent)
    assert opened.models[Role.CANDIDATE].format == "PyTorch state dict"


def test_labels_must_fit_beside_weights_too(world: World) -> None:
    torch.save(Net().state_dict(), world.folder / "a.pt")
    _labels_beyond(world)
    with pytest.raises(AuditError, match="label 4"):
        scaffold.write(world.reference, world.folder / "a.pt", world.data, world.folder / "new.toml")
    assert not (world.folder / "new.toml").exists()


def test_weights_alone_are_no_failure(world: World) -> None:
    torch.save(Net().state_dict(), world.folder / "a.pt")
    out = world.folder / "new.toml"
    report = scaffold.write(world.folder / "a.pt", world.folder / "a.pt", world.data, out)
    assert "labels 0 … 3" in report
    assert "not tried" in report and "% right" not in report
    assert out.read_text().count("# architecture = ") == 2
    assert "# FILL IN what your training code used" in out.read_text()
    assert request.load(out).preprocessing == PreprocessingEntry()


# The preprocessing


def test_a_normalised_network_in_another_layout_runs_as_written(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    nhwc = IMAGENET.model_copy(update={"layout": "NHWC"})
    reference = grey.network("reference.onnx", IMAGENET, "NHWC")
    candidate = grey.network("candidate.onnx", IMAGENET, "NHWC")
    report = scaffold.write(reference, candidate, grey.data, tmp_path / "audit.toml")
    parsed = request.load(tmp_path / "audit.toml")
    assert "mean and std of ImageNet, NHWC" in report
    assert (parsed.preprocessing, parsed.candidate.preprocessing) == (nhwc, None)
    opened = subjects.load(parsed, tmp_path)
    batch = next(opened.data[DataRole.TEST].batches(64, np.ones(grey.n, np.bool_)))
    assert np.array_equal(opened.models[Role.REFERENCE](batch.x).numpy().argmax(axis=1), grey.y[:64])


def test_two_layouts_get_two_tables(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    reference, candidate = grey.network("a.onnx", IMAGENET), grey.network("b.onnx", IMAGENET, "NHWC")
    report = scaffold.write(reference, candidate, grey.data, tmp_path / "audit.toml")
    parsed = request.load(tmp_path / "audit.toml")
    assert report.count("100.0 % right") == 2
    assert "mean and std of ImageNet, NCHW and mean and std of ImageNet, NHWC" in report
    assert parsed.preprocessing == IMAGENET
    assert parsed.candidate.preprocessing == IMAGENET.model_copy(update={"layout": "NHWC"})


def test_a_network_that_takes_either_layout_is_tried_in_both(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    reference, candidate = grey.network("a.onnx", IMAGENET, "NHWC"), grey.network("b.onnx", IMAGENET, "NHWC")
    for path in (reference, candidate):
        model = onnx.load(path)
        for axis, size in zip("hwc", model.graph.input[0].type.tensor_type.shape.dim[1:], strict=True):
            size.dim_param = axis
        onnx.save(model, path)
    scaffold.write(reference, candidate, grey.data, tmp_path / "audit.toml")
    assert request.load(tmp_path / "audit.toml").preprocessing == IMAGENET.model_copy(update={"layout": "NHWC"})
    assert "reference  NCHW  mean and std of ImageNet" in (tmp_path / "audit.toml").read_text()


def test_a_candidate_that_wants_something_else_is_warned_of(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    reference, candidate = grey.network("a.onnx", IMAGENET), grey.network("b.onnx", TRAINED["signed"])
    report = scaffold.write(reference, candidate, grey.data, tmp_path / "audit.toml")
    warning = "WARNING: the candidate is clearly better with pixels in [-1, 1] (NCHW)"
    assert warning in report
    assert f"# {warning}" in (tmp_path / "audit.toml").read_text()
    assert request.load(tmp_path / "audit.toml").candidate.preprocessing is None


def test_guessing_is_never_called_found(tmp_path: Path) -> None:
    grey = Grey(tmp_path)
    np.savez(grey.data, x=grey.x, y=np.random.default_rng(3).integers(0, LEVELS, grey.n))
    path = grey.network("a.onnx", IMAGENET)
    report = scaffold.write(path, path, grey.data, tmp_path / "audit.toml")
    assert "not found: nothing tried is clearly better than guessing" in report
    assert "WARNING" not in report
    text = (tmp_path / "audit.toml").read_text()
    assert "# NOT FOUND" in text and "FILL IN" in text and "used below" not in text
    assert request.load(tmp_path / "audit.toml").preprocessing == PreprocessingEntry()
