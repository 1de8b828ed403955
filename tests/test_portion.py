"""Partial runs: a quick look at a part, which decides nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

import audit
from audit import digest, evidence
from audit.data.npz import NpzSource
from audit.data.sample import Sample
from audit.errors import AuditError
from audit.portion import Portion
from audit.types import DataRole
from tests.conftest import Command, summary
from tests.world import Items, World

PARTS = {
    "limit": ("--limit", 100),
    "limit beyond the set": ("--limit", 100_000),
    "only": ("--only", "accuracy", "--only", "integrity"),
    "skip": ("--skip", "functional"),
}


def edited(path: Path, **verdict: object) -> Path:
    """A certificate that claims another verdict, with the id of its new content."""
    record = json.loads(path.read_bytes())
    record["body"]["verdict"].update(verdict)
    record["id"] = digest.of_json(record["body"])
    path.write_bytes(digest.canonical(record))
    return path


@pytest.mark.parametrize("flags", PARTS.values(), ids=PARTS)
def test_a_partial_run_is_not_evaluated(command: Command, world: World, flags: tuple[object, ...]) -> None:
    result = command("run", world.audit, "--no-pdf", "--json", *flags)
    told = summary(result)
    assert (result.returncode, told["verdict"], told["reason"]) == (4, "NOT EVALUATED", "partial-run")
    again = summary(command("judge", world.out, "--no-pdf", "--json"))
    assert (again["exit_code"], again["id"]) == (4, told["id"])
    body = evidence.load(world.out / "evidence.json").body
    assert "left out" in body.deviations[0]
    assert "partial run" in (world.out / "certificate.html").read_text()
    with pytest.raises(AuditError, match="do not follow"):
        evidence.load(edited(world.out / "evidence.json", overall="PASS", accepted=True, exit_code=0))


def test_a_partial_run_states_no_failure(command: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=400, harm=80))
    told = summary(command("run", world.audit, "--no-pdf", "--json", "--limit", 300))
    assert told["exit_code"] == 4
    assert "FAIL" in [part["verdict"] for part in told["criteria"]]  # type: ignore[attr-defined]  # JSON


def test_what_was_skipped_is_not_evaluated(world: World) -> None:
    found = audit.run(world.audit, portion=Portion(skip=("accuracy",)), pdf=False).evidence.body
    by_claim = {part.claim: (part.verdict, part.reason) for part in found.decisions}
    assert by_claim["accuracy.drop"] == ("NOT EVALUATED", "skipped")
    assert by_claim["integrity.duplicates"][0] == "PASS"


def test_a_sample_lends_nothing_to_the_whole_and_a_skipped_check_does(world: World, tmp_path: Path) -> None:
    audit.run(world.audit, portion=Portion(limit=100), out=tmp_path / "sample", pdf=False)
    audit.run(world.audit, portion=Portion(skip=("functional",)), out=tmp_path / "clean", pdf=False)
    lent = [
        audit.run(world.audit, reuse=[tmp_path / lender], out=tmp_path / f"to-{lender}", pdf=False).evidence.run.passes
        for lender in ("sample", "clean")
    ]
    assert [passes["candidate"] for passes in lent] == [400, 0]


def test_the_whole_audit_does_not_go_on_in_the_folder_of_a_part(world: World) -> None:
    audit.run(world.audit, portion=Portion(limit=100), pdf=False)
    with pytest.raises(AuditError, match="holds another audit"):
        audit.run(world.audit, pdf=False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--limit", 0), "leaves no item"),
        (("--skip", "accurasy"), "Did you mean 'accuracy'?"),
        (("--only", "integrity"), "run no network"),
        (("--skip", "accuracy", "--skip", "functional", "--skip", "integrity"), "no check is left"),
        (("--only", "accuracy", "--skip", "integrity"), "both --only and --skip"),
    ],
)
def test_a_part_that_cannot_be_is_refused(command: Command, world: World, flags: tuple[object, ...], said: str) -> None:
    result = command("run", world.audit, *flags)
    assert (result.returncode, world.out.exists()) == (2, False)
    assert said in result.stderr


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_sample_streams_its_items_like_any_source(tmp_path: Path, size: int) -> None:
    x, y = Items(n=150).arrays()
    path = tmp_path / "data.npz"
    np.savez(path, x=np.concatenate([x, x[:5]]), y=np.concatenate([y, y[:5]]))
    whole = NpzSource(path, role=DataRole.TEST)
    sample = Sample(whole, 60)
    rng = np.random.default_rng(1)
    wanted = rng.random(60) < 0.7
    batches = list(sample.batches(size, wanted))
    places = [place for batch in batches for place in range(batch.start, batch.start + len(batch.ids))]
    assert places == np.flatnonzero(wanted).tolist()
    assert all(len({place // size for place in (b.start, b.start + len(b.ids) - 1)}) == 1 for b in batches)
    ids = np.concatenate([batch.ids for batch in batches])
    assert np.array_equal(ids, sample.manifest.ids[wanted])
    by_id = {bytes(i): (image, int(label)) for i, image, label in zip(whole.manifest.ids, x, y, strict=True)}
    for batch in batches:
        assert batch.y is not None
        for own, image, label in zip(batch.ids, batch.x, batch.y, strict=True):
            expected, name = by_id[bytes(own)]
            assert np.array_equal((image.numpy() * 255).round(), expected.transpose(2, 0, 1))
            assert label == name
    assert sample.manifest.duplicates == 5


def test_a_sample_does_not_depend_on_the_order_in_the_file(tmp_path: Path) -> None:
    x, y = Items(n=150).arrays()
    order = np.random.default_rng(2).permutation(150)
    found = []
    for name, rows in (("a", np.arange(150)), ("b", order)):
        np.savez(tmp_path / name, x=x[rows], y=y[rows])
        found.append({bytes(i) for i in Sample(NpzSource(tmp_path / f"{name}.npz"), 40).manifest.ids})
    assert found[0] == found[1] and len(found[0]) == 40
