"""Checks that lie, crash or keep silent; ledgers that were touched. None of it may end as PASS."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit import asking, plan, registry
from audit.contracts import Ask, Check, Context, LedgerView
from audit.errors import AuditError
from audit.findings import Finding, PairedDifference
from audit.ledger import Ledger
from audit.types import PAIR, Claim, Role
from checks.accuracy import Accuracy
from checks.functional import Functional
from checks.integrity import Integrity
from checks.perturbations.clean import Clean
from tests.world import World

Measure = Callable[[Accuracy, Context, LedgerView], Iterator[Finding]]


def silent(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield from ()


def crashing(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield from Accuracy.measure(self, context, ledger)
    raise ZeroDivisionError


def unasked(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    ledger.trace(Clean("other"))
    ledger.trace(Dirty())
    yield from ()


class Dirty(Clean):
    def canonical(self) -> dict[str, str]:
        return {"probe": "dirty"}


def unpromised(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield from Accuracy.measure(self, context, ledger)
    yield Finding(Claim("accuracy.drop", (("k", "7"),)), PairedDifference(0, 0, 100_000))


def twice(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield from Accuracy.measure(self, context, ledger)
    yield Finding(Claim("accuracy.drop"), PairedDifference(0, 0, 100_000))


def impossible(self: Accuracy, context: Context, ledger: LedgerView) -> Iterator[Finding]:
    yield Finding(Claim("accuracy.drop"), PairedDifference(-5, 0, 100))


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (silent, "not-measured"),
        (crashing, "check-crashed"),
        (unasked, "check-crashed"),
        (unpromised, "check-crashed"),
        (twice, "check-crashed"),
        (impossible, "check-crashed"),
    ],
)
def test_a_bad_check_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, measure: Measure, reason: str
) -> None:
    bad = type("Bad", (Accuracy,), {"measure": measure})
    monkeypatch.setattr(registry, "load_all", lambda *given: (Integrity(), bad(), Functional()))
    verdict = audit.run(world.audit, pdf=False).evidence.body.verdict
    assert (verdict.overall, verdict.reason) == ("NOT EVALUATED", reason)


def test_a_claim_outside_the_catalogue_cannot_be_promised() -> None:
    class Liar(Accuracy):
        def ask(self, context: Context, /) -> Ask:
            return Ask((), (Claim("accuracy.wonderful"),))

    with pytest.raises(RuntimeError, match="may not promise"):
        asking.ask([Liar()], Context(("a", "b")))


def test_two_checks_cannot_promise_the_same_claim() -> None:
    checks: list[Check] = [Accuracy(), Accuracy()]
    with pytest.raises(RuntimeError, match="may not promise"):
        asking.ask(checks, Context(("a", "b")))


def observations(world: World) -> list[Path]:
    """What the two models left under the clean probe."""
    fixed = plan.load(world.out)
    keys = [key for role in PAIR for key in fixed.keys(role, fixed.plan.probes[0])]
    return sorted(world.out / "ledger" / "observations" / f"{key}.parquet" for key in keys)


def test_a_flipped_bit_in_the_ledger_is_found(world: World) -> None:
    audit.run(world.audit, pdf=False)
    path = observations(world)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(AuditError, match=path.name):
        audit.judge(world.out, pdf=False)


def test_exchanged_observations_are_found(world: World) -> None:
    audit.run(world.audit, pdf=False)
    first, second = observations(world)
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    with pytest.raises(AuditError, match="does not match its seal"):
        audit.judge(world.out, pdf=False)


def test_exchanged_observations_with_exchanged_seals_are_found(world: World) -> None:
    audit.run(world.audit, pdf=False)
    first, second = observations(world)
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    seals = world.out / "ledger" / "manifest.jsonl"
    text = seals.read_text().replace(first.stem, "§").replace(second.stem, first.stem).replace("§", second.stem)
    seals.write_text(text)
    with pytest.raises(AuditError, match="is another observation"):
        audit.judge(world.out, pdf=False)


def test_a_missing_observation_is_found(world: World) -> None:
    audit.run(world.audit, pdf=False)
    observations(world)[0].unlink()
    with pytest.raises(AuditError, match="cannot be read"):
        audit.judge(world.out, pdf=False)


def test_a_torn_last_line_only_costs_a_second_measurement(world: World) -> None:
    before = audit.run(world.audit, pdf=False).evidence.body
    seals = world.out / "ledger" / "manifest.jsonl"
    lines = seals.read_text().splitlines(keepends=True)
    seals.write_text("".join(lines[:-3]) + lines[-3][:-20])  # the last two hold the noise of the runtimes
    after = audit.run(world.audit, pdf=False).evidence
    assert after.body == before
    assert sum(after.run.passes.values()) == 400


def test_a_model_that_changes_on_disk_during_the_audit_is_noticed(world: World) -> None:
    def swap(what: str, done: int, total: int) -> None:
        world.candidate.write_bytes(world.reference.read_bytes())

    with pytest.raises(AuditError, match="changed during the audit"):
        audit.run(world.audit, pdf=False, progress=swap)
    assert not (world.out / "evidence.json").exists()


def test_data_that_change_on_disk_during_the_audit_are_noticed(world: World) -> None:
    def touch(what: str, done: int, total: int) -> None:
        world.data.write_bytes(world.data.read_bytes())

    with pytest.raises(AuditError, match="changed during the audit"):
        audit.run(world.audit, pdf=False, progress=touch)


Doctor = Callable[[dict[str, NDArray[Any]]], None]


def doctored(world: World, change: Doctor, roles: tuple[Role, ...]) -> str:
    """Seal changed observations as if they had been measured, judge again; what stood against them, or ''."""
    audit.run(world.audit, pdf=False)
    fixed = plan.load(world.out)
    ledger = Ledger(world.out / "ledger")
    for role in roles:
        (key,) = fixed.keys(role, fixed.plan.probes[0])
        columns = {name: values.copy() for name, values in ledger.get(key).items()}
        change(columns)
        ledger.put({key: columns})
    try:
        body = audit.judge(world.out, pdf=False).evidence.body
    except AuditError as error:
        return error.what
    details = " ".join(part.detail for part in body.decisions if part.required)
    return f"{body.verdict.reason} {details}" if body.verdict.overall == "NOT EVALUATED" else ""


def other_item(columns: dict[str, NDArray[Any]]) -> None:
    columns["id"][7, 0] ^= 1


def other_order(columns: dict[str, NDArray[Any]]) -> None:
    columns["id"][:] = np.roll(columns["id"], 1, axis=0)


def other_label(columns: dict[str, NDArray[Any]]) -> None:
    columns["label"][7] = (columns["label"][7] + 1) % 4


def other_draw(columns: dict[str, NDArray[Any]]) -> None:
    columns["draw"][7] = 1


def fewer_items(columns: dict[str, NDArray[Any]]) -> None:
    for name in columns:
        columns[name] = columns[name][:-1]


def same_item_twice(columns: dict[str, NDArray[Any]]) -> None:
    twin = np.flatnonzero(columns["label"] == columns["label"][0])[1]
    columns["id"][twin] = columns["id"][0]


DIFFERENCE = r"differ|match|mismatch|not (?:the|those)|other than|digest|twice|duplicate|fewer"


@pytest.mark.parametrize("role", PAIR)
@pytest.mark.parametrize("change", [other_item, other_order, other_label, other_draw, fewer_items])
def test_observations_of_other_items_are_not_joined(world: World, change: Doctor, role: Role) -> None:
    assert re.search(DIFFERENCE, doctored(world, change, (role,)))


def test_an_item_that_is_observed_twice_decides_nothing(world: World) -> None:
    assert re.search(DIFFERENCE, doctored(world, same_item_twice, PAIR))


def test_observations_that_are_sealed_again_unchanged_are_judged(world: World) -> None:
    assert doctored(world, lambda columns: None, PAIR) == ""
