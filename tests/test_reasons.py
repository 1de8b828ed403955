"""What keeps an audit from starting has a code of its own, which a pipeline may tell apart."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.conftest import Command
from tests.world import Items, World


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


CASES: dict[str, Callable[[World], None]] = {
    "empty-data": empty,
    "unreadable-item": unreadable,
    "unknown-key": unknown,
    "unused-criterion": unused,
    "unmatched-pattern": unmatched,
}


@pytest.mark.parametrize(("reason", "spoil"), CASES.items(), ids=CASES)
def test_the_command_prints_the_code(
    command: Command, world: World, reason: str, spoil: Callable[[World], None]
) -> None:
    spoil(world)
    result = command("run", world.audit)
    assert (result.returncode, world.out.exists()) == (2, False)
    assert f"reason: {reason}" in result.stderr
