"""Attempts at a PASS that was not earned, and what came of them."""

from pathlib import Path

import pytest

import audit
from audit import registry
from audit.contracts import Check
from audit.evidence import Body
from checks.accuracy import DROP
from tests.world import Items, World

BROKEN = Items(harm=60)
"""A candidate that breaks 15 % of the items: whatever is done, it must not pass."""


def body(world: World, **options: object) -> Body:
    return audit.run(world.audit, pdf=False, **options).evidence.body  # type: ignore[arg-type]


def verdict(found: Body) -> tuple[str, str]:
    return found.verdict.overall, found.verdict.reason


def reason(found: Body, claim: str = DROP.name) -> str:
    return next(part.reason for part in found.decisions if part.claim == claim)


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def use(patch: pytest.MonkeyPatch, *checks: Check) -> None:
    """Let these be the checks, as if a package had brought them."""
    patch.setattr(registry, "load_all", lambda *given: checks)
