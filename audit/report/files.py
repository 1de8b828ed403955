"""Writing a certificate in all its forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from audit.errors import AuditError
from audit.evidence import Evidence
from audit.report import html, junit, markdown
from audit.report import pdf as paper
from audit.storage import guarded, require_free, write_atomic

RENDERINGS = ("certificate.html", "certificate.pdf", "junit.xml", "summary.md")


@dataclass(frozen=True, slots=True)
class Files:
    """What was written, and a notice for each form that could not be."""

    paths: tuple[Path, ...]
    notices: tuple[str, ...] = ()


def write_all(
    evidence: Evidence, folder: Path, *, pdf: bool = True, pictures: Mapping[str, bytes] = MappingProxyType({})
) -> Files:
    """Write evidence.json, certificate.html, junit.xml, summary.md and certificate.pdf into `folder`.

    `pictures` are those of listed items, PNG by digest.

    Renderings of an earlier evidence are removed before the new evidence is written, so that whatever stops
    this, no certificate stands beside an evidence that is not its own. Each file appears whole or not at all.
    Raises StorageError when the medium takes no more data.
    """
    if not any((folder / name).exists() for name in ("evidence.json", "plan.json")):
        require_free(folder)
    for name in RENDERINGS:
        with guarded(folder / name):
            (folder / name).unlink(missing_ok=True)
    written = [_write(folder / "evidence.json", evidence.to_bytes())]
    page = html.render(evidence, pictures)
    written.append(_write(folder / "certificate.html", page.encode()))
    written.append(_write(folder / "junit.xml", junit.render(evidence).encode()))
    written.append(_write(folder / "summary.md", markdown.render(evidence).encode()))
    if not pdf:
        return Files(tuple(written))
    try:
        paper_form = paper.render(page, evidence)
    except AuditError as error:
        return Files(tuple(written), (str(error),))
    written.append(_write(folder / "certificate.pdf", paper_form))
    return Files(tuple(written))


def _write(path: Path, data: bytes) -> Path:
    write_atomic(path, data)
    return path
