"""The paper form: archival structure, the evidence attached, the same bytes each time."""

import base64
import gc
import io
import os
import sys
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from audit.errors import AuditError
from audit.evidence import Evidence
from audit.report import html, pdf

A4 = (595.28, 841.89)
LETTER = (612.0, 792.0)

# WeasyPrint leaves the colour profile that it brings along open.
pytestmark = pytest.mark.usefixtures("pango")


@pytest.fixture(scope="module")
def paper() -> dict[str, pikepdf.Pdf]:
    return {}


@pytest.fixture
def document(failing: Evidence, paper: dict[str, pikepdf.Pdf]) -> pikepdf.Pdf:
    """The failing certificate, laid out once for all tests of this file."""
    if "failing" not in paper:
        paper["failing"] = pikepdf.open(io.BytesIO(pdf.render(html.render(failing), failing)))
    return paper["failing"]


def test_evidence_is_attached_once_as_data(document: pikepdf.Pdf, failing: Evidence) -> None:
    assert list(document.attachments) == ["evidence.json"]
    attached = document.attachments["evidence.json"]
    assert attached.get_file().read_bytes() == failing.to_bytes()
    assert attached.relationship == pikepdf.Name.Data
    assert attached.get_file().mime_type == "application/json"
    assert attached.get_file().creation_date == datetime(2025, 11, 22, 15, 4, 37, tzinfo=UTC)
    assert len(document.Root.AF) == 1


def test_document_is_tagged_titled_and_archival(document: pikepdf.Pdf) -> None:
    root = document.Root
    assert bool(root.MarkInfo.Marked)
    assert "/StructTreeRoot" in root
    assert str(root.Lang) == "en"
    with document.open_metadata() as metadata:
        assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("3", "A")
        assert metadata["dc:title"].startswith("Verification certificate ")
        assert metadata["xmp:CreateDate"] == "2025-11-22T15:04:37+00:00"


def test_figure_has_its_alternative_text(document: pikepdf.Pdf) -> None:
    figures = [
        item for item in document.objects if isinstance(item, pikepdf.Dictionary) and item.get("/S") == "/Figure"
    ]
    assert any("Margin of each criterion" in str(figure.get("/Alt")) for figure in figures)


def test_every_font_is_our_own_and_embedded(document: pikepdf.Pdf) -> None:
    fonts = [
        item
        for item in document.objects
        if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == "/FontDescriptor"
    ]
    assert fonts
    for font in fonts:
        assert "Audit-Sans" in str(font.FontName)
        assert {"/FontFile2", "/FontFile3"} & set(font.keys())


def test_pages_are_a4_with_margins_that_letter_keeps(document: pikepdf.Pdf) -> None:
    for page in document.pages:
        width, height = (float(page.mediabox[2]), float(page.mediabox[3]))
        assert (width, height) == pytest.approx(A4, abs=0.1)
    # 18 + 24 mm of the page's height hold no text, 36 mm of its width.
    assert A4[1] - 42 / 25.4 * 72 < LETTER[1] - 2 * 0.25 * 72
    assert A4[0] - 36 / 25.4 * 72 < LETTER[0] - 2 * 0.25 * 72


def images(html: str, evidence: Evidence) -> int:
    document = pikepdf.open(io.BytesIO(pdf.render(html, evidence)))
    return sum(isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Image" for item in document.objects)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool, failing: Evidence) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        pdf.render(html.render(failing), failing)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_nothing_outside_the_page_is_ever_fetched(failing: Evidence, tmp_path: Path) -> None:
    square = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(square, "png")
    (tmp_path / "square.png").write_bytes(square.getvalue())
    within = f"data:image/png;base64,{base64.b64encode(square.getvalue()).decode()}"
    assert images(f'<img alt="x" src="{within}">', failing) == 1
    assert images(f'<img alt="x" src="{(tmp_path / "square.png").as_uri()}">', failing) == 0


@pytest.mark.parametrize("before", [None, "12345"])
def test_environment_is_left_as_it_was(before: str | None, failing: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if before is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", before)
    pdf.render("<p>x</p>", failing)
    assert os.environ.get("SOURCE_DATE_EPOCH") == before


class NoPango:
    """What an import finds on a machine without the library."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'")
        return None


@pytest.fixture
def without_pango(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoPango(), *sys.meta_path])


@pytest.mark.usefixtures("without_pango")
def test_missing_library_is_named_with_the_line_that_installs_it(failing: Evidence) -> None:
    with pytest.raises(AuditError, match="Pango") as caught:
        pdf.render("<p>x</p>", failing)
    assert caught.value.hint == "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
