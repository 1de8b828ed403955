"""docs/fail-closed.md stays true: its tests exist, its codes are those of the program."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ExitCode

HOME = Path(__file__).parent.parent


@dataclass(frozen=True)
class Row:
    """One way, as docs/fail-closed.md states it."""

    number: str
    way: str
    result: str
    where: str
    test: str


def table() -> list[Row]:
    lines = (HOME / "docs" / "fail-closed.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| *\d", line)]
    return [Row(*row) for row in cells]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def literals() -> set[str]:
    """Every string of the program, docstrings aside."""
    found: set[str] = set()
    for folder in ("audit", "checks"):
        for path in (HOME / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in bare)
            found |= {node.value for node in strings if isinstance(node.value, str)}
    return found


def defined_in(name: str) -> set[str]:
    tree = ast.parse((HOME / "tests" / name).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_has_at_least_forty_rows_numbered_in_order() -> None:
    numbers = [row.number for row in table()]
    assert len(numbers) >= 40
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert len({row.way for row in table()}) == len(numbers)


def test_every_test_that_the_table_names_is_there() -> None:
    named = [name for row in table() for name in quoted(row.test)]
    assert all(quoted(row.test) for row in table())
    absent = [name for name in named if name.partition("::")[2] not in defined_in(name.partition("::")[0])]
    assert absent == []


def test_every_reason_code_of_the_table_is_one_of_the_program() -> None:
    known = literals() | {f"exit {int(code)}" for code in ExitCode if code is not ExitCode.ACCEPTED}
    assert all(quoted(row.result) or row.result.startswith("no effect: ") for row in table())
    assert [code for row in table() for code in quoted(row.result) if code not in known] == []


def test_every_module_of_the_table_is_there() -> None:
    assert all(quoted(row.where) for row in table())
    assert [name for row in table() for name in quoted(row.where) if not (HOME / name).is_file()] == []
