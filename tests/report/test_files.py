"""Writing: all forms, whole or not at all; and what each form costs to import."""

import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_samples import WITHIN, build

from audit.errors import AuditError, ExitCode, StorageError
from audit.evidence import Evidence, load
from audit.report import files, html, pdf

# WeasyPrint leaves the colour profile that it brings along open.
pytestmark = pytest.mark.usefixtures("pango")

NAMES = ["certificate.html", "certificate.pdf", "evidence.json", "junit.xml", "summary.md"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_forms_of_one_evidence(passing: Evidence, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    written = files.write_all(passing, folder)
    assert names(folder) == NAMES == sorted(path.name for path in written.paths)
    assert written.notices == ()
    assert load(folder / "evidence.json") == passing
    assert (folder / "certificate.html").read_text(encoding="utf-8") == html.render(passing)


def test_without_pdf_none_of_an_earlier_evidence_stays(passing: Evidence, tmp_path: Path) -> None:
    for name in ("evidence.json", "certificate.pdf"):
        (tmp_path / name).write_bytes(b"of another evidence")
    files.write_all(passing, tmp_path, pdf=False)
    assert names(tmp_path) == [name for name in NAMES if name != "certificate.pdf"]


def test_missing_library_costs_the_pdf_only(passing: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AuditError("certificate.pdf: the text layout library Pango cannot be loaded", "apt install it")

    monkeypatch.setattr(pdf, "render", refuse)
    written = files.write_all(passing, tmp_path)
    assert names(tmp_path) == [name for name in NAMES if name != "certificate.pdf"]
    assert written.notices == ("certificate.pdf: the text layout library Pango cannot be loaded\napt install it",)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 100 kB: room for the evidence, not for the page."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_full_disk_leaves_no_half_file_and_no_foreign_certificate(passing: Evidence, tmp_path: Path) -> None:
    for name in ("evidence.json", *files.RENDERINGS):
        (tmp_path / name).write_text("of another evidence")
    with pytest.raises(StorageError, match=r"certificate\.html") as caught:
        files.write_all(passing, tmp_path)
    assert caught.value.code is ExitCode.NOT_EVALUATED
    assert names(tmp_path) == ["evidence.json"]
    assert load(tmp_path / "evidence.json") == passing


def test_same_bytes_in_another_process(tmp_path: Path) -> None:
    evidence = build(WITHIN, others=2)
    here = files.write_all(evidence, tmp_path / "here")
    script = (
        "import sys; from pathlib import Path; from audit.evidence import load; from audit.report import files;"
        "files.write_all(load(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "here" / "evidence.json", tmp_path / "there"],
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TZ": "Asia/Tokyo"},
        cwd=Path(__file__).parents[2],
    )
    for path in here.paths:
        other = tmp_path / "there" / path.name
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), path.name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("audit.report.junit", ["matplotlib", "jinja2", "weasyprint", "numpy", "torch", "onnxruntime"]),
        ("audit.report.markdown", ["matplotlib", "jinja2", "weasyprint", "numpy", "torch", "onnxruntime"]),
        ("audit.report.files", ["weasyprint", "torch", "onnxruntime", "matplotlib.pyplot", "scipy"]),
    ],
)
def test_imports_stay_cheap(module: str, absent: list[str]) -> None:
    script = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, cwd=Path(__file__).parents[2]
    ).stdout
    assert set(json.loads(output)).isdisjoint(absent)
