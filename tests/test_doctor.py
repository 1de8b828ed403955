"""What `doctor` finds on this machine, and on one that lacks something."""

import pytest

from audit import doctor, registry
from audit.errors import AuditError, ExitCode
from audit.report import pdf
from tests.conftest import Command


def lacking(*given: object) -> None:
    raise AuditError("it is not there", "Install it.")


def test_it_names_libraries_and_checks(command: Command) -> None:
    result = command("doctor")
    assert result.returncode == 0
    for name in ("onnxruntime", "CPUExecutionProvider", "integrity", "accuracy", "functional", "noise"):
        assert name in result.stderr


def test_without_pango_audits_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pdf, "load_weasyprint", lacking)
    assert doctor.report() is ExitCode.ACCEPTED
    assert "Install it." in capsys.readouterr().err


def test_without_checks_none_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_all", lacking)
    assert doctor.report() is ExitCode.INPUT
