"""Findings of every promised claim, and which are measured again where near ties count against the candidate."""

from pathlib import Path

import numpy as np
import pytest

import audit
from audit.contracts import Context, LedgerView
from audit.evidence import Body
from checks.accuracy import Accuracy
from checks.functional import Functional
from tests.world import CLASSES, Scores, World

LABELS = np.arange(400) % CLASSES
CLEAR = np.where(np.arange(CLASSES) == LABELS[:, None], 255, 40 * np.arange(CLASSES))


def judged(folder: Path, monkeypatch: pytest.MonkeyPatch, *, tied: int) -> tuple[Body, list[str]]:
    """An audit whose policy limits accuracy alone, its candidate with near ties; which checks measured, in order."""
    scores = CLEAR.copy()
    scores[np.flatnonzero(LABELS == 0)[:tied], 1] = 255
    world, measured = World(folder, Scores(LABELS, CLEAR, scores)), []

    def watch(check: type[Accuracy] | type[Functional]) -> None:
        measure = check.measure

        def watched(self: Accuracy | Functional, context: Context, ledger: LedgerView, /) -> object:
            measured.append(check.name)
            return measure(self, context, ledger)  # type: ignore[arg-type]

        monkeypatch.setattr(check, "measure", watched)

    watch(Accuracy)
    watch(Functional)
    return audit.run(world.audit, pdf=False).evidence.body, measured


def test_a_check_that_no_criterion_speaks_of_is_not_measured_against_the_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, measured = judged(tmp_path / "tied", monkeypatch, tied=4)
    drop = next(part for part in body.decisions if part.claim == "accuracy.drop")
    assert measured == ["accuracy", "functional", "accuracy"]
    assert drop.p_pass is not None and drop.p_pass_adverse is not None and drop.p_pass_adverse > drop.p_pass
    assert next(it for it in body.findings if it.claim == "functional.agreement").estimate is not None


def test_without_a_near_tie_nothing_is_measured_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, measured = judged(tmp_path / "clear", monkeypatch, tied=0)
    assert measured == ["accuracy", "functional"]
    assert {part.p_pass_adverse for part in body.decisions} == {None}
