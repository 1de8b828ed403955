"""Code of the user's own that an audit file names as `module:object`: the only foreign code this program runs."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
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
        """Digest of what decides what the factory gives, as far as one can see.

        That is its name, its arguments, and the sources of its module and of every module that those import from
        the audit file's folder or from the factory's own package.
        """
        with self._named():
            sources = _sources(self._module(), (self.base.resolve(), *_package(self._module())))
        return digest.of_json({"target": self.target, "arguments": dict(self.arguments), "sources": sources})

    def _module(self) -> Any:
        return importlib.import_module(self.target.partition(":")[0])

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What lies beside the audit file can be imported here, and what goes wrong has a name."""
        folder = str(self.base.resolve())
        sys.path.insert(0, folder)
        try:
            yield
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
            raise AuditError(
                f"{self.target}: {type(error).__name__}: {error}",
                "Correct the name in the audit file, or the code; it is looked for beside the audit file as well.",
            ) from error
        finally:
            sys.path.remove(folder)


def _package(module: ModuleType) -> tuple[Path, ...]:
    """The folder of the package that a module belongs to; nothing for a module of its own."""
    top = sys.modules.get(module.__name__.partition(".")[0])
    return tuple(Path(place).resolve() for place in getattr(top, "__path__", ()))


def _sources(start: ModuleType, folders: tuple[Path, ...]) -> dict[str, str]:
    """Digests of the sources of a module and of what it imports from these folders, by module name."""
    found: dict[str, str] = {}
    waiting = [start.__name__]
    while waiting:
        module = sys.modules.get(waiting.pop())
        file = getattr(module, "__file__", None)
        if module is None or module.__name__ in found or not file:
            continue
        path = Path(file).resolve()
        if path.suffix == ".py" and (module is start or any(path.is_relative_to(folder) for folder in folders)):
            found[module.__name__] = digest.of_file(path)
            waiting += _imported(path.read_bytes(), module)
    return found


def _imported(source: bytes, module: ModuleType) -> Iterator[str]:
    """Names of what may be modules in the import statements of a source, wherever in it they stand."""
    package = module.__package__ or ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
