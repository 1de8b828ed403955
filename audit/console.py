"""What a person sees while an audit runs and when it is over; everything goes to standard error."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from audit.evidence import Evidence
from audit.observe import Progress as Report
from audit.report import sentences, view
from audit.report.rows import MARKS, Row, clean
from audit.storage import guarded
from audit.types import Verdict

SCREEN = Console(stderr=True, highlight=False, emoji=False)
_STYLE = {
    Verdict.PASS: "bold green",
    Verdict.CONDITIONAL_PASS: "bold yellow",
    Verdict.CONDITIONAL_FAIL: "bold yellow",
    Verdict.NOT_EVALUATED: "bold magenta",
    Verdict.FAIL: "bold red",
}
_WORST = 3
_MOST_WAIVED = 5
_PLAIN_STEPS = 5


@contextmanager
def progress() -> Iterator[Report]:
    """A live bar on a terminal, a few plain lines elsewhere."""
    if SCREEN.is_terminal:
        with _bar() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=SCREEN, transient=True) as bars:
        bar = bars.add_task("preparing", total=None)
        yield lambda what, done, total: bars.update(bar, description=what, completed=done, total=total or None)


def _lines() -> Report:
    shown = -1

    def report(what: str, done: int, total: int) -> None:
        nonlocal shown
        step = _PLAIN_STEPS * done // total if total else _PLAIN_STEPS
        if step != shown and total:
            shown = step
            SCREEN.print(escape(f"{what}: {done:,} of {total:,} forward passes"))

    return report


def error(what: str, hint: str, reason: str = "") -> None:
    """One problem, what to do about it, and the code of its kind, if it has one."""
    SCREEN.print(f"[bold red]error:[/] {escape(what)}", soft_wrap=True)
    SCREEN.print(f"       {escape(hint)}", soft_wrap=True)
    if reason:
        SCREEN.print(f"       [dim]reason: {escape(reason)}[/]", soft_wrap=True)


def last_screen(evidence: Evidence, files: tuple[str, ...], notices: tuple[str, ...]) -> None:
    """The verdict, what stands most in its way or came nearest to it, and where the files are."""
    results = view.results(evidence)
    overall = evidence.body.verdict.overall
    mark = MARKS[overall]
    title = f"{mark.glyph} {overall}" + (" (exploratory)" if evidence.body.verdict.exploratory else "")
    text = f"{sentences.headline(evidence, results)}\n{sentences.conformity(evidence, results)}"
    style = _STYLE[Verdict(overall)]
    SCREEN.print(Panel(escape(text), title=f"[{style}]{title}[/]", title_align="left", border_style=style))
    shown = [row for row in results.drawn if not _standing(evidence, row)][:_WORST]
    SCREEN.print(_worst(shown))
    for line in (*_forecasts(shown), *_apart(results)):
        SCREEN.print(line, soft_wrap=True)
    for notice in notices:
        SCREEN.print(f"[yellow]note:[/] {escape(notice)}", soft_wrap=True)
    for file in files:
        SCREEN.print(escape(file), soft_wrap=True)


def _standing(evidence: Evidence, row: Row) -> bool:
    """Whether a row is a passed criterion that every policy has: it tells a reader nothing."""
    standing = {criterion.claim for criterion in evidence.body.policy.criteria if criterion.standing}
    return row.record.claim in standing and row.record.verdict == "PASS"


def _forecasts(rows: Iterable[Row]) -> Iterator[str]:
    """What would probably settle the conditional verdicts among these."""
    for row in rows:
        if text := sentences.forecast(row):
            yield f"[dim]{escape(clean(row.record.title))}:[/] {escape(text)}"


def _apart(results: view.Results) -> Iterator[str]:
    """The waived criteria by name, and how many do not apply."""
    for row in results.waived[:_MOST_WAIVED]:
        yield f"[yellow]{row.record.verdict}, waived:[/] {escape(sentences.waived(row))}"
    if (more := len(results.waived) - _MOST_WAIVED) > 0:
        yield f"[yellow]waived:[/] {more} more"
    if number := len(results.inapplicable):
        yield f"[dim]not applicable:[/] {number}, where the reference itself fails"


def _worst(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "criterion", "measured", "limit", "verdict"):
        table.add_column(column, overflow="fold")
    for row in rows:
        style = _STYLE[Verdict(row.record.verdict)]
        measured = " ".join(filter(None, (row.estimate, row.bounds)))
        cells = (row.mark.glyph, clean(row.record.title), measured, row.limit, row.word)
        table.add_row(*map(escape, cells), style=style if row.record.verdict != "PASS" else "")
    return table


def plain_output(text: str) -> None:
    """A result that another program may read: to standard output, untouched, in UTF-8."""
    with guarded(Path("standard output")):
        sys.stdout.buffer.write((text if text.endswith("\n") else text + "\n").encode())
        sys.stdout.buffer.flush()
