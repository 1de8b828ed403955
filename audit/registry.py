"""Which checks there are: our own, and those that other packages announce."""

import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import checks
from audit.contracts import Check
from audit.errors import AuditError
from audit.resources import HOME

GROUP = "prune_audit.checks"


def load_all() -> tuple[Check, ...]:
    """Every check, our own first; raises AuditError when `checks` is not the package beside `audit`.

    `checks` is a generic name: a folder of that name in the working directory must not decide a verdict.
    """
    found = Path(checks.__file__ or "").resolve().parent
    if found != HOME / "checks":
        raise AuditError(
            f"the checks would come from {found}, not from this installation",
            "Start prune-audit from another folder, or rename that one.",
        )
    own = {name: _load(target) for name, target in checks.CHECKS.items()}
    for entry in entry_points(group=GROUP):
        if entry.name in own:
            raise AuditError(f"two packages bring a check named {entry.name!r}", "Uninstall one of them.")
        own[entry.name] = entry.load()()
    return tuple(own.values())


def names(found: Sequence[Check]) -> tuple[str, ...]:
    """The names of checks."""
    return tuple(check.name for check in found)


def _load(target: str) -> Check:
    module, _, attribute = target.partition(":")
    check: Check = getattr(importlib.import_module(module), attribute)()
    return check
