"""What the data sets of one audit must have in common with its test set, and what they must not."""

from collections.abc import Iterable, Mapping

from audit.data import manifest
from audit.dataset import DataSource
from audit.errors import AuditError
from audit.types import DataName, DataRole

_UNCHANGED = 0.1
"""Share of the items of a corrupted set that may be clean ones: some images have no colour that could be taken away."""


def require(data: Mapping[DataName, DataSource], *, whole: bool) -> None:
    """Raise AuditError where a set cannot be what its role says; not `whole` are samples, each drawn by itself."""
    test = data[DataRole.TEST]
    for source in data.values():
        if source.role is DataRole.CORRUPTED:
            _require_changed(source, test)
            if whole:
                _require_in_line(source, test)
        elif source.role is not DataRole.TEST:
            _require_apart(source, test)
    _require_different(source for source in data.values() if source.role is DataRole.CORRUPTED)


def _require_apart(source: DataSource, test: DataSource) -> None:
    """Thresholds are set, and shift and foreign inputs looked for, on items of their own."""
    if shared := _shared(source, test):
        raise AuditError(
            f"{source.name}: {shared} of its items are items of the test set",
            f"Give {source.role} data that share no item with it.",
            "shared-items",
        )


def _require_changed(source: DataSource, test: DataSource) -> None:
    """Of data that are the clean ones every network keeps its accuracy."""
    shared = _shared(source, test)
    if shared > _UNCHANGED * len(source.manifest.ids):
        raise AuditError(
            f"{source.name}: {shared} of its {len(source.manifest.ids)} items are items of the test set as they are",
            "Give corrupted data that are corrupted.",
            "shared-items",
        )


def _require_in_line(source: DataSource, test: DataSource) -> None:
    """Item by item they are the test items: what is lost in a cell is compared with what is lost on the clean item."""
    own, clean = source.manifest, test.manifest
    if len(own.keep) != len(clean.keep):
        what = f"{len(own.keep)} items, the test set has {len(clean.keep)}"
    elif (own.keep != clean.keep).any():
        what = "items come twice in it that do not in the test set, or the other way round"
    elif (own.labels != clean.labels).any():
        what = "its labels are not those of the test items in their order"
    else:
        return
    raise AuditError(
        f"{source.name}: {what}",
        "Give the items of the test set in its order, each once, or the corrupted ones as [data.shifted].",
        "out-of-line",
    )


def _require_different(sources: Iterable[DataSource]) -> None:
    """One set under two names would be one condition that counts twice, and another that is missing."""
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(source.manifest.digest, source.name)
        if other != source.name:
            raise AuditError(f"{other} and {source.name} hold the same items", "Give each its own.", "shared-items")


def _shared(source: DataSource, test: DataSource) -> int:
    return len(manifest.common(source.manifest.ids, test.manifest.ids))
