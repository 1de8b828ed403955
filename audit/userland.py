"""Code of the user's own that an audit file names as `module:object`: the only foreign code this program runs.

What runs is what the files hold when a factory is first used, whatever the process imported before.
"""

import ast
import importlib
import importlib.util
import linecache
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import accumulate
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from audit import digest
from audit.digest import Json
from audit.errors import AuditError

_INSTALLATIONS = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_KEPT = ("__main__", "audit", "checks")
"""Top-level names that are never imported again: the program that runs, and ours."""
_FIRST_SEEN: dict[Path, str] = {}
"""Digests of installed sources when they were first looked at: a process imports those once."""


@dataclass(frozen=True)
class Factory:
    """A callable that an audit file names, and the arguments it is called with."""

    target: str
    arguments: Mapping[str, Json]
    base: Path

    def make(self) -> Any:
        """What the factory gives; raises AuditError, naming it, for whatever goes wrong inside."""
        with self._named():
            return getattr(self._module, self.target.partition(":")[2])(**self.arguments)

    def identity(self) -> str:
        """Digest of what decides what the factory gives, as far as one can see.

        That is its name, its arguments, and the sources of its module and of every module that those import from
        the audit file's folder or from the factory's own package. A source beside the audit file that was edited
        after it was loaded counts with both contents; raises AuditError where an installed one was.
        """
        with self._named():
            sources = _sources(self._module, self._folder)
        return digest.of_json({"target": self.target, "arguments": dict(self.arguments), "sources": sources})

    @cached_property
    def _folder(self) -> Path:
        return self.base.resolve()

    @cached_property
    def _own(self) -> dict[str, ModuleType]:
        """What was imported from the audit file's folder for this factory, and for no other."""
        return {}

    @cached_property
    def _module(self) -> ModuleType:
        """The module, as the files are at the first call."""
        module = importlib.import_module(self.target.partition(":")[0])
        _sources(module, self._folder)  # before anything runs: installed sources are remembered, or were edited
        return module

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What lies beside the audit file can be imported here, and what goes wrong has a name."""
        try:
            with importable(self._folder):
                _forget(self._folder)
                sys.modules.update(self._own)
                yield
        except AuditError:
            raise
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must be named
            raise AuditError(
                f"{self.target}: {type(error).__name__}: {error}",
                "Correct the name in the audit file, or the code; it is looked for beside the audit file as well.",
            ) from error
        finally:
            self._own.update((name, module) for name, module in sys.modules.items() if _loader(name) is not None)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """What lies in a folder can be imported here, as its files are now."""
    found, finder = str(folder), _Beside(folder)
    sys.path.insert(0, found)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(found)


class _Fresh(SourceFileLoader):
    """Compiles what the file holds now; Python takes bytecode for current by seconds and size alone."""

    sha256 = ""

    def get_code(self, fullname: str) -> CodeType:
        content = self.get_data(self.path)
        self.sha256 = digest.of_bytes(content)
        linecache.clearcache()
        code: CodeType = self.source_to_code(content, self.path)
        return code


@dataclass(frozen=True)
class _Beside:
    """Finds the sources in a folder, those of installations in it aside, and loads them with `_Fresh`."""

    folder: Path

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As importlib asks it; None where the folder has no such source."""
        if name.partition(".")[0] in _KEPT:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return None
        place = Path(spec.origin).resolve()
        if not place.is_relative_to(self.folder) or _installed(place):
            return None
        spec.loader, spec.cached = _Fresh(name, spec.origin), None
        return spec


def _forget(folder: Path) -> None:
    """Forget every module of another factory, and those not installed whose name is one of this folder's.

    Extensions in the folder stay: many cannot be loaded twice. They count as installed code.
    """
    here = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or entry.is_dir()} - {*_KEPT}
    for name, module in tuple(sys.modules.items()):
        if _loader(name) is not None or (name.partition(".")[0] in here and _stale(module, folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


def _stale(module: ModuleType, folder: Path) -> bool:
    """Whether a module was imported by others, from a source in this folder or from anything in another."""
    places = _places(module)
    return any(place.suffix == ".py" or not place.is_relative_to(folder) for place in places if not _installed(place))


def _places(module: ModuleType) -> tuple[Path, ...]:
    """A module's file, or else the folders of a package without one."""
    file = getattr(module, "__file__", None)
    found = (file,) if file else tuple(getattr(module, "__path__", ()))
    return tuple(Path(place).resolve() for place in found)


def _installed(place: Path) -> bool:
    return any(part in _INSTALLATIONS for part in place.parts) or place.is_relative_to(_STANDARD_LIBRARY)


def _loader(name: str) -> _Fresh | None:
    found = getattr(getattr(sys.modules.get(name), "__spec__", None), "loader", None)
    return found if isinstance(found, _Fresh) else None


def _sources(start: ModuleType, base: Path) -> dict[str, Json]:
    """Digests of the sources of a module and of what it imports from `base` or its own package, by module name.

    What has not been imported yet, because a function will, is found by its place.
    """
    packages = _package(start)
    roots = (base, *(package.parent for package in packages))
    found: dict[str, Json] = {}
    waiting = [start.__name__]
    while waiting:
        name = waiting.pop()
        path = _file(name, roots)
        if name in found or path is None:
            continue
        if name == start.__name__ or any(path.is_relative_to(folder) for folder in (base, *packages)):
            content = path.read_bytes()
            found[name] = _digest(name, path, content)
            waiting += _parents(name)
            if path.suffix == ".py":
                waiting += _imported(content, name if path.name == "__init__.py" else name.rpartition(".")[0])
    return found


def _package(module: ModuleType) -> tuple[Path, ...]:
    """The folder of the package that a module belongs to; nothing for a module of its own."""
    top = sys.modules.get(module.__name__.partition(".")[0])
    return tuple(Path(place).resolve() for place in getattr(top, "__path__", ()))


def _file(name: str, roots: Sequence[Path]) -> Path | None:
    """The file of a module: the one it was loaded from, or where it lies; None where there is none."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return Path(file).resolve() if file else None
    places = (root.joinpath(*name.split(".")) for root in roots)
    files = (file for place in places for file in (place / "__init__.py", place.with_name(f"{place.name}.py")))
    return next((file.resolve() for file in files if file.is_file()), None)


def _digest(name: str, path: Path, content: bytes) -> Json:
    """The digest of a source; of what was loaded and of what lies there now where these differ."""
    now, loader = digest.of_bytes(content), _loader(name)
    if loader is not None:
        return now if loader.sha256 == now else [loader.sha256, now]
    if name in sys.modules and _FIRST_SEEN.setdefault(path, now) != now:
        raise AuditError(f"{path}: changed after this process imported it", "Run the audit again in a new process.")
    return now


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Names of what may be modules in the import statements of a source, wherever in it they stand."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _parents(name: str) -> list[str]:
    """The packages that are run before a module."""
    return list(accumulate(name.split(".")[:-1], "{}.{}".format))
