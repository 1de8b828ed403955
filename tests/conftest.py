"""Shared fixtures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import AuditError
from audit.report import pdf
from tests.world import World

COMMAND = Path(sys.executable).parent / "prune-audit"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A pair and a test set that pass."""
    return World(tmp_path / "world")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run the installed `prune-audit` as a user would; text of both streams is kept."""

    def call(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path, env=environment, **options
        )

    return call


def unavailable(what: str) -> None:
    """Skip a test that needs a tool this machine lacks; where the tools were to be installed, fail it."""
    if os.environ.get("PRUNE_AUDIT_REQUIRE_TOOLS"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def pango() -> None:
    """The system library under WeasyPrint."""
    try:
        pdf.load_weasyprint()
    except AuditError as error:
        unavailable(str(error))


def summary(result: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What `--json` printed."""
    loaded: dict[str, object] = json.loads(result.stdout)
    return loaded
