"""What can go wrong through no fault of ours, said so that the reader can mend it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The process exit codes; anything but 0 blocks a release."""

    ACCEPTED = 0
    FAILED = 1
    INPUT = 2
    CONDITIONAL = 3
    NOT_EVALUATED = 4
    BUG = 5
    INTERRUPTED = 130


class AuditError(Exception):
    """A request that cannot be carried out: what happened to which input, and what to do about it.

    `reason` is a stable code where a program may want to know which kind of thing went wrong, else "".
    """

    code = ExitCode.INPUT

    def __init__(self, what: str, hint: str, reason: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}"


class StorageError(AuditError):
    """The output folder stopped taking data (full disk, quota, permissions): the audit is incomplete."""

    code = ExitCode.NOT_EVALUATED
