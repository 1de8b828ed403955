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
        try:
            own[entry.name] = entry.load()()
        except Exception as error:  # code of others: whatever it does, it must be named
            raise AuditError(
                f"check {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}",
                "Mend or uninstall the package that brings it.",
            ) from error
    return tuple(own.values())


def sources() -> tuple[Path, ...]:
    """Where the code that decides lies: our packages, and the package or module of every further check."""
    others = {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)}
    files = [Path(importlib.import_module(name).__file__ or "") for name in sorted(others)]
    return (HOME / "audit", HOME / "checks", *(f.parent if f.name == "__init__.py" else f for f in files))


def names(found: Sequence[Check]) -> tuple[str, ...]:
    """The names of checks."""
    return tuple(check.name for check in found)


def _load(target: str) -> Check:
    module, _, attribute = target.partition(":")
    check: Check = getattr(importlib.import_module(module), attribute)()
    return check
