"""ONNX files on onnxruntime's CPU provider: the engine of record.

It is bit-stable across runs, processes and batch sizes with all graph optimisations on (`ENABLE_ALL`), which
torch is not. A file is read once; what is hashed are the bytes that are run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit import digest
from audit.errors import AuditError
from audit.models.adapter import Preprocessing
from audit.types import Role

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor

_PROVIDER = "CPUExecutionProvider"
_HINT = "Name an ONNX file that onnxruntime can run, weights inside, one image input, one output of class scores."


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

    def __call__(self, x: "Tensor", /) -> "Tensor":
        import torch

        feed = {self.input_name: self.preprocessing.apply(x.numpy())}
        return torch.from_numpy(self.session.run(None, feed)[0])

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
        }

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file on disk is no longer the one that was audited."""
        try:
            same = digest.of_file(self.path) == self.sha256
        except OSError:
            same = False
        if not same:
            raise AuditError(
                f"{self.path}: changed during the audit",
                "The results belong to no file on disk; run the audit again.",
            )


def load(path: Path, role: Role, shape: tuple[int, int, int], preprocessing: Preprocessing, threads: int) -> OnnxModel:
    """Read, check and start a model for items of `shape` (C, H, W); raises AuditError for anything unusable."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", f"Name the {role}'s ONNX file.") from error
    parameters, nonzero = _weights(content, path)
    session = _session(content, path, threads)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{[i.name for i in inputs]} → {[o.name for o in outputs]}"
        raise AuditError(f"{path}: needs one input and one output, has {found}", "Export the classifier alone.")
    _check_input(inputs[0], shape, preprocessing, path)
    if outputs[0].type != "tensor(float)":
        raise AuditError(f"{path}: its output is {outputs[0].type}, not tensor(float)", "Export in float32.")
    return OnnxModel(
        role=role,
        path=path,
        sha256=digest.of_bytes(content),
        size=len(content),
        parameters=parameters,
        nonzero=nonzero,
        classes=_trial(session, inputs[0].name, shape, preprocessing, path),
        preprocessing=preprocessing,
        threads=threads,
        session=session,
        input_name=inputs[0].name,
    )


def _weights(content: bytes, path: Path) -> tuple[int, int]:
    """(stored weights, those not zero) of the floating-point initialisers."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        if not content:
            raise ValueError("the file is empty")
        model = onnx.load_model_from_string(content)
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
            raise AuditError(
                f"{path}: keeps its weights in another file",
                "Export with the weights inside (external_data=False).",
            )
        onnx.checker.check_model(content)
        tensors = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
        weights = [tensor for tensor in tensors if tensor.dtype.kind == "f"]
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AuditError(f"{path}: not a valid ONNX file ({reason})", _HINT) from error
    return sum(w.size for w in weights), sum(int(np.count_nonzero(w)) for w in weights)


def _session(content: bytes, path: Path, threads: int) -> "onnxruntime.InferenceSession":
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(content, options, providers=[_PROVIDER])
    except Exception as error:  # onnxruntime raises from unrelated hierarchies, some of them private
        raise AuditError(f"{path}: onnxruntime cannot load it ({_first_line(error)})", _HINT) from error


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
        raise AuditError(f"{path}: fails on an input of {shape} ({_first_line(error)})", _HINT) from error
    if not isinstance(out, np.ndarray) or out.ndim != 2 or len(out) != 2 or out.shape[1] < 2:
        raise AuditError(
            f"{path}: gives outputs of shape {np.shape(out)} for 2 items, not (2, classes)",
            "Export the classifier with one score per class.",
        )
    return int(out.shape[1])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
