"""Input files: only what can be read from its beginning to its end, and read again."""

import os
import stat
from pathlib import Path

from audit.errors import AuditError


def regular(path: Path, hint: str) -> os.stat_result:
    """The state of a regular file; raises AuditError for anything else.

    Opening a pipe would wait for ever, and reading a device such as /dev/zero would never end.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error
    except ValueError as error:
        raise AuditError(f"{str(path)!r}: cannot be the name of a file ({error})", hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise AuditError(f"{path}: is not a regular file", hint)
    return found
