"""`prune-audit policy`: reading, comparing and checking policies."""

from pathlib import Path
from typing import Annotated

import typer

from audit.ending import reported
from audit.errors import ExitCode

app = typer.Typer(help="Show, compare and check policies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A built-in policy, such as standard or strict/1, or a file.")]


@app.command()
def show(name: Name) -> None:
    """Print every rule and limit in force."""
    with reported():
        from audit import console, policy, preparation
        from audit.policy import explaining

        found = explaining.preview(policy.read(name, Path()), preparation.promised)
        console.plain_output(explaining.show(found))


@app.command()
def diff(old: Name, new: Name) -> None:
    """Print what changes in meaning from one policy to another; exit code 1 where anything does."""
    with reported():
        from audit import console, policy, preparation
        from audit.policy import comparing, explaining

        before, after = (explaining.preview(policy.read(name, Path()), preparation.promised) for name in (old, new))
        lines = comparing.diff(before, after)
        console.plain_output("\n".join(lines) or "no difference in meaning")
        raise typer.Exit(ExitCode.FAILED if lines else ExitCode.ACCEPTED)


@app.command()
def check(name: Name) -> None:
    """Look for everything that would keep an audit by this policy from starting, or from ever passing."""
    with reported():
        from audit import console, policy, preparation
        from audit.policy import checking

        problems = checking.check(policy.read(name, Path()), preparation.promised)
        for problem in problems:
            console.error(problem.what, problem.hint, problem.reason)
        if problems:
            raise typer.Exit(ExitCode.INPUT)
        console.plain_output(f"{name}: valid")
