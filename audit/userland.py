"""Code of the user's own that an audit file names as `module:object`: the only foreign code this program runs."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import digest
from audit.digest import Json
from audit.errors import AuditError


@dataclass(frozen=True)
class Factory:
    """A callable that an audit file names, and the arguments it is called with."""

    target: str
    arguments: Mapping[str, Json]
    base: Path

    def make(self) -> Any:
        """What the factory gives; raises AuditError, naming it, for whatever goes wrong inside."""
        with self._named():
            return getattr(self._module(), self.target.partition(":")[2])(**self.arguments)

    def identity(self) -> str:
        """Digest of what decides what the factory gives, as far as one can see: its name, arguments and source file."""
        with self._named():
            source = inspect.getsourcefile(self._module())
            content = digest.of_file(Path(source)) if source else ""
        return digest.of_json({"target": self.target, "arguments": dict(self.arguments), "source": content})

    def _module(self) -> Any:
        folder = str(self.base.resolve())
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(self.target.partition(":")[0])
        finally:
            sys.path.remove(folder)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
            raise AuditError(
                f"{self.target}: {type(error).__name__}: {error}",
                "Correct the name in the audit file, or the code; it is looked for beside the audit file as well.",
            ) from error
