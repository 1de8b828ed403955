"""The certificate as PDF/A-3a, tagged, with the evidence attached; equal input gives equal bytes."""

import gc
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from audit.errors import AuditError
from audit.evidence import Evidence
from audit.report.view import issued

ATTACHMENT = "evidence.json"


def render(html: str, evidence: Evidence) -> bytes:
    """Lay the page out on paper; raises AuditError where the system's text layout library is missing."""
    weasyprint = load_weasyprint()
    moment = issued(evidence)
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data",))
    attachment = weasyprint.Attachment(
        file_obj=io.BytesIO(evidence.to_bytes()),
        name=ATTACHMENT,
        description="The evidence of which this document is a rendering",
        created=moment,
        modified=moment,
        relationship="Data",
    )
    with _fixed_clock(moment), _uncollected():
        document = weasyprint.HTML(string=html, url_fetcher=fetcher)
        written: bytes = document.write_pdf(
            pdf_variant="pdf/a-3a",
            pdf_tags=True,
            pdf_identifier=bytes.fromhex(evidence.id[:32]),
            attachments=[attachment],
            finisher=_each_attachment_once,
        )
    return written


def load_weasyprint() -> Any:
    """The layout engine; raises AuditError where the system library under it is missing."""
    try:
        import weasyprint
    except OSError as error:
        raise AuditError(
            f"certificate.pdf: the text layout library Pango cannot be loaded ({error})",
            "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
        ) from error
    return weasyprint


def _each_attachment_once(document: Any, pdf: Any) -> None:
    """WeasyPrint lists an attachment under /AF by its name and again as an object."""
    if "AF" in pdf.catalog:
        pdf.catalog["AF"][:] = list(dict.fromkeys(pdf.catalog["AF"]))


@contextmanager
def _uncollected() -> Iterator[None]:
    """All boxes of the pages are needed to the end: to look among them for garbage takes a third of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def _fixed_clock(moment: datetime) -> Iterator[None]:
    """Without HarfBuzz's subsetter, fontTools stamps each embedded font with this variable or the time."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(int(moment.timestamp()))
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before
