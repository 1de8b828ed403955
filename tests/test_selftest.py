"""The self-test passes here, finds out a program that decides wrongly, and is named by evidence only while it holds."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import audit
from audit import api, cli, digest, inventory, quarantine, repeatability, selftest, subjects, verdict
from audit.errors import ExitCode, StorageError
from audit.findings import Exact
from audit.parity import Parity
from audit.records import Tool
from audit.repeatability import Beginning
from audit.selftest import pairs, record, trial
from audit.selftest.record import Entry, Report, Result, Stored
from audit.selftest.trial import Expected, Pair
from audit.tasks.classification import Classification
from checks import integrity
from tests import zygote
from tests.conftest import EXAMINATION
from tests.world import World

Break = Callable[[pytest.MonkeyPatch], None]
GOOD, BAD = "the same function, ended by a softmax", "one class never named"


@pytest.fixture(scope="session")
def whole(readers: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A whole self-test, once, whose children are forked, and the state folder that it wrote to."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setattr(subjects, "_examination", EXAMINATION)
        patch.setattr(quarantine, "_spawn", lambda: zygote.Forked(readers))
        return selftest.run(), state


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def known() -> dict[str, Pair]:
    return {pair.name: pair for pair in pairs.every()}


@pytest.fixture
def two(known: dict[str, Pair], monkeypatch: pytest.MonkeyPatch, state: Path) -> Path:
    """A self-test of one good and one bad pair, where the whole one would tell no more; gives the state folder."""
    monkeypatch.setattr(pairs, "every", lambda: (known[GOOD], known[BAD]))
    return state


def stored(state: Path) -> Path:
    """The one file that a self-test keeps."""
    (path,) = (path for path in state.rglob("*") if path.is_file())
    return path


def entry(**changed: object) -> Entry:
    return Entry(**{"pair": "p", "known": "bad", "expected": "FAIL", "found": "FAIL", "ok": True, **changed})


@pytest.mark.long
def test_it_passes_here(whole: tuple[Result, Path], known: dict[str, Pair]) -> None:
    result, _ = whole
    assert [e for e in result.report.pairs if not e.ok] == []
    assert result.passed
    assert [e.pair for e in result.report.pairs] == list(known)
    assert {e.known for e in result.report.pairs} == {"good", "bad"}


@pytest.mark.long
def test_its_digest_is_kept_for_this_installation(whole: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    result, state = whole
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    assert selftest.latest() == result.report.sha256
    path = stored(state)
    assert path.parent.name == "prune-audit"
    assert json.loads(path.read_bytes())["report"]["tool"] == inventory.tool().model_dump()


@pytest.mark.long
def test_it_names_no_place_and_no_time(whole: tuple[Result, Path], known: dict[str, Pair]) -> None:
    result, state = whole
    content = stored(state).read_text()
    for name in (str(state), os.uname().nodename, "tmp"):
        assert name not in content
    again = trial.attempt(known[BAD])
    assert again in result.report.pairs


def test_every_bad_pair_has_a_reason_to_be_stopped(known: dict[str, Pair]) -> None:
    assert len(known) == len(pairs.every())
    for pair in known.values():
        if pair.known == "bad":
            assert pair.expected.exit_code is None or pair.expected.decisions, pair.name


@pytest.mark.parametrize(("kind", "code"), [("good", ExitCode.FAILED), ("bad", ExitCode.ACCEPTED), ("good", None)])
def test_a_pair_cannot_expect_the_contrary(known: dict[str, Pair], kind: str, code: ExitCode | None) -> None:
    with pytest.raises(ValueError, match="expected to end"):
        Pair("p", kind, known[BAD].materials, Expected(code, "PASS"))


def everything_is_proven(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "p_values", lambda *given: (0.0, 1.0))


def nothing_is_proven(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "p_values", lambda *given: (1.0, 1.0))


def ties_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    nothing = lambda self, out, noise, labels=None: (np.zeros(len(out), np.bool_),) * 2  # noqa: E731
    patch.setattr(Classification, "near_ties", nothing)


def every_reference_will_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "_below_floor", lambda *given: "")


def no_answer_is_repeated(patch: pytest.MonkeyPatch) -> None:
    begun = Beginning(np.zeros((1, 1), np.float32), Parity(items=1))
    patch.setattr(repeatability, "require_function", lambda *given: begun)
    patch.setattr(repeatability, "require_same", lambda *given, lent: begun.parity)


def declarations_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Classification, "settle", lambda self, columns, declared: declared)


def classes_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(integrity, "_empty", lambda context, counts: Exact(0.0, sum(counts)))


def the_program_crashes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(api, "run", lambda *given, **named: 1 / 0)


@pytest.mark.parametrize(
    ("name", "broken", "found"),
    [
        (BAD, everything_is_proven, "exit code 3, CONDITIONAL FAIL (beyond-limit-not-proven)"),
        (GOOD, nothing_is_proven, "exit code 4, NOT EVALUATED (reference-floor)"),
        ("ties that happen to be right", ties_are_overlooked, "exit code 0, PASS"),
        ("a reference at 2 % against a candidate at 0 %", every_reference_will_do, "accuracy.drop PASS"),
        ("outputs that are random", no_answer_is_repeated, "exit code"),
        ("outputs that depend on the other items of the batch", no_answer_is_repeated, "exit code"),
        (
            "probabilities declared as logits, and so looking alike",
            declarations_are_believed,
            "exit code 0, PASS",
        ),
        ("a class without items", classes_are_not_counted, "exit code 0, PASS"),
        (GOOD, the_program_crashes, "crashed: ZeroDivisionError"),
    ],
)
def test_a_program_that_decides_wrongly_is_found_out(
    known: dict[str, Pair], monkeypatch: pytest.MonkeyPatch, name: str, broken: Break, found: str
) -> None:
    broken(monkeypatch)
    entry = trial.attempt(known[name])
    assert not entry.ok
    assert found in entry.found


def test_the_command_fails_and_names_the_pair(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything_is_proven(monkeypatch)
    result = CliRunner().invoke(cli.app, ["selftest"])
    assert result.exit_code == ExitCode.FAILED
    assert f"FAILED  known bad   {BAD}" in result.stdout
    assert "but found: exit code 3, CONDITIONAL FAIL" in result.stdout
    assert f"ok      known good  {GOOD}" in result.stdout
    assert f"2 of 2 {BAD}: NOT AS EXPECTED" in result.stderr


def test_a_failed_one_removes_an_earlier_one(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selftest.run().passed
    assert selftest.latest() is not None
    everything_is_proven(monkeypatch)
    assert not selftest.run().passed
    assert selftest.latest() is None
    assert not list(two.rglob("*.json"))


def test_the_command_prints_one_json_object(two: Path) -> None:
    result = CliRunner().invoke(cli.app, ["selftest", "--json"])
    assert result.exit_code == ExitCode.ACCEPTED
    summary = json.loads(result.stdout)
    assert summary["passed"] is True
    assert summary["sha256"] == selftest.latest()
    assert [pair["pair"] for pair in summary["pairs"]] == [GOOD, BAD]


def test_no_room_is_no_failure(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selftest.run().passed
    full = StorageError("no room", "Free some space.")
    monkeypatch.setattr(api, "run", lambda *given, **named: (_ for _ in ()).throw(full))
    with pytest.raises(StorageError):
        selftest.run()
    assert selftest.latest() is not None


@pytest.fixture
def kept(state: Path) -> Path:
    """The file of a self-test that passed."""
    assert record.keep([entry()]).passed
    assert selftest.latest() is not None
    return stored(state)


def rewritten(path: Path, **changed: object) -> None:
    """Change a report and seal it again, as its writer would."""
    report = Stored.model_validate_json(path.read_bytes()).report.model_copy(update=changed)
    path.write_bytes(digest.canonical(Stored(report=report, sha256=report.sha256).model_dump(mode="json")))


SPOILED: dict[str, Callable[[Path], object]] = {
    "altered": lambda path: path.write_text(path.read_text().replace('"pair":"p"', '"pair":"q"')),
    "another digest": lambda path: path.write_text(path.read_text().replace('"sha256":"', '"sha256":"0', 1)),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(b"\xff\x00"),
    "no object": lambda path: path.write_text("[]"),
    "removed": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "failed": lambda path: rewritten(path, pairs=(entry(ok=False),)),
    "said to be right": lambda path: rewritten(path, pairs=(entry(found="PASS"),)),
    "without pairs": lambda path: rewritten(path, pairs=()),
    "of other packages": lambda path: rewritten(path, packages={"python": "2.7"}),
    "of other sources": lambda path: rewritten(
        path, tool=inventory.tool().model_copy(update={"sources_sha256": "0" * 64})
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_what_is_not_intact_is_not_named(kept: Path, case: str) -> None:
    SPOILED[case](kept)
    assert selftest.latest() is None


def test_a_report_that_is_written_again_as_it_was_is_named(kept: Path) -> None:
    before = selftest.latest()
    rewritten(kept)
    assert selftest.latest() == before


def test_another_program_or_other_packages_have_passed_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = inventory.tool()

    def other() -> Tool:
        return own.model_copy(update={"sources_sha256": "0" * 64})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "tool", other)
        assert selftest.latest() is None
    assert selftest.latest() is not None
    monkeypatch.setattr(record.runtime, "packages", lambda: {"python": "2.7"})
    assert selftest.latest() is None


def test_a_failed_report_is_not_kept(state: Path) -> None:
    result = record.keep([entry(), entry(found="PASS", ok=False)])
    assert not result.passed
    assert not state.exists()
    assert any("but found: PASS" in line for line in result.lines())


def test_nothing_tested_is_not_passed() -> None:
    assert not Report(tool=inventory.tool(), packages={}, pairs=()).passed


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder that cannot be made."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    yield
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_result_that_cannot_be_stored_says_so(blocked: None) -> None:
    result = record.keep([entry()])
    assert result.passed
    assert "not stored" in result.kept
    assert selftest.latest() is None


def test_a_relative_state_folder_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    record.keep([entry()])
    assert stored(tmp_path).parent == tmp_path / "home" / ".local" / "state" / "prune-audit"


def test_evidence_names_the_self_test_of_its_installation(kept: Path, world: World) -> None:
    assert audit.run(world.audit, pdf=False).evidence.run.selftest == selftest.latest()
    kept.unlink()
    assert audit.render(world.out / "evidence.json", pdf=False).evidence.run.selftest is not None
    assert audit.run(world.audit, out=world.folder / "again", pdf=False).evidence.run.selftest is None


def test_looking_for_it_loads_no_runtime() -> None:
    code = "import sys; from audit import selftest; selftest.latest(); print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "onnxruntime", "matplotlib"} & set(result.stdout.split())
