"""The data sets of torchvision, by class name: the test split, and no connection unless one is asked for."""

import importlib
import inspect
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.configuration import did_you_mean
from audit.data.objects import Objects
from audit.data.values import Layout
from audit.digest import Json
from audit.errors import AuditError

_SET_HERE = {"root": "root", "download": "download"}
_NO_VALUES = ("transform", "target_transform", "transforms", "loader", "is_valid_file")
"""Parameters that take code, which an audit file cannot hold."""
_TESTS = ("test", "val")
_NOT_TRAINING: Mapping[str, Json] = {"train": False, "background": False, "version": "2021_valid", "classes": "val"}
"""Which value of a parameter, by its name, means items that were not trained on: most have `train` or `split`,
Omniglot has `background`, INaturalist `version` and LSUN `classes`."""


def load(name: str, root: Path, download: bool, arguments: Mapping[str, Json], layout: Layout) -> Objects:
    """A data set of torchvision; its test split, where it has splits and `arguments` name none.

    Raises AuditError for an unknown name or argument, and for data that are not in `root`. Opens no connection
    unless `download` is true.
    """
    made = _class(name)
    parameters = _parameters(made)
    _check(name, parameters, arguments)
    given = dict(_NOT_TRAINING) | {"root": str(root), "download": download} | dict(arguments)
    data = _make(name, made, {key: value for key, value in given.items() if key in parameters}, parameters, root)
    return Objects(data, f"torchvision {name}", _names(data), layout)


def _class(name: str) -> Any:
    datasets: Any = importlib.import_module("torchvision.datasets")  # only where it is asked for: it takes a second
    known = {
        key
        for key in datasets.__all__
        if isinstance(getattr(datasets, key), type) and issubclass(getattr(datasets, key), datasets.VisionDataset)
    } - {"VisionDataset"}
    if name not in known:
        raise AuditError(f"torchvision has no data set {name!r}", did_you_mean(name, known))
    return getattr(datasets, name)


def _parameters(made: type) -> dict[str, inspect.Parameter]:
    """Parameters by name; a class that hands on what it does not know has those of its base as well."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(made):
        own = inspect.signature(base).parameters
        found = {key: value for key, value in own.items() if value.kind is not value.VAR_KEYWORD} | found
        if all(value.kind is not value.VAR_KEYWORD for value in own.values()):
            break
    return found


def _check(name: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Json]) -> None:
    for key in arguments:
        if key in _SET_HERE:
            raise AuditError(f"torchvision {name}: {key!r} among the arguments", f"Write {key} = … beside torchvision.")
        if key not in parameters or key in _NO_VALUES:
            raise AuditError(
                f"torchvision {name}: takes no argument {key!r}",
                did_you_mean(key, set(parameters) - set(_SET_HERE) - set(_NO_VALUES)),
            )
    given = {*arguments, *_SET_HERE}
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            hint = "That is code: write a factory." if key in _NO_VALUES else f"Add arguments = {{ {key} = … }}."
            raise AuditError(f"torchvision {name}: needs the argument {key!r}", hint)


def _make(name: str, made: Any, given: dict[str, Json], parameters: Mapping[str, object], root: Path) -> Any:
    """The data set; of its splits the first in `_TESTS` that it knows, where `given` does not settle it."""
    settled = "split" not in parameters or "split" in given or "train" in given
    try:
        if settled:
            return made(**given)
        try:
            return made(**given, split=_TESTS[0])
        except ValueError as error:
            if "split" not in str(error):
                raise
            return made(**given, split=_TESTS[1])
    except Exception as error:  # code of others on files of others: whatever goes wrong must be named
        raise _failure(name, given, root, error) from error


def _failure(name: str, given: Mapping[str, Json], root: Path, error: Exception) -> AuditError:
    what = f"torchvision {name}: cannot be opened in {root} ({type(error).__name__}: {error})"
    match error:
        case ImportError():
            return AuditError(what, "Install what it needs.")
        case ValueError() | TypeError():
            return AuditError(what, "Correct the arguments.")
        case _ if given.get("download"):
            return AuditError(what, "Look at the connection, or put the data there yourself.")
        case _ if "download" in given:
            return AuditError(what, "Put the data there, or let torchvision fetch them: download = true.")
    return AuditError(what, "Put the data there; torchvision cannot fetch these itself.")


def _names(data: Any) -> tuple[str, ...]:
    """The class names it states; a name that two classes share gets their numbers, and synonyms are joined."""
    stated = getattr(data, "classes", None)
    if not isinstance(stated, (list, tuple)):
        return ()
    names = [", ".join(map(str, name)) if isinstance(name, (list, tuple)) else str(name) for name in stated]
    count = Counter(names)
    return tuple(f"{name} ({index})" if count[name] > 1 else name for index, name in enumerate(names))
