"""The evidence file: canonical, sealed, valid by its published schema."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
import rfc8785
from pydantic import ValidationError

import audit
from audit import digest, evidence
from audit.errors import AuditError
from audit.evidence import Evidence, FindingRecord
from tests.conftest import Command
from tests.world import World


@pytest.fixture
def path(world: World) -> Path:
    audit.run(world.audit, pdf=False)
    return world.out / "evidence.json"


def test_file_is_canonical_and_its_id_is_the_digest_of_the_body(path: Path) -> None:
    content = json.loads(path.read_bytes())
    assert path.read_bytes() == rfc8785.dumps(content)
    assert content["id"] == hashlib.sha256(rfc8785.dumps(content["body"])).hexdigest()


def test_file_is_valid_by_the_schema_that_the_command_prints(path: Path, command: Command) -> None:
    schema = json.loads(command("schema", "evidence").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(path.read_bytes())
    jsonschema.validate(content, schema)
    content["body"]["verdict"]["overall"] = "SPLENDID"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


@pytest.mark.parametrize("which", ["policy", "audit"])
def test_every_schema_is_a_schema(command: Command, which: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(command("schema", which).stdout))


def test_body_names_no_place_and_no_time(path: Path, world: World) -> None:
    body = json.dumps(json.loads(path.read_bytes())["body"])
    assert str(world.folder) not in body
    assert "started" not in body


@pytest.mark.parametrize(
    "edit",
    [
        lambda e: e["body"]["verdict"].update(overall="FAIL"),
        lambda e: e["body"]["policy"].update(alpha=0.1),
        lambda e: e.update(id="0" * 64),
        lambda e: e["body"].update(extra=1),
        lambda e: e["body"].pop("decisions"),
    ],
)
def test_an_edit_is_refused(path: Path, edit: object) -> None:
    content = json.loads(path.read_bytes())
    edit(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))
    with pytest.raises(AuditError):
        evidence.load(path)


def test_no_nan_gets_into_evidence() -> None:
    with pytest.raises(ValidationError):
        FindingRecord(claim="a", title="", unit="%", better="at_most", method="", estimate=float("nan"))
    with pytest.raises(ValueError, match="canonical JSON"):
        digest.canonical({"value": float("inf")})


def test_loading_gives_back_what_was_written(path: Path) -> None:
    record = evidence.load(path)
    assert isinstance(record, Evidence)
    assert record.to_bytes() == path.read_bytes()
