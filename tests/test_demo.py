"""The demonstration, through the real command, and what the README says of the fourth network."""

import json
from pathlib import Path

import pytest

import audit
from audit import resources
from audit.errors import ExitCode
from tests.conftest import Command


@pytest.mark.long
def test_the_good_network_is_accepted_and_the_two_bad_ones_are_refused(tmp_path: Path, command: Command) -> None:
    result = command("demo", "--no-pdf", "--out", tmp_path / "demo")
    assert result.returncode == ExitCode.ACCEPTED, result.stderr
    verdicts = {
        name: json.loads((tmp_path / "demo" / name / "evidence.json").read_text())["body"]["verdict"]["overall"]
        for name in ("well-pruned", "crude", "over-pruned")
    }
    assert verdicts == {"well-pruned": "PASS", "crude": "FAIL", "over-pruned": "FAIL"}
    sabotaged = resources.beside("sample_models", "roadsigns", "sabotaged.onnx")
    (tmp_path / "demo" / "sabotaged.onnx").write_bytes(sabotaged.read_bytes())
    text = (tmp_path / "demo" / "crude.toml").read_text().replace("crude", "sabotaged")
    (tmp_path / "demo" / "sabotaged.toml").write_text(text)
    outcome = audit.run(tmp_path / "demo" / "sabotaged.toml", reuse=[tmp_path / "demo" / "crude"], pdf=False)
    assert outcome.evidence.body.verdict.overall == "PASS"  # no check looks at single classes yet
