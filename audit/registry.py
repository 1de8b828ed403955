"""Which checks there are: our own, and those that other packages announce."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import checks
from audit import configuration
from audit.contracts import Check
from audit.errors import AuditError
from audit.evidence import SettingsRecord
from audit.resources import HOME

GROUP = "prune_audit.checks"


def load_all(wanted: Sequence[str] | None = None, settings: SettingsRecord | None = None) -> tuple[Check, ...]:
    """The wanted checks, or every one, with their settings; our own first.

    Raises AuditError for an unknown name or setting, and when `checks` is not the package beside `audit`: that
    is a generic name, and a folder of that name in the working directory must not decide a verdict.
    """
    found = Path(checks.__file__ or "").resolve().parent
    if found != HOME / "checks":
        raise AuditError(
            f"the checks would come from {found}, not from this installation",
            "Start prune-audit from another folder, or rename that one.",
        )
    makers, given = _makers(), settings or {}
    for name in (*(wanted or ()), *given):
        if name not in makers:
            raise AuditError(f"no check is named {name!r}", configuration.did_you_mean(name, set(makers)))
    chosen = [name for name in makers if wanted is None or name in wanted]
    return tuple(_configured(name, makers[name](), given.get(name, {})) for name in chosen)


def known() -> frozenset[str]:
    """The names of all checks."""
    return frozenset(_makers())


def _makers() -> dict[str, Callable[[], Any]]:
    """The class of every check, by name; imported when called."""
    makers: dict[str, Callable[[], Any]] = {name: _own(target) for name, target in checks.CHECKS.items()}
    for entry in entry_points(group=GROUP):
        if entry.name in makers:
            raise AuditError(f"two packages bring a check named {entry.name!r}", "Uninstall one of them.")
        makers[entry.name] = _foreign(entry)
    return makers


def _own(target: str) -> Callable[[], Any]:
    module, _, attribute = target.partition(":")
    return lambda: getattr(importlib.import_module(module), attribute)


def _foreign(entry: EntryPoint) -> Callable[[], Any]:
    def load() -> Any:
        try:
            return entry.load()
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
            raise _cannot_load(entry.name, error) from error

    return load


def _configured(name: str, made: Any, settings: Mapping[str, object]) -> Check:
    """A check with its settings, the fields of its dataclass, validated by their types."""
    if settings and not (dataclasses.is_dataclass(made) and dataclasses.fields(made)):
        raise AuditError(f"check {name!r} has no settings", f"Remove [settings.{name}] from the policy.")
    try:
        check: Check = _validated(made, settings) if settings else made()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise AuditError(f"[settings.{name}] {key}: {first['msg']}", f"See `prune-audit checks {name}`.") from error
    except AuditError:
        raise
    except (Exception, SystemExit) as error:  # code of others, as above
        raise _cannot_load(name, error) from error
    return check


def _validated(made: Any, settings: Mapping[str, object]) -> Any:
    known = {field.name for field in dataclasses.fields(made)}
    if unknown := settings.keys() - known:
        raise AuditError(
            f"check {made.name!r} has no setting {min(unknown)!r}",
            configuration.did_you_mean(min(unknown), known),
            "unknown-key",
        )
    return TypeAdapter(made).validate_python(dict(settings))


def _cannot_load(name: str, error: BaseException) -> AuditError:
    return AuditError(
        f"check {name!r} cannot be loaded: {type(error).__name__}: {error}",
        "Mend or uninstall the package that brings it.",
    )


def sources() -> tuple[Path, ...]:
    """Where the code that decides lies: our packages, and the package or module of every further check."""
    others = {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)}
    return (HOME / "audit", HOME / "checks", *(place for name in sorted(others) for place in _places(name)))


def _places(name: str) -> Iterator[Path]:
    """The folders of a package, of which a namespace package has several, or the file of a module."""
    found = importlib.util.find_spec(name)
    if found is not None and found.submodule_search_locations:
        yield from map(Path, found.submodule_search_locations)
    elif found is not None and found.origin is not None and Path(found.origin).is_file():
        yield Path(found.origin)
    else:
        raise AuditError(f"package {name!r}: its code cannot be found", "Mend or uninstall the package of its check.")


def names(found: Sequence[Check]) -> tuple[str, ...]:
    """The names of checks."""
    return tuple(check.name for check in found)
