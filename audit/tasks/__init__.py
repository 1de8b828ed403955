"""Tasks: what is kept of an output, and how two outputs are compared; one module each."""

from audit.contracts import Task
from audit.records import TaskRecord
from audit.tasks.classification import Classification
from audit.tasks.control import Control
from audit.tasks.regression import Regression, Tolerance
from audit.tasks.segmentation import Segmentation
from audit.types import TaskKind


def of(record: TaskRecord) -> Task:
    """The task that a plan names."""
    tolerance = Tolerance(record.absolute, record.relative)
    match TaskKind(record.kind):
        case TaskKind.CLASSIFICATION:
            return Classification()
        case TaskKind.SEGMENTATION:
            return Segmentation(record.ignore)
        case TaskKind.REGRESSION:
            return Regression(tolerance)
        case TaskKind.CONTROL:
            return Control(record.rule, tolerance)
