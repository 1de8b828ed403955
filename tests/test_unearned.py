"""Ways to a PASS that was not earned, each of which ended accepted once."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

import audit
from audit import evidence, registry
from audit.contracts import Context, LedgerView
from audit.digest import of_json
from audit.errors import AuditError
from audit.findings import Finding, PairedDifference
from audit.types import Claim
from checks.accuracy import Accuracy
from checks.functional import Functional
from checks.integrity import Integrity
from tests.world import CANDIDATE, Items, World, network


def test_a_file_cannot_borrow_the_name_of_a_built_in_policy(world: World) -> None:
    world.policy.write_text(world.policy.read_text().replace("house/1", "strict/1"))
    with pytest.raises(AuditError, match="the name of a built-in policy"):
        audit.run(world.audit, pdf=False)


def test_an_edited_plan_is_not_judged(world: World) -> None:
    audit.run(world.audit, pdf=False)
    plan = world.out / "plan.json"
    plan.write_text(plan.read_text().replace('"limit":2', '"limit":90'))
    with pytest.raises(AuditError, match="was altered"):
        audit.judge(world.out, pdf=False)


def leaving(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield from ()
    raise SystemExit(0)


def counting_too_much(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield Finding(Claim("accuracy.drop"), PairedDifference(0, 0, 10**6))


@pytest.mark.parametrize("measure", [leaving, counting_too_much])
def test_a_check_that_leaves_or_counts_too_much_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, measure: object
) -> None:
    bad = type("Bad", (Accuracy,), {"measure": measure})
    monkeypatch.setattr(registry, "load_all", lambda *given: (Integrity(), bad(), Functional()))
    verdict = audit.run(world.audit, pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.reason) == ("NOT EVALUATED", "check-crashed")


def test_a_class_without_items_decides_nothing(world: World) -> None:
    x, y = Items(n=800).arrays()
    np.savez(world.data, x=x[y > 0], y=y[y > 0])
    verdict = audit.run(world.audit, pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.reason) == ("NOT EVALUATED", "empty-class")


def test_outputs_of_an_unclear_kind_decide_nothing(world: World) -> None:
    network(world.candidate, np.clip(CANDIDATE, 0, 1) / 100)
    verdict = audit.run(world.audit, pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.accepted) == ("NOT EVALUATED", False)


def test_a_verdict_better_than_its_decisions_is_no_evidence(world: World) -> None:
    world = World(world.folder / "failing", Items(harm=60))
    audit.run(world.audit, pdf=False)
    path = world.out / "evidence.json"
    content = json.loads(path.read_text())
    content["body"]["verdict"].update(overall="PASS", accepted=True, exit_code=0)
    content["id"] = of_json(content["body"])
    path.write_text(json.dumps(content))
    with pytest.raises(AuditError, match="not follow from its decisions"):
        evidence.load(path)


def test_other_code_judges_exploratorily(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.run(world.audit, pdf=False)
    monkeypatch.setattr(registry, "sources", lambda: ())
    verdict = audit.judge(world.out, pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.exploratory, verdict.accepted) == ("PASS", True, False)
