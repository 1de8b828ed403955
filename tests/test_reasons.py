"""What keeps an audit from starting has a code of its own, which a pipeline may tell apart."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit import console
from tests.conftest import Command
from tests.world import Items, World

pytestmark = [pytest.mark.quarantined, pytest.mark.usefixtures("forked")]


def empty(world: World) -> None:
    x, y = Items(n=4).arrays()
    np.savez(world.data, x=x[:0], y=y[:0])


def unreadable(world: World) -> None:
    for name in ("stop", "yield", "speed", "other"):
        folder = world.folder / "images" / name
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"no picture")
    world.audit.write_text(world.audit.read_text().replace("test.npz", "images"))


def unknown(world: World) -> None:
    world.policy.write_text("alfa = 0.05\n" + world.policy.read_text())


def unused(world: World) -> None:
    world.require("accuracy.dorp", 2.0, "points")


def unmatched(world: World) -> None:
    world.require("accuracy.drop@noise=*", 2.0, "points")


def imageless(world: World) -> None:
    (world.folder / "images" / "stop").mkdir(parents=True)
    world.audit.write_text(world.audit.read_text().replace("test.npz", "images"))


def missing(world: World) -> None:
    world.audit.write_text(world.audit.read_text().replace('model = "candidate.onnx"', ""))


def unset(world: World) -> None:
    head, at, rest = world.policy.read_text().partition("\n[[criterion]]")
    world.policy.write_text(f"{head}[settings.functional]\nepsylon = [0.1]\n{at}{rest}")


def unlisted(world: World) -> None:
    world.policy.write_text('lists.levels = ["2/255"]\n' + world.policy.read_text())


CASES: tuple[tuple[str, Callable[[World], None]], ...] = (
    ("empty-data", empty),
    ("empty-data", imageless),
    ("unreadable-item", unreadable),
    ("unknown-key", unknown),
    ("unknown-key", unset),
    ("missing-key", missing),
    ("unused-criterion", unused),
    ("unmatched-pattern", unmatched),
    ("unused-list", unlisted),
)


@pytest.mark.parametrize(("reason", "spoil"), CASES, ids=lambda case: case if isinstance(case, str) else case.__name__)
def test_the_command_prints_the_code(
    invoke: Command, world: World, reason: str, spoil: Callable[[World], None]
) -> None:
    spoil(world)
    result = invoke("run", world.audit)
    assert (result.returncode, world.out.exists()) == (2, False)
    assert f"reason: {reason}" in result.stderr


def test_the_table_of_codes_is_complete() -> None:
    text = (Path(__file__).parent.parent / "docs" / "fail-closed.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## Codes of what keeps an audit from starting")
    named = set(re.findall(r"`([a-z]+-[a-z]+)`", table))
    assert named == {reason for reason, _ in CASES} | {"empty-class"}


def test_a_code_of_somebody_else_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.error("what", "hint", "[/x]")
    assert "reason: [/x]" in capsys.readouterr().err
