"""The evidence file: canonical, sealed, valid by its published schema."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rfc8785
from pydantic import ValidationError

import audit
from audit import digest, evidence
from audit.errors import AuditError
from audit.evidence import Evidence, FindingRecord
from tests.conftest import Command
from tests.world import Items, World


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An audit that passed; what alters it copies it."""
    world = World(tmp_path_factory.mktemp("finished") / "world")
    audit.run(world.audit, pdf=False)
    return world


@pytest.fixture
def path(finished: World, tmp_path: Path) -> Path:
    """A copy of its evidence."""
    return Path(shutil.copy(finished.out / "evidence.json", tmp_path))


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
def test_every_schema_is_a_schema(invoke: Command, which: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(invoke("schema", which).stdout))


def test_body_names_no_place_and_no_time(path: Path, finished: World) -> None:
    body = json.dumps(json.loads(path.read_bytes())["body"])
    assert str(finished.folder) not in body
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


RANKS = ("PASS", "CONDITIONAL PASS", "CONDITIONAL FAIL", "NOT EVALUATED", "FAIL")
CODES = {"PASS": 0, "NOT EVALUATED": 4, "FAIL": 1}
ITEMS = {
    "PASS": Items(),
    "CONDITIONAL PASS": Items(n=60, errors=2),
    "CONDITIONAL FAIL": Items(n=60, errors=2, harm=2),
    "NOT EVALUATED": Items(n=60, errors=20),
    "FAIL": Items(harm=60),
}


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bodies of real audits, by their verdict."""
    found = {}
    for name, items in ITEMS.items():
        record = audit.run(World(tmp_path_factory.mktemp("world"), items).audit, pdf=False).evidence
        assert record.body.verdict.overall == name
        found[name] = json.dumps(record.model_dump(mode="json"))
    return found


def drop(body: Any) -> Any:
    """The decision on the loss of accuracy."""
    return next(part for part in body["decisions"] if part["claim"] == "accuracy.drop")


def restate(body: Any) -> None:
    """Let the verdict follow from the decisions, as a careful forger does."""
    names = [p["verdict"] for p in body["decisions"] if p["required"] and p["applicable"] and not p["waiver"]]
    overall = max(names, key=RANKS.index)
    body["verdict"] |= {
        "overall": overall, "accepted": overall == "PASS", "exit_code": CODES.get(overall, 3),
        "counts": {name: names.count(name) for name in RANKS},
    }  # fmt: skip


def loaded(folder: Path, content: str, edit: Callable[[Any], object]) -> Evidence:
    """The evidence after an edit, under its right id."""
    record = json.loads(content)
    edit(record["body"])
    record["id"] = digest.of_json(record["body"])
    path = folder / "evidence.json"
    path.write_bytes(digest.canonical(record))
    return evidence.load(path)


@pytest.mark.parametrize("name", RANKS)
def test_evidence_of_every_verdict_loads_as_it_is_restated(tmp_path: Path, bodies: dict[str, str], name: str) -> None:
    assert loaded(tmp_path, bodies[name], restate).to_bytes() == digest.canonical(json.loads(bodies[name]))


@pytest.mark.parametrize("name", RANKS)
@pytest.mark.parametrize("other", RANKS)
def test_no_decision_has_another_verdict_than_its_figures(
    tmp_path: Path, bodies: dict[str, str], name: str, other: str
) -> None:
    def edit(body: Any) -> None:
        drop(body)["verdict"] = other
        restate(body)

    if name == other:
        assert loaded(tmp_path, bodies[name], edit)
    else:
        with pytest.raises(AuditError, match=f"accuracy.drop is not {other} by its own figures"):
            loaded(tmp_path, bodies[name], edit)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exit_code": 3},
        {"exit_code": 4},
        {"counts": dict.fromkeys(RANKS, 0)},
        {"counts": {"FAIL": 1}},
        {"counts": {}},
    ],
)
def test_exit_code_and_counts_follow_from_the_decisions(
    tmp_path: Path, bodies: dict[str, str], wrong: dict[str, object]
) -> None:
    with pytest.raises(AuditError, match="do not follow from its decisions"):
        loaded(tmp_path, bodies["FAIL"], lambda body: body["verdict"].update(wrong))


def test_a_margin_is_the_distance_from_the_limit(tmp_path: Path, bodies: dict[str, str]) -> None:
    def edit(body: Any) -> None:
        drop(body).update(verdict="CONDITIONAL PASS", margin=0.5)
        restate(body)

    with pytest.raises(AuditError, match=r"accuracy\.drop is not CONDITIONAL PASS by its own figures"):
        loaded(tmp_path, bodies["CONDITIONAL FAIL"], edit)


def test_a_near_tie_keeps_a_decision_from_passing(tmp_path: Path, bodies: dict[str, str]) -> None:
    def edit(body: Any) -> None:
        drop(body)["p_pass_adverse"] = 0.06

    with pytest.raises(AuditError, match=r"accuracy\.drop is not PASS by its own figures"):
        loaded(tmp_path, bodies["PASS"], edit)


def test_a_decision_is_in_the_unit_of_its_criterion(tmp_path: Path, bodies: dict[str, str]) -> None:
    with pytest.raises(AuditError, match="not those that its policy asks for"):
        loaded(tmp_path, bodies["PASS"], lambda body: drop(body).update(unit="distance"))


@pytest.mark.parametrize("measured", [True, False])
def test_only_what_was_not_tested_does_not_apply(tmp_path: Path, bodies: dict[str, str], measured: bool) -> None:
    """Beside a criterion of its series that passes, what is below the floor need not count; what failed must."""
    none = dict.fromkeys(("p_pass", "p_fail", "p_fail_holm", "p_pass_adverse"))

    def edit(body: Any) -> None:
        part = drop(body)
        rule = next(rule for rule in body["policy"]["criteria"] if rule["claim"] == "accuracy.drop")
        gain = {"sense": "at_least", "limit": -50}
        sure = {"margin": part["estimate"] + 50.0, "p_pass": 0.0, "p_fail": 1.0, "p_fail_holm": 1.0, "verdict": "PASS"}
        body["policy"]["criteria"].append({**rule, **gain})
        body["decisions"].append({**part, **gain, **sure, "p_pass_adverse": None})
        rule["only_where_reference_holds"] = True
        part.update(applicable=False, reason="reference-floor")
        if not measured:
            part.update(none, verdict="NOT EVALUATED")
        restate(body)

    if measured:
        with pytest.raises(AuditError, match=r"accuracy\.drop counts, whatever it says"):
            loaded(tmp_path, bodies["FAIL"], edit)
    else:
        assert loaded(tmp_path, bodies["FAIL"], edit).body.verdict.overall == "PASS"


def test_an_estimate_that_prints_as_the_limit_may_lie_beyond_it(tmp_path: Path) -> None:
    """29 of 1,000 are 2.9 points, and the nearest number to 0.029 lies beyond that to 2.9 / 100."""
    world = World(tmp_path / "world", Items(n=1000, harm=29), limit=2.9)
    part = next(p for p in audit.run(world.audit, pdf=False).evidence.body.decisions if p.claim == "accuracy.drop")
    assert (part.margin, part.verdict) == (0.0, "CONDITIONAL FAIL")
    assert evidence.load(world.out / "evidence.json")
