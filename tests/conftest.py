"""Shared fixtures."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit import cli, console, quarantine, subjects
from audit.dataset import DataSource
from audit.errors import AuditError
from audit.report import pdf
from audit.request import AuditFile
from tests import zygote
from tests.attempts import BROKEN
from tests.world import World

COMMAND = Path(sys.executable).parent / "prune-audit"
Command = Callable[..., subprocess.CompletedProcess[str]]
EXAMINATION = subjects._examination
"""With a child, as a run has one."""
READERS = (
    "onnx.checker", "onnx.numpy_helper", "onnxruntime", "torch", "torch._inductor.codecache",
    "torch._export.serde.serialize", "audit.subjects", "networkx", "audit.models.onnx", "audit.models.programs",
)  # fmt: skip
"""What the children that read files import."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is marked `long`: in the worker that gets the first tests, so that none waits for it at the end.

    It also lets one worker set up what these tests share.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _examine_here() -> Iterator[None]:
    """Read files in this process, in fixtures of any scope: a child costs more than a whole audit of a small world.

    Whatever goes through the real command has its child all the same, and so has a test marked `quarantined`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "_examination", _here)
        yield


@pytest.fixture(autouse=True)
def _examine_apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "quarantined" in request.keywords:
        monkeypatch.setattr(subjects, "_examination", EXAMINATION)


@dataclass(frozen=True)
class _Here:
    """A call that was made in this process."""

    found: object

    def result(self) -> object:
        return self.found


@contextmanager
def _here(
    request: AuditFile, base: Path, test: DataSource | None, *, with_torch: bool, trust_code: bool
) -> Iterator[_Here]:
    look = test and subjects.Look.of(test).to_json()
    asked = request.model_dump(mode="json")
    payload = {"request": asked, "base": str(base), "test": look, "trust_code": trust_code}
    yield _Here(json.loads(json.dumps(subjects.examine(payload))))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A pair and a test set that pass."""
    return World(tmp_path / "world")


@pytest.fixture
def broken(tmp_path: Path) -> World:
    """A pair that must not pass, whatever is tried."""
    return World(tmp_path / "broken", BROKEN)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run the installed `prune-audit` as a user would; text of both streams is kept."""

    def call(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path, env=environment, **options
        )

    return call


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """What `command` gives, from this process: for all that is the same without the start of an interpreter."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(each) for each in arguments]
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["prune-audit", *words])
            patch.setattr(console.SCREEN, "_width", 200)
            result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
        return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def readers() -> Iterator[socket.socket]:
    """The channel of a process that forks children which read files."""
    with zygote.started(*READERS) as channel:
        yield channel


@pytest.fixture
def forked(readers: socket.socket, monkeypatch: pytest.MonkeyPatch) -> list[zygote.Forked]:
    """For a test marked `quarantined`: its children are forked, and told here, the latest last."""
    children: list[zygote.Forked] = []

    def spawn() -> zygote.Forked:
        children.append(zygote.Forked(readers))
        return children[-1]

    monkeypatch.setattr(quarantine, "_spawn", spawn)
    return children


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
