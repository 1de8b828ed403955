"""Bad input to `prune-audit run`: the right code, one message that names the culprit, nothing left."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from audit import policy, request
from audit.errors import AuditError, ExitCode
from audit.types import OutputKind
from tests.conftest import Command
from tests.world import CANDIDATE, World, network, weights

Spoil = Callable[[World], None]

pytestmark = [pytest.mark.quarantined, pytest.mark.usefixtures("forked")]


def missing_model(world: World) -> None:
    world.candidate.unlink()


def missing_data(world: World) -> None:
    world.data.unlink()


def truncated_model(world: World) -> None:
    world.candidate.write_bytes(world.candidate.read_bytes()[:-200])


def empty_model(world: World) -> None:
    world.candidate.write_bytes(b"")


def text_as_model(world: World) -> None:
    world.candidate.write_text("these are not the weights you are looking for\n" * 20)


def other_classes(world: World) -> None:
    network(world.candidate, np.pad(CANDIDATE, ((0, 0), (0, 1))))


def more_classes_than_names(world: World) -> None:
    for path in (world.reference, world.candidate):
        network(path, np.pad(CANDIDATE, ((0, 0), (0, 1))))


def other_size(world: World) -> None:
    network(world.candidate, np.zeros((3 * 16 * 16, 4), np.float32), size=16)


def spoil_data(**changes: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(world: World) -> None:
        x, y = world.items.arrays()
        arrays = {"x": x, "y": y}
        arrays.update({name: change(arrays[name]) for name, change in changes.items()})
        np.savez(world.data, **arrays)

    return spoil


def _nan(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32) / 255
    x[7, 3, 3, 1] = np.nan
    return x


def _high(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def _label(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y[5] = 4
    return y


def _negative(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y[5] = -1
    return y


def edit(key: str, value: str) -> Spoil:
    def spoil(world: World) -> None:
        assert key in world.policy.read_text()
        world.policy.write_text(world.policy.read_text().replace(key, value))

    return spoil


def audit_edit(key: str, value: str) -> Spoil:
    def spoil(world: World) -> None:
        assert key in world.audit.read_text()
        world.audit.write_text(world.audit.read_text().replace(key, value))

    return spoil


def pipe_for_model(world: World) -> None:
    world.candidate.unlink()
    os.mkfifo(world.candidate)


def device_for_data(world: World) -> None:
    world.data.unlink()
    world.data.symlink_to("/dev/zero")


def model_that_fails_later(world: World) -> None:
    """Its layer looks the brightest pixel up in a table of one row: a blank trial finds it, an image does not."""
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["brightest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["logits"], axis=0),
    ]
    model = onnx.load(world.candidate)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(CANDIDATE[:1], "table"))
    world.candidate.write_bytes(model.SerializeToString())


def truncated_data(world: World) -> None:
    world.data.write_bytes(world.data.read_bytes()[:5000])


def conflicting_labels(world: World) -> None:
    x, y = world.items.arrays()
    x[1], y[1], y[0] = x[0], 2, 1
    np.savez(world.data, x=x, y=y)


CASES: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "missing model": (missing_model, ("candidate.onnx",)),
    "missing data": (missing_data, ("test.npz",)),
    "truncated ONNX": (truncated_model, ("candidate.onnx", "not a valid ONNX file")),
    "empty ONNX": (empty_model, ("candidate.onnx", "empty")),
    "text called .onnx": (text_as_model, ("candidate.onnx", "not a valid ONNX file")),
    "other classes": (other_classes, ("reference.onnx has 4 classes", "candidate.onnx has 5")),
    "names against outputs": (more_classes_than_names, ("names 4 classes", "have 5 outputs")),
    "other input size": (other_size, ("candidate.onnx", "3 × 16 × 16", "3 × 8 × 8")),
    "label out of range": (spoil_data(y=_label), ("test.npz", "label 4 of item 5")),
    "negative label": (spoil_data(y=_negative), ("test.npz", "label -1 of item 5")),
    "fewer labels than images": (spoil_data(y=lambda y: y[:-3]), ("test.npz", "397 labels for 400 items")),
    "float labels": (spoil_data(y=lambda y: y.astype(float)), ("test.npz", "float64")),
    "empty data": (spoil_data(x=lambda x: x[:0], y=lambda y: y[:0]), ("test.npz", "empty")),
    "object array": (spoil_data(y=lambda y: y.astype(object)), ("test.npz", "Python objects")),
    "NaN pixel": (spoil_data(x=_nan), ("test.npz", "item 7", "nan")),
    "pixels beyond 1": (spoil_data(x=_high), ("test.npz", "outside [0, 1]")),
    "three axes": (spoil_data(x=lambda x: x[..., 0]), ("test.npz", "(400, 8, 8)")),
    "signed integers": (spoil_data(x=lambda x: x.astype(np.int16)), ("test.npz", "int16")),
    "truncated data": (truncated_data, ("test.npz", "not a readable .npz")),
    "one image, two labels": (conflicting_labels, ("test.npz", "items 0 and 1")),
    "unknown policy key": (edit("at_most", "at_mots"), ("policy.toml:10", "at_mots", "at_most")),
    "no such claim": (edit("accuracy.drop", "accuracy.dorp"), ("policy.toml:9", "accuracy.dorp", "accuracy.drop")),
    "wrong unit": (edit('"points"', '"distance"'), ("accuracy.drop is in points",)),
    "vacuous limit": (edit("at_most = 2.0", "at_most = 100.0"), ("cannot fail",)),
    "wrong sense": (edit("at_most", "at_least"), ("Write at_most",)),
    "alpha too large": (edit("alpha = 0.05", "alpha = 0.5"), ("policy.toml:4", "alpha")),
    "alpha not a number": (edit("alpha = 0.05", "alpha = nan"), ("policy.toml:4", "alpha")),
    "not TOML": (edit("alpha =", "alpha ="[:-1]), ("policy.toml", "not valid TOML")),
    "unknown audit key": (audit_edit('model = "candidate', 'modle = "candidate'), ("audit.toml", "modle")),
    "pipe for a model": (pipe_for_model, ("candidate.onnx", "not a regular file")),
    "device for data": (device_for_data, ("test.npz", "not a regular file")),
    "NUL in the name of a model": (
        audit_edit("candidate.onnx", "a\\u0000"),
        ("audit.toml", "candidate.model", "NUL"),
    ),
    "NUL in the name of the data": (audit_edit("test.npz", "a\\u0000"), ("audit.toml:11", "data.test.path", "NUL")),
    "NUL in the output folder": (audit_edit('out = "out"', 'out = "a\\u0000"'), ("audit.toml:2", "out", "NUL")),
    "switch for a limit": (edit("at_most = 2.0", "at_most = true"), ("policy.toml:10", "at_most", "number")),
    "number in quotes": (edit("alpha = 0.05", 'alpha = "0.05"'), ("policy.toml:4", "alpha", "number")),
    "word for a switch": (edit("unit =", 'required = "yes"\nunit ='), ("policy.toml:11", "required", "boolean")),
    "date for a text": (edit('id = "house/1"', "id = 2024-02-29"), ("policy.toml", "2024-02-29 is a date")),
    "number for a file": (audit_edit('"test.npz"', "7"), ("audit.toml:11", "data.test.path")),
    "endless integer": (edit("alpha = 0.05", f"alpha = {'9' * 5000}"), ("policy.toml", "not valid TOML")),
    "endless hexadecimal": (edit("alpha = 0.05", f"alpha = 0x{'f' * 5000}"), ("policy.toml", "no setting takes")),
    "endless brackets": (edit("alpha = 0.05", f"alpha = {'[' * 5000}"), ("policy.toml", "not valid TOML")),
    "deep brackets": (edit("alpha = 0.05", f"alpha = {'[' * 300 + ']' * 300}"), ("policy.toml", "nested too deeply")),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused_by_name(case: str, invoke: Command, world: World) -> None:
    spoil, words = CASES[case]
    spoil(world)
    result = invoke("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT, result.stderr
    message = " ".join(result.stderr.split())
    for word in words:
        assert word in message
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr
    assert not world.out.exists()


def test_a_model_that_fails_on_the_data_is_named(invoke: Command, world: World) -> None:
    model_that_fails_later(world)
    result = invoke("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT, result.stderr
    assert "candidate.onnx: fails on inputs of 3 × 8 × 8" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def subjects(world: World) -> dict[str, object]:
    return {"reference": world.reference, "candidate": world.candidate, "data": world.data}


@pytest.mark.parametrize("flag", ["mean", "std"])
@pytest.mark.parametrize("text", ["", "0.5,", "a", "nan"])
def test_numbers_on_the_command_line_are_numbers(world: World, flag: str, text: str) -> None:
    with pytest.raises(AuditError, match=flag):
        request.combine(None, request.Flags(**subjects(world), **{flag: text}))


def test_whole_numbers_are_numbers(world: World) -> None:
    file, _ = request.combine(None, request.Flags(**subjects(world), mean="1,2,3"))
    assert file.preprocessing.mean == (1.0, 2.0, 3.0)
    edit("at_most = 2.0", "at_most = 2")(world)
    assert policy.read("policy.toml", world.folder).file.criterion[0].at_most == 2


def test_an_audit_file_reads_as_it_is_written(world: World) -> None:
    audit_edit("[candidate]", '[candidate]\noutputs = "probabilities"')(world)
    audit_edit("[data.test]", "[preprocessing]\nrange = [-1, 1.0]\nstd = [0.5, 0.5, 1]\n\n[data.test]")(world)
    file = request.load(world.audit)
    assert file.candidate.outputs is OutputKind.PROBABILITIES
    assert (file.preprocessing.range, file.preprocessing.std) == ((-1.0, 1.0), (0.5, 0.5, 1.0))
    assert (file.candidate.model, file.out) == (Path("candidate.onnx"), Path("out"))


def test_a_name_that_is_not_utf_8_is_refused(world: World) -> None:
    named = {**subjects(world), "data": world.folder / os.fsdecode(b"\xff.npz")}
    with pytest.raises(AuditError, match="surrogates not allowed"):
        request.combine(None, request.Flags(**named))


def test_an_audit_file_that_is_a_pipe_is_refused(world: World) -> None:
    world.audit.unlink()
    os.mkfifo(world.audit)
    with pytest.raises(AuditError, match="not a regular file"):
        request.load(world.audit)


def test_object_arrays_are_never_unpickled(command: Command, world: World) -> None:
    x, y = world.items.arrays()
    flag = world.folder / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (flag,)  # type: ignore[return-value]

    np.savez(world.data, x=x, y=y, classes=np.asarray([Payload()] * 4, dtype=object))
    result = command("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT
    assert not flag.exists()


def test_folder_of_another_audit_is_refused(invoke: Command, world: World) -> None:
    assert invoke("run", world.audit, "--no-pdf").returncode == ExitCode.ACCEPTED
    before = {path: path.read_bytes() for path in world.out.rglob("*") if path.is_file()}
    network(world.candidate, weights(second=30.0))
    result = invoke("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT
    assert "holds another audit" in result.stderr
    assert {path: path.read_bytes() for path in world.out.rglob("*") if path.is_file()} == before


def test_folder_with_other_things_is_refused(invoke: Command, world: World) -> None:
    world.out.mkdir()
    (world.out / "thesis.tex").write_text("do not touch")
    result = invoke("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT
    assert [path.name for path in world.out.iterdir()] == ["thesis.tex"]


def test_unknown_policy_gets_a_suggestion(invoke: Command, world: World) -> None:
    result = invoke("run", world.audit, "--policy", "standart")
    assert result.returncode == ExitCode.INPUT
    assert "Did you mean 'standard" in result.stderr


def test_flags_and_file_together_are_refused(invoke: Command, world: World) -> None:
    result = invoke("run", world.audit, "--candidate", world.candidate)
    assert result.returncode == ExitCode.INPUT
    assert "--candidate" in result.stderr


def test_flags_alone_need_all_subjects(invoke: Command, world: World) -> None:
    result = invoke("run", "--reference", world.reference, "--data", world.data)
    assert result.returncode == ExitCode.INPUT
    assert "--candidate" in result.stderr


def test_unknown_option_is_a_usage_error(command: Command) -> None:
    assert command("run", "--canddate", "x.onnx").returncode == ExitCode.INPUT
