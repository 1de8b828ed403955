"""One evidence per kind of outcome, and golden files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from class_samples import of_classes, of_confidence
from corruption_samples import corrupted as corrupted_sample
from noise_samples import crowded as crowded_sample
from noise_samples import noisy as noisy_sample
from report_samples import ADVISORY, BEYOND, CONDITIONAL, HOSTILE, MISSING, WITHIN, build, decision, many
from slice_samples import of_slices

from audit import evidence as ev
from audit.report.view import certificate_number

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture
def golden() -> Callable[[str, str, ev.Evidence], None]:
    """Compare a text with the file of that name; with UPDATE_GOLDENS=1 in the environment, write the file.

    The id is left out: it changes with every field that an evidence gains.
    """

    def compare(name: str, text: str, evidence: ev.Evidence) -> None:
        for form in (evidence.id, evidence.id[:32], evidence.id[32:], certificate_number(evidence)):
            text = text.replace(form, "ID")
        path = GOLDENS / name
        if os.environ.get("UPDATE_GOLDENS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; see UPDATE_GOLDENS in conftest.py"

    return compare


@pytest.fixture
def passing() -> ev.Evidence:
    return build(WITHIN + ADVISORY)


@pytest.fixture
def failing() -> ev.Evidence:
    return build(WITHIN + CONDITIONAL + BEYOND + ADVISORY)


@pytest.fixture
def conditional() -> ev.Evidence:
    return build(WITHIN + CONDITIONAL[:1], accept=("PASS", "CONDITIONAL PASS"))


@pytest.fixture
def missing() -> ev.Evidence:
    return build(WITHIN + MISSING)


@pytest.fixture
def exploratory() -> ev.Evidence:
    return build(WITHIN, exploratory=True, deviations=("Only the first 2,000 items were used (--limit 2000).",))


@pytest.fixture
def forty() -> ev.Evidence:
    return build(many(40) + MISSING + ADVISORY, others=95)


@pytest.fixture
def noisy() -> ev.Evidence:
    return noisy_sample()


@pytest.fixture
def crowded() -> ev.Evidence:
    return crowded_sample()


@pytest.fixture
def corrupted() -> ev.Evidence:
    return corrupted_sample()


@pytest.fixture
def classed() -> ev.Evidence:
    return of_classes()


@pytest.fixture
def sliced() -> ev.Evidence:
    return of_slices()


@pytest.fixture
def confident() -> ev.Evidence:
    return of_confidence()


@pytest.fixture
def empty() -> ev.Evidence:
    return build(())


@pytest.fixture
def hostile() -> ev.Evidence:
    """Every free text that an attacker can reach, and each hostile in every way at once."""
    row = decision(f"per_class.recall.drop@class={HOSTILE}", HOSTILE, 5.0, 9.9, 0.5, why=HOSTILE, detail=HOSTILE)
    parties = ev.Parties(organisation=HOSTILE, requester=HOSTILE, prepared_by=HOSTILE, authorised_by=HOSTILE)
    return build(
        (row, *MISSING),
        deviations=(HOSTILE,),
        name=HOSTILE,
        classes=(HOSTILE,),
        parties=parties,
        not_covered=(HOSTILE,),
    )
