"""What is installed around the networks is named as it is, and refused where it cannot be named."""

from collections.abc import Iterator
from importlib import metadata

import numpy as np
import pytest
from rich.console import Console

import audit
from audit import console, doctor, runtime
from audit.errors import AuditError, ExitCode
from tests.torchnets import Net
from tests.world import World


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    """Afterwards the versions are asked for again."""
    yield
    runtime.packages.cache_clear()


def installed(patch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        if not name.startswith("onnxruntime"):
            return "1.0"
        if (found := versions.get(name.replace("-", "_"))) is None:
            raise metadata.PackageNotFoundError(name)
        return found

    patch.setattr(metadata, "version", version)
    runtime.packages.cache_clear()


def test_packages_are_named_as_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime_gpu="1.31.1")
    found = runtime.packages()
    assert found["onnxruntime-gpu"] == "1.31.1"
    assert "onnxruntime" not in found
    installed(monkeypatch, onnxruntime="1.32.0")
    assert "onnxruntime-gpu" not in runtime.packages()


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (
            {"onnxruntime": "1.32.0", "onnxruntime_gpu": "1.31.1"},
            "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both",
        ),
        ({}, "onnxruntime is not installed"),
    ],
)
def test_two_packages_of_one_module_or_none_are_refused(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    versions: dict[str, str],
    said: str,
) -> None:
    installed(monkeypatch, **versions)
    for start in (
        lambda: audit.run(world.audit, pdf=False),
        lambda: audit.compare(Net(), Net(), (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)), out=world.out),
    ):
        with pytest.raises(AuditError, match=said) as caught:
            start()
        assert caught.value.code is ExitCode.INPUT and "pip" in caught.value.hint
    assert not world.out.exists()
    monkeypatch.setattr(console, "SCREEN", Console(stderr=True, width=300))
    assert doctor.report() is ExitCode.INPUT
    assert said in " ".join(capsys.readouterr().err.split())
