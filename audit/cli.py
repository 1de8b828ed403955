"""The command line: reads arguments, calls `audit.api`, prints; every decision is made elsewhere."""

import gc
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import audit
from audit import cli_policy, runtime
from audit.ending import reported
from audit.errors import ExitCode

if TYPE_CHECKING:
    from pydantic import BaseModel

    from audit.api import Outcome

app = typer.Typer(
    name="prune-audit",
    help="May this pruned network ship in place of its parent? An audit whose error rates are stated.",
    epilog="Exit codes: 0 accepted · 1 FAIL · 2 bad request or input · 3 conditional or exploratory · "
    "4 not evaluated, or disk full · 5 a bug of ours · 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_policy.app, name="policy")

Out = Annotated[Path | None, typer.Option(help="Folder for the certificate and the ledger.", show_default=False)]
Pdf = Annotated[bool, typer.Option("--pdf/--no-pdf", help="Write certificate.pdf as well.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")]
File = Annotated[Path | None, typer.Argument(metavar="AUDIT.TOML", help="Audit file.", show_default=False)]
Reference = Annotated[Path | None, typer.Option(help="Model file of the parent.", show_default=False)]
Candidate = Annotated[Path | None, typer.Option(help="Model file of the pruned network.", show_default=False)]
Baseline = Annotated[
    Path | None, typer.Option(help="Model file of a separately trained parent: a yard-stick.", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Test set: .npz with x, y, classes, or a folder of class folders, or of images and masks.",
        show_default=False,
    ),
]
Policy = Annotated[
    str | None, typer.Option(help="screening, standard, strict, values, or a policy file.  \\[default: standard]")
]
Mean = Annotated[str | None, typer.Option(help="Per channel, such as 0.49,0.48,0.45.", show_default=False)]
Std = Annotated[str | None, typer.Option(help="Per channel, such as 0.25,0.24,0.26.", show_default=False)]
Layout = Annotated[str | None, typer.Option(help="NCHW or NHWC input of the models.  \\[default: NCHW]")]
DataLayout = Annotated[str | None, typer.Option(help="NHWC or NCHW items in the .npz.  \\[default: auto]")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run model files that hold code: .pt2, TorchScript, pickled modules.")
]
Device = Annotated[str | None, typer.Option(help="Where models run: auto, cpu, cuda or cuda:N.  \\[default: auto]")]


class Schema(StrEnum):
    """Files whose JSON Schema is published."""

    EVIDENCE = "evidence"
    POLICY = "policy"
    AUDIT = "audit"


_ALLOCATIONS = 100_000
"""Objects made between two looks for garbage: most of ours, as findings, live until the command ends."""


def main() -> None:
    """Entry point of the `prune-audit` command."""
    runtime.prepare()
    gc.set_threshold(_ALLOCATIONS)
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
def init(
    reference: Annotated[Path, typer.Option(help="Model file of the parent.", show_default=False)],
    candidate: Annotated[Path, typer.Option(help="Model file of the pruned network.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Test set.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Audit file to write.")] = Path("audit.toml"),
) -> None:
    """Look at two models and a test set and write a commented audit file that runs."""
    with reported():
        from audit import console, scaffold

        console.plain_output(scaffold.write(reference, candidate, data, out))


@app.command(name="plan")
def plan_(
    file: File = None,
    reference: Reference = None,
    candidate: Candidate = None,
    baseline: Baseline = None,
    data: Data = None,
    policy: Policy = None,
    mean: Mean = None,
    std: Std = None,
    layout: Layout = None,
    data_layout: DataLayout = None,
    device: Device = None,
    trust_code: TrustCode = False,
    go_on: Annotated[bool, typer.Option("--go-on", help="Exit 0 even where the audit cannot PASS.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what an audit would cost and whether it could pass; nothing is written.

    Exit code 2 where a required criterion cannot be proven with these items.
    """
    with reported():
        from audit import console, rehearsal, request

        flags = request.Flags(
            reference=reference, candidate=candidate, baseline=baseline, data=data, policy=policy, mean=mean, std=std,
            layout=layout, data_layout=data_layout, device=device,
        )  # fmt: skip
        found = rehearsal.rehearse(*request.combine(file, flags), trust_code=trust_code)
        console.plain_output(json.dumps(found.summary(), indent=2) if as_json else "\n".join(found.lines()))
        raise typer.Exit(ExitCode.INPUT if found.impossible and not go_on else ExitCode.ACCEPTED)


@app.command()
def run(
    file: File = None,
    reference: Reference = None,
    candidate: Candidate = None,
    baseline: Baseline = None,
    data: Data = None,
    policy: Policy = None,
    mean: Mean = None,
    std: Std = None,
    layout: Layout = None,
    data_layout: DataLayout = None,
    device: Device = None,
    trust_code: TrustCode = False,
    out: Out = None,
    reuse: Annotated[
        list[Path] | None, typer.Option(help="Take over equal observations of an earlier audit.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Partial run: on this many items at most.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Partial run: this check alone; repeat for more.", show_default=False)
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Partial run: without this check; repeat for more.", show_default=False)
    ] = None,
    pdf: Pdf = True,
    as_json: AsJson = False,
) -> None:
    """Audit a pruned network against its parent and write the certificate.

    Name an audit file, or the models and the test set by flags.
    """
    with reported():
        from audit import api, console, portion, request

        flags = request.Flags(
            reference=reference, candidate=candidate, baseline=baseline, data=data, policy=policy, mean=mean, std=std,
            layout=layout, data_layout=data_layout, device=device,
        )  # fmt: skip
        wanted, base = request.combine(file, flags)
        part = portion.Portion(limit, tuple(only or ()), tuple(skip or ()))
        with console.progress() as progress:
            outcome = api.run(
                wanted, base=base, out=out, reuse=reuse or (), portion=part, trust_code=trust_code, pdf=pdf,
                progress=progress, command=_command(),
            )  # fmt: skip
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
    with reported():
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
    with reported():
        from audit import api

        _finish(api.render(evidence, out=out, pdf=pdf), as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("prune-audit-demo"),
    items: Annotated[int, typer.Option(help="Generated test items.", min=100)] = 10_000,
    start: Annotated[int, typer.Option(help="Index of the first item.", min=0)] = 0,
    pdf: Pdf = True,
) -> None:
    """Audit three pruned road-sign networks: one PASS, one that lost accuracy, one that lost it only under noise."""
    with reported():
        from audit import demo as demonstration

        raise typer.Exit(demonstration.run(out, items, start, pdf=pdf))


@app.command()
def checks(
    name: Annotated[str | None, typer.Argument(help="Explain this check only.", show_default=False)] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole catalogue as Markdown.")] = False,
) -> None:
    """List the checks and explain what each of them claims."""
    with reported():
        from audit import catalogue, console

        console.plain_output(catalogue.markdown() if markdown else catalogue.text(name))


@app.command()
def schema(which: Annotated[Schema, typer.Argument(help="Which file.")]) -> None:
    """Print the JSON Schema of a file."""
    with reported():
        from audit import console, evidence, policy, request

        models: dict[Schema, type[BaseModel]] = {
            Schema.EVIDENCE: evidence.Evidence,
            Schema.POLICY: policy.PolicyFile,
            Schema.AUDIT: request.AuditFile,
        }
        console.plain_output(json.dumps(models[which].model_json_schema(), indent=2))


@app.command()
def selftest(as_json: AsJson = False) -> None:
    """Audit known-bad pairs, which must not pass, and known-good ones, which must, on this machine.

    Later certificates of this installation name the result.
    """
    with reported():
        from audit import console
        from audit import selftest as trial

        result = trial.run()
        console.plain_output(json.dumps(result.summary(), indent=2) if as_json else "\n".join(result.lines()))
        raise typer.Exit(ExitCode.ACCEPTED if result.passed else ExitCode.FAILED)


@app.command()
def doctor() -> None:
    """Look whether everything the program needs is there, and say what is missing."""
    with reported():
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
