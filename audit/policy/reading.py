"""Finding a policy by its name, and reading it."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from audit import configuration
from audit.errors import AuditError
from audit.policy.entries import PolicyFile
from audit.storage import exists

BUILT_IN = Path(__file__).parent.parent / "policies"


@dataclass(frozen=True, slots=True)
class Source:
    """A policy as it is written: parsed, as text, and what its file is called."""

    file: PolicyFile
    text: str
    label: str

    @property
    def built_in(self) -> bool:
        return self.file.id in available()

    def entry(self, table: str, index: int, key: str = "claim") -> str:
        """`NAME:LINE` of a key in the `index`-th `[[table]]`."""
        return f"{self.label}{configuration.line_in(self.text, table, key, index)}"

    def key(self, name: str, table: str = "") -> str:
        """`NAME:LINE` of a key of the file, or of one of its tables."""
        return f"{self.label}{configuration.line_in(self.text, table, name)}"

    def unknown_checks(self, known: Collection[str]) -> tuple[AuditError, ...]:
        """What names a check that is not among those known, or that does not run."""
        chosen = self.file.checks
        problems = [
            AuditError(
                f"{self.key('checks')}: no check of this audit is named {name!r}",
                configuration.did_you_mean(name, set(known)),
            )
            for name in chosen or ()
            if name not in known
        ]
        running = set(known if chosen is None else chosen)
        problems += [
            AuditError(
                f"{self.key('', f'settings.{name}')}: settings for {name!r}, which is no check that runs",
                configuration.did_you_mean(name, running),
            )
            for name in self.file.settings
            if name not in running
        ]
        return tuple(problems)


def read(name: str, base: Path) -> Source:
    """A built-in policy such as `standard` or `standard/1`, or a file, whose path is relative to `base`."""
    built_in = available()
    path = built_in.get(name, base / name)
    if not exists(path):
        hint = configuration.did_you_mean(Path(name).name, set(built_in))
        raise AuditError(f"policy {name!r}: neither a built-in policy nor a file", hint)
    text = configuration.read_text(path)
    file = configuration.parse(text, path.name, PolicyFile)
    if name not in built_in and file.id in built_in:
        raise AuditError(
            f"{path}: calls itself {file.id!r}, the name of a built-in policy", "Give it an id of its own."
        )
    return Source(file, text, path.name)


def available() -> dict[str, Path]:
    """Built-in policies by name, each also under its bare name for the newest version."""
    found: dict[str, Path] = {}
    for path in sorted(BUILT_IN.glob("*.toml"), key=lambda p: (len(p.stem), p.stem)):
        name, _, version = path.stem.rpartition("-")
        found[name] = found[f"{name}/{version}"] = path
    return found


def slug(name: str) -> str:
    """A policy's id as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
