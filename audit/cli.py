"""The command line: reads arguments, calls `audit.api`, prints; every decision is made elsewhere."""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import audit
from audit import runtime
from audit.errors import AuditError, ExitCode

if TYPE_CHECKING:
    from pydantic import BaseModel

    from audit.api import Outcome

app = typer.Typer(
    name="prune-audit",
    help="May this pruned network ship in place of its parent? An audit with an exact verdict.",
    epilog="Exit codes: 0 accepted · 1 FAIL · 2 bad request or input · 3 conditional or exploratory · "
    "4 not evaluated, or disk full · 5 a bug of ours · 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path | None, typer.Option(help="Folder for the certificate and the ledger.", show_default=False)]
Pdf = Annotated[bool, typer.Option("--pdf/--no-pdf", help="Write certificate.pdf as well.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")]


class Schema(StrEnum):
    """Files whose JSON Schema is published."""

    EVIDENCE = "evidence"
    POLICY = "policy"
    AUDIT = "audit"


def main() -> None:
    """Entry point of the `prune-audit` command."""
    runtime.prepare()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"prune-audit {audit.__version__}")
        raise typer.Exit


@app.command()
def run(
    file: Annotated[Path | None, typer.Argument(metavar="[AUDIT.TOML]", help="Audit file.", show_default=False)] = None,
    reference: Annotated[Path | None, typer.Option(help="ONNX file of the parent.", show_default=False)] = None,
    candidate: Annotated[Path | None, typer.Option(help="ONNX file of the pruned network.", show_default=False)] = None,
    data: Annotated[Path | None, typer.Option(help="Test set: .npz with x, y, classes.", show_default=False)] = None,
    policy: Annotated[
        str | None, typer.Option(help="screening, standard, strict, or a policy file.  [default: standard]")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Per channel, such as 0.49,0.48,0.45.", show_default=False)] = None,
    std: Annotated[str | None, typer.Option(help="Per channel, such as 0.25,0.24,0.26.", show_default=False)] = None,
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC input of the models.  [default: NCHW]")] = None,
    data_layout: Annotated[str | None, typer.Option(help="NHWC or NCHW items in the .npz.  [default: auto]")] = None,
    out: Out = None,
    reuse: Annotated[
        list[Path] | None, typer.Option(help="Take over equal observations of an earlier audit.", show_default=False)
    ] = None,
    pdf: Pdf = True,
    as_json: AsJson = False,
) -> None:
    """Audit a pruned network against its parent and write the certificate.

    Name an audit file, or the models and the test set by flags.
    """
    with _reported():
        from audit import api, console, request

        flags = request.Flags(
            reference=reference, candidate=candidate, data=data, policy=policy, mean=mean, std=std, layout=layout,
            data_layout=data_layout,
        )  # fmt: skip
        wanted, base = request.combine(file, flags)
        with console.progress() as progress:
            outcome = api.run(
                wanted, base=base, out=out, reuse=reuse or (), pdf=pdf, progress=progress, command=_command()
            )
        _finish(outcome, as_json=as_json)


@app.command()
def judge(
    folder: Annotated[Path, typer.Argument(help="Output folder of a finished audit.")],
    policy: Annotated[
        str | None, typer.Option(help="Another policy; the result is EXPLORATORY.", show_default=False)
    ] = None,
    out: Out = None,
    pdf: Pdf = True,
    as_json: AsJson = False,
) -> None:
    """Decide a finished audit again from its ledger; no network runs."""
    with _reported():
        from audit import api

        _finish(api.judge(folder, policy_name=policy, out=out, pdf=pdf, command=_command()), as_json=as_json)


@app.command()
def render(
    evidence: Annotated[Path, typer.Argument(help="An evidence.json.")],
    out: Out = None,
    pdf: Pdf = True,
    as_json: AsJson = False,
) -> None:
    """Write the certificate of an evidence file again."""
    with _reported():
        from audit import api

        _finish(api.render(evidence, out=out, pdf=pdf), as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("prune-audit-demo"),
    items: Annotated[int, typer.Option(help="Generated test items.", min=100)] = 10_000,
    start: Annotated[int, typer.Option(help="Index of the first item.", min=0)] = 0,
    pdf: Pdf = True,
) -> None:
    """Audit a well pruned and a crudely pruned road-sign network: one PASS, one FAIL."""
    with _reported():
        from audit import demo as demonstration

        raise typer.Exit(demonstration.run(out, items, start, pdf=pdf))


@app.command()
def checks(
    name: Annotated[str | None, typer.Argument(help="Explain this check only.", show_default=False)] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole catalogue as Markdown.")] = False,
) -> None:
    """List the checks and explain what each of them claims."""
    with _reported():
        from audit import catalogue, console

        console.plain_output(catalogue.markdown() if markdown else catalogue.text(name))


@app.command()
def schema(which: Annotated[Schema, typer.Argument(help="Which file.")]) -> None:
    """Print the JSON Schema of a file."""
    with _reported():
        from audit import console, evidence, policy, request

        models: dict[Schema, type[BaseModel]] = {
            Schema.EVIDENCE: evidence.Evidence,
            Schema.POLICY: policy.PolicyFile,
            Schema.AUDIT: request.AuditFile,
        }
        console.plain_output(json.dumps(models[which].model_json_schema(), indent=2))


@app.command()
def doctor() -> None:
    """Look whether everything the program needs is there, and say what is missing."""
    with _reported():
        from audit import doctor as surgery

        raise typer.Exit(surgery.report())


def _finish(outcome: "Outcome", *, as_json: bool) -> None:
    from audit import console

    if as_json:
        console.plain_output(json.dumps(outcome.summary(), indent=2))
    else:
        console.last_screen(outcome.evidence, tuple(map(str, outcome.files)), outcome.notices)
    raise typer.Exit(outcome.exit_code)


def _command() -> tuple[str, ...]:
    return ("prune-audit", *(argument.encode("utf-8", "replace").decode() for argument in sys.argv[1:]))


@contextmanager
def _reported() -> Iterator[None]:
    """Every way a command can end, as a message and an exit code; no traceback for a user's mistake."""
    from audit import console

    try:
        yield
    except AuditError as error:
        console.error(error.what, error.hint)
        raise typer.Exit(error.code) from None
    except KeyboardInterrupt:
        console.error("interrupted", "What was measured is kept: the same command goes on where this one stopped.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, SystemExit) as error:
        console.error(
            f"a bug of prune-audit: {type(error).__name__}: {error}", "Please report it with the lines below."
        )
        console.SCREEN.print(traceback.format_exc(), markup=False)
        console.SCREEN.print(json.dumps({"prune-audit": audit.__version__, **runtime.packages()}), markup=False)
        raise typer.Exit(ExitCode.BUG) from None
