"""What a user says of the test items, such as weather, sensor or site: in a CSV, in arrays beside the items, in Python.

A CSV has a header. Its column `item` says which item a row is about: by its path below the folder, else by its number
among the stored items, from 0; without that column the rows are the stored items in their order. Every other column is
an attribute. Values are text, taken as they are but for the space around them.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit import inputs
from audit.data import archive
from audit.data.folder import Folder
from audit.data.indexed import IndexedSource
from audit.data.masks import MaskedFolder
from audit.data.npz import NpzSource
from audit.dataset import Attribute
from audit.errors import AuditError

ITEM = "item"
MOST = 16
"""Attributes."""
VALUES = 1000
"""Values of an attribute."""
LONGEST = 100
"""Characters of a name or a value."""
BYTES = 2**26
"""Bytes of a CSV."""
_EXPECTED = "Expected a CSV in UTF-8: a header, and for every stored item one row with a value of each attribute."
_STORED = "Expected an array of strings, integers or booleans, one per stored item; give names to ranges of numbers."
_PYTHON = "Give a mapping from names to sequences of strings, integers or booleans, one for each item."
_FEW = "An attribute divides the items into a few groups."
_NAMED = "Name every attribute once, in a word."

Source = NpzSource | IndexedSource


def read(source: Source, given: Path | tuple[str, ...]) -> tuple[Attribute, ...]:
    """The attributes of all stored items, by name: those of a CSV, or of the arrays of an `.npz` that are named.

    Raises AuditError, naming line and column or item and array, for what is not sound, and where an item has not
    exactly one value of each.
    """
    if isinstance(given, Path):
        found = _of_csv(given, _names(source))
    elif type(source) is NpzSource:
        found = _of_arrays(source, given)
    else:
        raise AuditError(f"{source.name}: is no .npz, and attributes = [...] names arrays of one", _EXPECTED)
    return _sorted(found)


def of_values(given: Mapping[str, Sequence[object]], items: int, place: str) -> tuple[Attribute, ...]:
    """The same from Python: by name, for every stored item a string, an integer or a boolean."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise AuditError(f"{place}: attributes are no mapping by name", _PYTHON)
    named = {name.strip(): values for name, values in given.items()}
    columns = _columns([name.strip() for name in given], items, _Form(place, "item", "attribute"))
    for column in columns:
        values, where = named[column.name], f"{place}: attribute {column.name!r}"
        in_line = isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.ndim == 1)
        if not in_line or isinstance(values, str | bytes) or len(values) != items:
            raise AuditError(f"{where}: is not a sequence of {items} values", _PYTHON)
        for item, value in enumerate(values):
            if not isinstance(value, str | int | np.integer | np.bool_) or isinstance(value, Enum):
                raise AuditError(f"{where}: item {item} is a {type(value).__name__}", _PYTHON)
            column.put(item, _text(value, f"{where}: item {item}"), item)
    return _sorted(columns)


def _text(value: object, where: str) -> str:
    try:
        return str(value)
    except ValueError as error:  # more digits than Python prints
        raise AuditError(f"{where}: cannot be written ({error})", _PYTHON) from error


def _sorted(columns: Sequence["_Column"]) -> tuple[Attribute, ...]:
    return tuple(sorted((column.attribute() for column in columns), key=lambda attribute: attribute.name))


def _names(source: Source) -> Sequence[str]:
    """What a CSV calls each of the stored items."""
    match source:
        case IndexedSource(items=Folder() | MaskedFolder() as folder):
            return folder.paths
    return [str(number) for number in range(source.size)]


@dataclass(frozen=True, slots=True)
class _Form:
    """What errors call the parts of a file: a value stands at a `unit` of some number, in a `part` of some name."""

    file: Path | str
    unit: str
    part: str


@dataclass(slots=True)
class _Column:
    """One attribute while it is read; `codes` are those of `known`."""

    name: str
    form: _Form
    codes: NDArray[np.uint16]
    known: dict[str, int] = field(default_factory=dict)

    def put(self, item: int, text: str, number: int) -> None:
        """Take in the value of an item, found at that number; raises AuditError for one that cannot be."""
        value = text.strip()
        if value not in self.known:
            self._take(value, f"{self.form.file}: {self.form.unit} {number}, {self.form.part} {self.name!r}")
        self.codes[item] = self.known[value]

    def _take(self, value: str, where: str) -> None:
        if not value:
            raise AuditError(f"{where}: is empty", "Write what is not known as a word too.")
        _require_nameable(value, where)
        if len(self.known) == VALUES:
            raise AuditError(f"{where}: {_shown(value)} is one value more than {VALUES}", _FEW)
        self.known[value] = len(self.known)

    def attribute(self) -> Attribute:
        """What was read; raises AuditError where it groups nothing."""
        if len(self.known) == len(self.codes) > 1:
            raise AuditError(
                f"{self.form.file}: {self.form.part} {self.name!r} has another value for every item",
                f"{_FEW} The column of a CSV that says which item is meant is called {ITEM}.",
            )
        values = sorted(self.known)
        ranks = {value: rank for rank, value in enumerate(values)}
        return Attribute(self.name, tuple(values), np.asarray([ranks[value] for value in self.known], "u2")[self.codes])


def _columns(names: Sequence[str], items: int, form: _Form) -> list[_Column]:
    """None of them filled; raises AuditError for names that cannot be, and for too many."""
    if not 0 < len(names) <= MOST:
        raise AuditError(f"{form.file}: holds {len(names)} attributes", f"Give at least one and at most {MOST}.")
    for at, name in enumerate(names):
        if not name or name in names[:at]:
            what = f"two {form.part}s are called {name!r}" if name else f"one {form.part} has no name"
            raise AuditError(f"{form.file}: {what}", _NAMED)
        _require_nameable(name, f"{form.file}: a {form.part}")
    return [_Column(name, form, np.zeros(items, np.uint16)) for name in names]


def _require_nameable(text: str, where: str) -> None:
    """It becomes part of the names of claims."""
    if len(text) > LONGEST:
        raise AuditError(f"{where}: {_shown(text)} is longer than {LONGEST} characters", _NAMED)
    if not text.isprintable():
        raise AuditError(f"{where}: {_shown(text)} holds a character that cannot be printed", _NAMED)


def _shown(text: str) -> str:
    """A text of others for an error, on one line and not too long."""
    return repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r}…"


def _of_csv(path: Path, items: Sequence[str]) -> list[_Column]:
    lines = csv.reader(io.StringIO(_content(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if near := next((name for name in header if name != ITEM and name.casefold() == ITEM), ""):
            raise AuditError(f"{path}: a column is called {near!r}", f"Write {ITEM}, if it says which item is meant.")
        named = header.index(ITEM) if ITEM in header else None
        names = header if named is None else header[:named] + header[named + 1 :]
        if named is not None and ITEM in names:
            raise AuditError(f"{path}: two columns are called {ITEM!r}", _NAMED)
        columns = _columns(names, len(items), _Form(path, "line", "column"))
        numbered = ((lines.line_num, cells) for cells in lines)
        for item, line, values in _rows(path, numbered, items, named, len(header)):
            for column, value in zip(columns, values, strict=True):
                column.put(item, value, line)
    except csv.Error as error:
        raise AuditError(f"{path}: line {lines.line_num}: is not valid CSV ({error})", _EXPECTED) from error
    return columns


def _content(path: Path) -> str:
    size = inputs.regular(path, _EXPECTED).st_size
    if size > BYTES:
        raise AuditError(f"{path}: holds {size} bytes, more than {BYTES}", _EXPECTED)
    content = b""
    try:
        with path.open("rb") as stream:
            content = stream.read(BYTES)
        return content.decode("utf-8-sig")
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", _EXPECTED) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AuditError(f"{path}: line {line}: is not UTF-8 ({error.reason})", _EXPECTED) from error


def _rows(
    path: Path, lines: Iterator[tuple[int, list[str]]], items: Sequence[str], named: int | None, width: int
) -> Iterator[tuple[int, int, list[str]]]:
    """The number of an item, the line that says so, and its values; raises AuditError where the items are not all once.

    `named` is the place of the column that says which item is meant, None where there is none.
    """
    numbers = {} if named is None else {name: number for number, name in enumerate(items)}
    said = np.zeros(len(items), np.int64)
    for count, (line, cells) in enumerate(lines):
        where = f"{path}: line {line}"
        if len(cells) != width:
            raise AuditError(f"{where}: has {len(cells)} fields, the header has {width}", _EXPECTED)
        name = str(count) if named is None else cells.pop(named)
        item = count if named is None else numbers.get(name, len(items))
        if item >= len(items):
            what = (
                f"is one row more than the {len(items)} items" if named is None else f"there is no item {_shown(name)}"
            )
            raise AuditError(f"{where}: {what}", f"Items are called {_shown(items[0])} … {_shown(items[-1])}.")
        if said[item]:
            raise AuditError(f"{where}: item {_shown(name)} is there already, on line {said[item]}", _EXPECTED)
        said[item] = line
        yield item, line, cells
    missing = np.flatnonzero(said == 0)
    if len(missing):
        first = _shown(items[int(missing[0])])
        raise AuditError(f"{path}: has no row for {len(missing)} of {len(items)} items, such as {first}", _EXPECTED)


def _of_arrays(source: NpzSource, names: Sequence[str]) -> list[_Column]:
    columns = _columns(names, source.size, _Form(source.path, "item", "array"))
    for column in columns:
        with archive.array(source.path, column.name) as stored:
            kind = stored.dtype.kind
            if stored.shape != (source.size,) or kind not in "USiub":
                raise AuditError(f"{source.path}: {stored.kind}, for {source.size} items", _STORED)
            for item in range(source.size):
                text = stored.text(f"{column.name!r} of item {item}") if kind in "US" else str(stored.take(1)[0])
                column.put(item, text, item)
            stored.end()
    return columns
