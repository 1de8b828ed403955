"""Classes in another order, or by other names, never meet: not between models, nor between a model and the data."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from audit import api
from audit.errors import AuditError
from tests.world import NAMES, World

SWAPPED = (NAMES[1], NAMES[0], *NAMES[2:])
RENAMED = (*NAMES[:-1], "else")


def name_in_file(path: Path, names: tuple[str, ...]) -> None:
    model = onnx.load(path)
    model.metadata_props.add(key="names", value=repr(dict(enumerate(names))))
    path.write_bytes(model.SerializeToString())


def name_in_audit_file(world: World, role: str, names: tuple[str, ...]) -> None:
    table = f"[{role}]\n"
    world.audit.write_text(world.audit.read_text().replace(table, f"{table}classes = {[*names]}\n"))


def without_names(world: World) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=y)


def outcome(world: World) -> str:
    try:
        return str(api.run(world.audit, pdf=False).evidence.body.verdict.overall)
    except AuditError as error:
        return error.what


def test_equal_names_are_no_obstacle(tmp_path: Path) -> None:
    world = World(tmp_path)
    name_in_file(world.reference, NAMES)
    name_in_audit_file(world, "candidate", NAMES)
    assert outcome(world) == "PASS"


@pytest.mark.parametrize(("names", "said"), [(SWAPPED, "stand in another order"), (RENAMED, "have other names")])
@pytest.mark.parametrize("role", ["reference", "candidate"])
@pytest.mark.parametrize("place", ["file", "audit file"])
def test_a_model_of_other_classes_than_the_data_is_refused(
    tmp_path: Path, role: str, place: str, names: tuple[str, ...], said: str
) -> None:
    world = World(tmp_path)
    if place == "file":
        name_in_file(tmp_path / f"{role}.onnx", names)
    else:
        name_in_audit_file(world, role, names)
    found = outcome(world)
    assert said in found and f"{role}.onnx" in found


def test_models_of_different_classes_are_refused_where_the_data_name_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    without_names(world)
    name_in_file(world.candidate, SWAPPED)
    assert outcome(world) == "PASS"  # nobody else says what the classes are
    name_in_audit_file(world, "reference", NAMES)
    world.out.rename(tmp_path / "before")
    assert "reference.onnx and candidate.onnx: the classes stand in another order: number 0" in outcome(world)


def test_digits_are_names_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    without_names(world)
    name_in_file(world.candidate, ("1", "0", "2", "3"))
    assert "the classes stand in another order: number 0" in outcome(world)
