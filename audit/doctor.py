"""Whether this installation can do its work."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from audit import console, registry, runtime
from audit.errors import AuditError, ExitCode
from audit.models import provider
from audit.report import pdf, templates


@dataclass(frozen=True)
class Symptom:
    """One thing that was looked at: fine, or what to do about it; `vital` when no audit can run without it."""

    name: str
    found: str
    remedy: str = ""
    vital: bool = True


def report() -> ExitCode:
    """Print what was found; 2 where an audit could not run, else 0."""
    symptoms = list(_examine())
    table = Table(box=None, pad_edge=False, show_header=False)
    for symptom in symptoms:
        table.add_row("[red]✕[/]" if symptom.remedy else "[green]●[/]", symptom.name, symptom.found, symptom.remedy)
    console.SCREEN.print(table)
    return ExitCode.INPUT if any(s.remedy and s.vital for s in symptoms) else ExitCode.ACCEPTED


def _examine() -> Iterator[Symptom]:
    for name, version in runtime.packages().items():
        yield Symptom(name, version)
    yield from (Symptom(key, str(value)) for key, value in runtime.host().items())
    yield _provider()
    yield _checks()
    yield _pango()
    missing = [str(path) for path in templates.FONTS.values() if not path.is_file()]
    yield Symptom("font", "embedded" if not missing else "missing", "Install prune-audit again." if missing else "")


def _provider() -> Symptom:
    try:
        runtime.require_one_onnxruntime()
    except AuditError as error:
        return Symptom("providers", error.what, error.hint)
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    remedy = "" if provider.CPU in providers else "Install onnxruntime again."
    return Symptom("providers", ", ".join(providers), remedy)


def _checks() -> Symptom:
    try:
        return Symptom("checks", ", ".join(registry.names(registry.load_all())))
    except AuditError as error:
        return Symptom("checks", error.what, error.hint)


def _pango() -> Symptom:
    try:
        pdf.load_weasyprint()
    except AuditError as error:
        return Symptom("PDF", error.what, error.hint, vital=False)
    return Symptom("PDF", "WeasyPrint and Pango work")
