"""Where the folders that lie beside the package are, in a checkout and in an installation alike."""

from pathlib import Path

import audit
from audit.errors import AuditError

HOME = Path(audit.__file__).resolve().parent.parent


def beside(*parts: str) -> Path:
    """A file or folder beside `audit/`; raises AuditError when the installation lacks it."""
    path = HOME.joinpath(*parts)
    if not path.exists():
        raise AuditError(f"{path}: is missing from this installation", "Install prune-audit again.")
    return path
