"""Partial runs: a quick look at a part, which decides nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def edited(path: Path, change: Callable[[Any], None]) -> Path:
    """A certificate that says something else, with the id of its new content."""
    record = json.loads(path.read_bytes())
    change(record["body"])
    record["id"] = digest.of_json(record["body"])
    path.write_bytes(digest.canonical(record))
    return path


@pytest.mark.parametrize("flags", PARTS.values(), ids=PARTS)
def test_a_partial_run_is_not_evaluated(invoke: Command, world: World, flags: tuple[object, ...]) -> None:
    result = invoke("run", world.audit, "--no-pdf", "--json", *flags)
    told = summary(result)
    assert (result.returncode, told["verdict"], told["reason"]) == (4, "NOT EVALUATED", "partial-run")
    again = summary(invoke("judge", world.out, "--no-pdf", "--json"))
    assert (again["exit_code"], again["id"]) == (4, told["id"])
    body = evidence.load(world.out / "evidence.json").body
    assert "left out" in body.deviations[0]
    assert "partial run" in (world.out / "certificate.html").read_text()


def test_a_partial_run_states_no_failure(invoke: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=400, harm=80))
    told = summary(invoke("run", world.audit, "--no-pdf", "--json", "--limit", 300))
    assert told["exit_code"] == 4
    assert "FAIL" in [part["verdict"] for part in told["criteria"]]  # type: ignore[attr-defined]  # JSON


def passing(body: Any) -> None:
    body["verdict"].update(overall="PASS", accepted=True, exit_code=0)


def unmarked(body: Any) -> None:
    passing(body)
    body["plan"]["partial"], body["deviations"] = None, []


def unsaid(body: Any) -> None:
    body["deviations"] = ["a warm day"]


@pytest.mark.parametrize(
    ("change", "said"),
    [(passing, "do not follow"), (unmarked, "its plan is not the one"), (unsaid, "does not say so")],
)
def test_a_part_does_not_pass_for_the_whole(world: World, change: Callable[[Any], None], said: str) -> None:
    audit.run(world.audit, portion=Portion(limit=300), pdf=False)
    with pytest.raises(AuditError, match=said):
        evidence.load(edited(world.out / "evidence.json", change))


def test_every_check_named_is_a_partial_run_all_the_same(world: World) -> None:
    every = Portion(only=("accuracy", "functional", "integrity"))
    body = audit.run(world.audit, portion=every, pdf=False).evidence.body
    assert (body.verdict.overall, body.deviations[0].partition("; ")[2]) == (
        "NOT EVALUATED",
        "left out: nothing, this time",
    )


def test_another_policy_evaluates_a_part_no_better(world: World) -> None:
    audit.run(world.audit, portion=Portion(skip=("functional",)), pdf=False)
    other = world.folder / "other.toml"
    other.write_text(world.policy.read_text().replace("house/1", "house/2").replace("at_most = 2.0", "at_most = 3.0"))
    verdict = audit.judge(world.out, policy_name=str(other), pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.exploratory) == ("NOT EVALUATED", True)


def test_a_limit_holds_for_every_data_set(world: World) -> None:
    shifted = Items(n=350, seed=5).save(world.folder / "shifted.npz")
    world.audit.write_text(world.audit.read_text() + f'\n[data.shifted]\npath = "{shifted.name}"\n')
    body = audit.run(world.audit, portion=Portion(limit=90), pdf=False).evidence.body
    assert [(data.role, data.items) for data in body.data] == [("test", 90), ("shifted", 90)]
    assert body.deviations[0].endswith("310 of 400 items of the test data; 260 of 350 items of the shifted data")


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
        (("--only", "integrity"), "need no network"),
        (("--skip", "accuracy", "--skip", "functional", "--skip", "integrity"), "no check is left"),
        (("--only", "accuracy", "--skip", "integrity"), "both --only and --skip"),
    ],
)
def test_a_part_that_cannot_be_is_refused(invoke: Command, world: World, flags: tuple[object, ...], said: str) -> None:
    result = invoke("run", world.audit, *flags)
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
    assert sample.manifest.duplicates == 2  # five of 155, in proportion


def test_a_sample_does_not_depend_on_the_order_in_the_file(tmp_path: Path) -> None:
    x, y = Items(n=150).arrays()
    order = np.random.default_rng(2).permutation(150)
    found = []
    for name, rows in (("a", np.arange(150)), ("b", order)):
        np.savez(tmp_path / name, x=x[rows], y=y[rows])
        found.append({bytes(i) for i in Sample(NpzSource(tmp_path / f"{name}.npz"), 40).manifest.ids})
    assert found[0] == found[1] and len(found[0]) == 40
