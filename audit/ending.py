"""Every way a command can end, as a message and an exit code; no traceback for a user's mistake."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

import audit
from audit import runtime
from audit.errors import AuditError, ExitCode


@contextmanager
def reported() -> Iterator[None]:
    """Run a command: errors are printed, and become the exit code."""
    from audit import console

    try:
        yield
    except AuditError as error:
        console.error(error.what, error.hint, error.reason)
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
        console.SCREEN.print(json.dumps(_versions()), markup=False)
        raise typer.Exit(ExitCode.BUG) from None


def _versions() -> dict[str, str]:
    """What was running: versions, and the digest of our sources where it can still be had."""
    found = {"prune-audit": audit.__version__, **runtime.packages()}
    with suppress(Exception):  # whatever is broken, the bug itself must be reported
        from audit import digest, registry

        found["sources_sha256"] = digest.of_sources(registry.sources())
    return found
