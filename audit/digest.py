"""Digests of everything that is named by what it contains: JSON values, files, our own sources."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import rfc8785

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def canonical(value: Json) -> bytes:
    """RFC 8785 (JSON Canonicalization Scheme) bytes; raises ValueError on NaN, infinity or huge integers."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not representable as canonical JSON: {error}") from error


def of_bytes(data: bytes | memoryview) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def of_json(value: Json) -> str:
    """SHA-256 of the canonical form."""
    return of_bytes(canonical(value))


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, streamed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_sources(places: Iterable[Path]) -> str:
    """One digest over Python files, and every Python file below folders, by relative name and content."""
    entries = {
        f"{place.name}/{path.relative_to(place).as_posix()}": of_file(path)
        for place in places
        for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    }
    return of_json(entries)
