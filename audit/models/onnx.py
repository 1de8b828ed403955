"""ONNX files on onnxruntime's CPU provider: the engine of record.

It is bit-stable across runs, processes and batch sizes with all graph optimisations on (`ENABLE_ALL`), which
torch is not. A file is read once; what is hashed are the bytes that are run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.errors import AuditError
from audit.models import files, graph
from audit.models.adapter import Preprocessing
from audit.models.files import Format, ModelFile
from audit.models.graph import HINT, first_line
from audit.runtime import processor
from audit.types import Role

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor

_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True)
class OnnxModel:
    """A loaded network: callable on float32 [N, C, H, W] in [0, 1]; gives raw outputs float32 [N, classes]."""

    role: Role
    path: Path
    sha256: str
    size: int
    parameters: int
    nonzero: int
    classes: int
    preprocessing: Preprocessing
    threads: int
    session: "onnxruntime.InferenceSession"
    input_name: str
    format: str = Format.ONNX.value
    deviations: tuple[str, ...] = ()

    def __call__(self, x: "Tensor", /) -> "Tensor":
        import torch

        feed = {self.input_name: self.preprocessing.apply(x.numpy())}
        try:
            return torch.from_numpy(self.session.run(None, feed)[0])
        except Exception as error:  # as in _session
            raise AuditError(f"{self.path}: fails on the data ({first_line(error)})", HINT) from error

    @property
    def runtime(self) -> dict[str, str | int]:
        """What ran: it enters the key of every observation."""
        import onnxruntime

        return {
            "engine": "onnxruntime",
            "version": onnxruntime.__version__,
            "provider": _PROVIDER,
            "optimisation": "all",
            "threads": self.threads,
            "processor": processor(),
        }

    @property
    def name(self) -> str:
        """What its file is called."""
        return self.path.name

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file on disk is no longer the one that was audited."""
        files.verify_unchanged(self.path, self.sha256)


def load(
    file: ModelFile, role: Role, shape: tuple[int, int, int], preprocessing: Preprocessing, threads: int
) -> OnnxModel:
    """Check and start a model for items of `shape` (C, H, W); raises AuditError for anything unusable."""
    path = file.path
    parameters, nonzero = graph.weights(file.content, path)
    session = _session(file.content, path, threads)
    name = _interface(session, shape, preprocessing, path)
    return OnnxModel(
        role=role,
        path=path,
        sha256=file.sha256,
        size=len(file.content),
        parameters=parameters,
        nonzero=nonzero,
        classes=_trial(session, name, shape, preprocessing, path),
        preprocessing=preprocessing,
        threads=threads,
        session=session,
        input_name=name,
    )


def _session(content: bytes, path: Path, threads: int) -> "onnxruntime.InferenceSession":
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    # Otherwise bytes that look like onnxruntime's own format as well would run as that, unchecked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(content, options, providers=[_PROVIDER])
    except Exception as error:  # onnxruntime raises from unrelated hierarchies, some of them private
        raise AuditError(f"{path}: onnxruntime cannot load it ({first_line(error)})", HINT) from error


def _interface(
    session: "onnxruntime.InferenceSession", shape: tuple[int, int, int], preprocessing: Preprocessing, path: Path
) -> str:
    """The name of the only input, after its declaration and that of the only output have been checked."""
    try:
        taken, given = session.get_inputs(), session.get_outputs()
        if len(taken) != 1 or len(given) != 1:
            found = f"{[i.name for i in taken]} → {[o.name for o in given]}"
            raise AuditError(f"{path}: needs one input and one output, has {found}", "Export the classifier alone.")
        _check_input(taken[0], shape, preprocessing, path)
        if given[0].type != "tensor(float)":
            raise AuditError(f"{path}: its output is {given[0].type}, not tensor(float)", "Export in float32.")
        return str(taken[0].name)
    except UnicodeDecodeError as error:
        raise AuditError(f"{path}: not a valid ONNX file (a name in it is not UTF-8)", HINT) from error


def _check_input(found: Any, shape: tuple[int, int, int], preprocessing: Preprocessing, path: Path) -> None:
    """Compare the declared input with what the data will be; dynamic dimensions fit anything."""
    if found.type != "tensor(float)":
        raise AuditError(f"{path}: its input is {found.type}, not tensor(float)", "Export with a float32 input.")
    expected = preprocessing.model_shape(shape)
    declared = list(found.shape)
    if len(declared) != 4 or any(isinstance(d, int) and d != e for d, e in zip(declared[1:], expected, strict=False)):
        sizes = " × ".join(map(str, declared[1:]))
        raise AuditError(
            f"{path}: takes inputs of {sizes}, but the data are {' × '.join(map(str, expected))} "
            f"({preprocessing.layout[1:]})",
            "Use the test set that belongs to this model, or declare the layout in the audit file.",
        )
    if isinstance(declared[0], int):
        raise AuditError(
            f"{path}: its batch size is fixed at {declared[0]}", "Export it with a dynamic batch dimension."
        )


def _trial(
    session: "onnxruntime.InferenceSession",
    name: str,
    shape: tuple[int, int, int],
    preprocessing: Preprocessing,
    path: Path,
) -> int:
    """Run two blank items; gives the number of classes."""
    try:
        out = session.run(None, {name: preprocessing.apply(np.zeros((2, *shape), np.float32))})[0]
    except Exception as error:  # as in _session
        raise AuditError(f"{path}: fails on an input of {shape} ({first_line(error)})", HINT) from error
    if not isinstance(out, np.ndarray) or out.ndim != 2 or len(out) != 2 or out.shape[1] < 2:
        raise AuditError(
            f"{path}: gives outputs of shape {np.shape(out)} for 2 items, not (2, classes)",
            "Export the classifier with one score per class.",
        )
    return int(out.shape[1])
