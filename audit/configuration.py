"""Reading TOML files into models, with errors that name the file, the key and its line."""

import datetime
import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from audit import inputs
from audit.errors import AuditError

_Settings = TypeVar("_Settings", bound="Settings")


class Settings(BaseModel):
    """Base of everything a person writes: frozen, unknown keys are errors, no NaN or infinity.

    Strict: a switch is no number, and a number in quotes is none either.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def load(path: Path, model: type[_Settings]) -> _Settings:
    """Parse and validate one file; raises AuditError on anything that is not understood."""
    return parse(read_text(path), str(path), model)


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8; raises AuditError for anything else."""
    hint = "Name an existing TOML file."
    inputs.regular(path, hint)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{path}: cannot be read ({error})", hint) from error


def parse(text: str, name: str, model: type[_Settings]) -> _Settings:
    """Validate TOML text that came from `name`."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beyond its own: integers too long, brackets too deep
        raise AuditError(f"{name}: not valid TOML ({error})", "Correct the line that is named.") from error
    return validate(content, name, model, text)


def validate(content: Mapping[str, object], name: str, model: type[_Settings], text: str = "") -> _Settings:
    """Validate values that came from `name`; `text` is what they were written in, for line numbers."""
    try:
        return model.model_validate_json(_json(content, name, _keys(model, "date")))
    except ValidationError as error:
        raise AuditError(*_explain(error, text, name, model)) from error


def _json(content: Mapping[str, object], name: str, dates: set[str]) -> bytes:
    """The same values as JSON, from which strict models still read tuples, enums and paths.

    `dates` names the keys whose values may be dates; under any other key a date is an error.
    """
    try:
        return json.dumps(_dated(content, dates), default=_plain, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(
            f"{name}: holds a value that no setting takes ({error})", "Use text in UTF-8, numbers, true and false."
        ) from error


def _dated(value: object, dates: set[str]) -> object:
    """A table, or list of tables, with the dates that are expected as text: JSON knows no dates."""
    if isinstance(value, Mapping):
        return {
            key: inner.isoformat() if key in dates and type(inner) is datetime.date else _dated(inner, dates)
            for key, inner in value.items()
        }
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_dated(inner, dates) for inner in value]
    return value


def _plain(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{value} is a {type(value).__name__}")


def _explain(error: ValidationError, text: str, name: str, model: type[BaseModel]) -> tuple[str, str, str]:
    """The first problem of a validation error, as (what, hint, reason)."""
    # A misspelt key is reported before the key that is then missing: it is the cause.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    found = [part for part in first["loc"] if part != ""]  # '' stands for the only one where there may be several
    path = [part for part in found if isinstance(part, str)]
    key = ".".join(map(str, found))
    where = f"{name}{_place(text, found)}"
    if first["type"] == "extra_forbidden":
        known = _keys(model)
        return f"{where}: unknown key {key!r}", did_you_mean(path[-1], known), "unknown-key"
    if first["type"] == "json_invalid":
        return f"{name}: is nested too deeply", "Correct the file.", ""
    if first["type"] == "missing":
        return f"{where}: {key!r} is missing", f"Add {_addition(model, path[-1])} to {name}.", "missing-key"
    return (
        f"{where}: {key or 'the file'}: {first['msg'].removeprefix('Value error, ')}",
        f"Correct {key!r}." if key else "Correct the file.",
        "",
    )


def _addition(model: type[BaseModel], key: str) -> str:
    """A key that is missing, with its value where it can have one only."""
    known = model.model_fields.get(key)
    values = get_args(known.annotation) if known is not None and get_origin(known.annotation) is Literal else ()
    return f"`{key} = {json.dumps(values[0])}`" if len(values) == 1 else repr(key)


def _place(text: str, loc: Sequence[str | int]) -> str:
    """`:LINE` of where a value stands that a validation error names."""
    match loc:
        case (str(table), int(index), *inner):
            key = next((part for part in inner if isinstance(part, str)), "")
            return line_in(text, table, key, index) or line_of(text, table)
        case (*_, str(last)) | (*_, str(last), int()):
            return line_of(text, last)
    return ""


def line_in(text: str, table: str, key: str, index: int = 0) -> str:
    """`:LINE` where the `index`-th `[table]` or `[[table]]` sets a key, else that of its head; '' where it has none.

    Table '' is the beginning of the file.
    """
    lines = text.splitlines()
    head = re.compile(rf"\s*\[\[?\s*{re.escape(table)}\s*\]")
    setting = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    heads = [number for number, line in enumerate(lines, 1) if head.match(line)] if table else [0]
    if index >= len(heads):
        return ""
    own = itertools.takewhile(lambda line: not re.match(r"\s*\[", line), lines[heads[index] :])
    number = next((number for number, line in enumerate(own, heads[index] + 1) if setting.match(line)), heads[index])
    return f":{number}" if number else ""


def line_of(text: str, key: str) -> str:
    """`:LINE` of the only line that sets or mentions the key as a whole word, else ''."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])")
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line) and not line.lstrip().startswith("#")
    ]
    return f":{lines[0]}" if len(lines) == 1 else ""


def did_you_mean(word: str, known: set[str]) -> str:
    """A suggestion, or the list of what is known."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(sorted(known))}."


@cache
def _keys(model: type[BaseModel], of: str | None = None) -> set[str]:
    """Every key that may be written anywhere below a model, or those of one JSON Schema format."""
    found: set[str] = set()
    schema: dict[str, Any] = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        found.update(key for key, value in part.get("properties", {}).items() if of in (None, value.get("format")))
    return found
