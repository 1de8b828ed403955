"""`prune-audit plan` through the real command."""

import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.world import Items, World


def kept(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(("n", "flags", "code"), [(400, (), 0), (60, (), 2), (60, ("--go-on",), 0)])
def test_a_limit_that_cannot_be_proven_ends_with_2_unless_told_to_go_on(
    command: Command, tmp_path: Path, n: int, flags: tuple[str, ...], code: int
) -> None:
    world = World(tmp_path / "w", Items(n=n, errors=2))
    before = kept(tmp_path)
    result = command("plan", world.audit, "--json", *flags)
    assert result.returncode == code
    told = json.loads(result.stdout)
    assert told["can_pass"] is (n == 400)
    drop = next(each for each in told["criteria"] if each["claim"] == "accuracy.drop")
    assert drop["reachable"] is (n == 400)
    assert told["passes"] == {"reference": n, "candidate": n}
    assert kept(tmp_path) == before


def test_the_table_says_which_limit_and_how_many_items(invoke: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=60, errors=2))
    result = invoke("plan", world.audit)
    assert "60 items, 1 probes, 1 draws" in result.stdout
    assert "accuracy.drop: with 60 items not even a candidate that changes nothing" in result.stdout
