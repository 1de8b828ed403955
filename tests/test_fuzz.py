"""300 damaged model files through the door that every file goes through: refused by name, or accepted as themselves."""

import signal
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from audit import digest, evidence, subjects
from audit.contracts import Model
from audit.errors import AuditError, ExitCode
from audit.request import AuditFile
from audit.types import Role
from tests import fuzzing, fuzzing_onnx, fuzzing_pt2, world, zygote
from tests.conftest import Command
from tests.fuzzing import Files, Mutant
from tests.tinynets import CLASSES, INPUT

NUMBER, PARTS = 150, 5
"""Mutants of each format, and tests that share them."""
SECONDS = 120.0
"""More than any of them needs on a busy machine, and much less than forever."""
ITEMS = torch.from_numpy(np.random.default_rng(0).random((3, *INPUT), np.float32))

pytestmark = pytest.mark.quarantined


@cache
def of_onnx() -> tuple[Mutant, ...]:
    return tuple(fuzzing.mutants(fuzzing_onnx.originals(), fuzzing_onnx.MUTATIONS, NUMBER))


@cache
def of_pt2() -> tuple[Mutant, ...]:
    return tuple(fuzzing.mutants(fuzzing_pt2.originals(), fuzzing_pt2.MUTATIONS, NUMBER))


@dataclass
class Door:
    """Opens model files as a run does; `children` are the processes that read, the latest last."""

    folder: Path
    children: list[zygote.Forked]

    def open(self, name: str, files: Files, *, trust_code: bool = False) -> Model | AuditError:
        """The candidate of an audit whose reference is sound, or the reason why it is refused, which names it."""
        folder = self.folder / name
        write(folder, files)
        entries = {"reference": {"model": "sound.onnx"}, "candidate": {"model": next(iter(files))}}
        request = AuditFile.model_validate({**entries, "policy": "standard", "data": {"test": {"path": "test.npz"}}})
        try:
            return subjects.load(request, folder, trust_code=trust_code).models[Role.CANDIDATE]
        except AuditError as error:
            assert str(folder) in error.what or next(iter(files)) in error.what, (name, error.what)
            assert error.code == ExitCode.INPUT and error.hint
            assert "took longer" not in error.what, name
            return error
        except RuntimeError as error:  # a bug of ours, with the traceback of the child
            pytest.fail(f"{name}: {error}")

    @property
    def watched(self) -> set[str]:
        """What code from files the latest child ran, as far as the interpreter tells."""
        text = self.children[-1].said.decode(errors="replace")
        return {line for line in text.splitlines() if line.startswith(zygote.MARK)}


def write(folder: Path, files: Files) -> None:
    """A folder with files, a sound network and a small test set."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    world.network(folder / "sound.onnx", np.ones((prod(INPUT), CLASSES), np.float32), size=INPUT[1])
    x = np.random.default_rng(0).integers(0, 256, (40, *INPUT[1:], INPUT[0]), dtype=np.uint8)
    np.savez(folder / "test.npz", x=x, y=np.arange(40) % CLASSES)


@pytest.fixture
def door(tmp_path: Path, forked: list[zygote.Forked], monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(subjects, "SECONDS", SECONDS)
    return Door(tmp_path, forked)


def require_itself(model: Model, mutant: Mutant, originals: dict[str, Files], folder: Path) -> None:
    """What was accepted is known by its own bytes, and answers or says by name that it cannot."""
    assert model.sha256 not in {identity(files) for files in originals.values()}, mutant.name
    try:
        assert model(ITEMS).shape[0] == len(ITEMS)
    except AuditError as error:
        assert str(folder / mutant.name) in error.what
    model.verify_unchanged()


def identity(files: Files) -> str:
    """The digest by which a model of these files is known."""
    (_, content), *others = files.items()
    own = digest.of_bytes(content)
    return digest.of_json({"": own, **{n: digest.of_bytes(c) for n, c in others}}) if others else own


def ended(found: Model | AuditError) -> bool:
    """Whether a planted payload has run."""
    return isinstance(found, AuditError) and f"status {fuzzing_pt2.ENDED}" in found.what


def part(mutants: tuple[Mutant, ...], number: int) -> tuple[Mutant, ...]:
    """Each kind of damage about once."""
    size = NUMBER // PARTS
    return mutants[number * size : (number + 1) * size]


def test_the_originals_are_accepted(door: Door) -> None:
    for name, files in (fuzzing_onnx.originals() | fuzzing_pt2.originals()).items():
        model = door.open(name, files, trust_code="model.pt2" in files)
        assert not door.watched
        assert not isinstance(model, AuditError), model
        assert model.sha256 == identity(files)


@pytest.mark.parametrize("number", range(PARTS))
def test_onnx_mutants_are_refused_by_name_or_accepted_as_themselves(door: Door, number: int) -> None:
    refused = 0
    for mutant in part(of_onnx(), number):
        found = door.open(mutant.name, mutant.files)
        assert not door.watched, (mutant.name, door.watched)
        refused += isinstance(found, AuditError)
        if not isinstance(found, AuditError):
            require_itself(found, mutant, fuzzing_onnx.originals(), door.folder)
    assert 0 < refused < NUMBER // PARTS


@pytest.mark.parametrize("number", range(PARTS))
def test_programs_that_nobody_trusts_are_refused_and_run_nothing(door: Door, number: int) -> None:
    for mutant in part(of_pt2(), number):
        found = door.open(mutant.name, mutant.files)
        assert isinstance(found, AuditError), mutant.name
        assert not door.watched and not ended(found), (mutant.name, door.watched)


@pytest.mark.parametrize("number", range(PARTS))
def test_trusted_programs_run_nothing_from_where_numbers_belong(door: Door, number: int) -> None:
    original, accepted, alike = fuzzing_pt2.originals()["small"]["model.pt2"], 0, 0
    for mutant in part(of_pt2(), number):
        found = door.open(mutant.name, mutant.files, trust_code=True)
        if not isinstance(found, AuditError):
            require_itself(found, mutant, fuzzing_pt2.originals(), door.folder)
            accepted += 1
        if fuzzing_pt2.same_program(mutant.files["model.pt2"], original):
            assert not door.watched and not ended(found), (mutant.name, door.watched)
            alike += 1
    assert accepted and alike


def test_what_runs_is_noticed(door: Door) -> None:
    mutant = next(each for each in of_pt2() if "payload_weight" in each.name)
    assert ended(door.open(mutant.name, mutant.files, trust_code=True))
    assert door.watched == {f"{zygote.MARK}pickle.find_class ('posix', '_exit')"}


def test_a_network_that_never_ends_is_ended(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "SECONDS", 5.0)
    with pytest.raises(AssertionError, match="endless"):
        door.open("endless", {"model.onnx": fuzzing_onnx.endless()})
    assert door.children[-1].wait() == -signal.SIGKILL


@pytest.mark.parametrize("number", [0, 5, 6, 16, 23, 27, 44, 110])
@pytest.mark.usefixtures("forked")
def test_the_command_ends_as_it_should_with_onnx_mutants(tmp_path: Path, invoke: Command, number: int) -> None:
    require_end(invoke, tmp_path / "audit", of_onnx()[number])


@pytest.mark.parametrize("number", [8, 12, 14, 39])
@pytest.mark.usefixtures("forked")
def test_the_command_ends_as_it_should_with_mutants_of_programs(tmp_path: Path, invoke: Command, number: int) -> None:
    assert require_end(invoke, tmp_path / "audit", of_pt2()[number]) == ExitCode.INPUT


@pytest.mark.parametrize("number", [0, 5])
def test_the_installed_command_ends_as_it_should(tmp_path: Path, command: Command, number: int) -> None:
    require_end(command, tmp_path / "audit", of_onnx()[number])


def require_end(command: Command, folder: Path, mutant: Mutant) -> int:
    """Refused by name, or judged as the file that it is; gives the exit code."""
    write(folder, mutant.files)
    policy = folder / "policy.toml"
    policy.write_text(world.POLICY.format(id="house/1", accept='["PASS"]'))
    (folder / "audit.toml").write_text(
        'policy = "policy.toml"\nout = "out"\n[reference]\nmodel = "sound.onnx"\n[data.test]\npath = "test.npz"\n'
        f'[candidate]\nmodel = "{mutant.model}"\n'
    )
    result = command("run", folder / "audit.toml", "--no-pdf")
    assert "Traceback" not in result.stderr
    if result.returncode == ExitCode.INPUT:
        assert mutant.model in result.stderr
        return result.returncode
    assert result.returncode in (ExitCode.FAILED, ExitCode.NOT_EVALUATED), result.stderr
    models = evidence.load(folder / "out" / "evidence.json").body.models
    assert models[1].sha256 == identity(mutant.files)
    return result.returncode
