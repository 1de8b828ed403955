"""Which of onnxruntime's providers runs an ONNX file, and the settings under which its outputs repeat.

What is chosen runs, or nothing does: onnxruntime itself goes on on the processor, with no more than a line in a log,
where CUDA cannot be started.
"""

import contextlib
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from audit.errors import AuditError
from audit.models.graph import HINT, first_line

if TYPE_CHECKING:
    import onnxruntime
    import torch

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SETTINGS = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
"""Its own defaults would choose convolutions by a stopwatch, and round the factors of every product to 10 bits."""
_ERRORS = 3
"""Of onnxruntime's log: errors, no warnings."""
_SWAP = "Run `pip uninstall -y onnxruntime && pip install onnxruntime-gpu`, or use device cpu."
_LIBRARIES = "CUDA and cuDNN must be those it was built for, in torch as well (docs/models.md); or use device cpu."


def resolve(text: str) -> "torch.device | None":
    """The CUDA device that ONNX files run on for `auto`, `cpu`, `cuda` or `cuda:N`; None for the processor.

    auto is the first CUDA device where onnxruntime offers CUDA and torch finds one. Raises AuditError where CUDA is
    asked for and not there.
    """
    if text == "cpu":
        return None
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        if text == "auto":
            return None
        raise AuditError(f"device {text}: the installed onnxruntime {onnxruntime.__version__} has no CUDA", _SWAP)
    from audit.models.device import resolve_device

    found = resolve_device(text)
    return found if found.type == "cuda" else None


def on_processor(content: bytes, path: Path, threads: int) -> "onnxruntime.InferenceSession":
    """A session on the processor; raises AuditError where onnxruntime does not take the file."""
    return _session(content, path, _options(threads), [CPU])


def on_cuda(
    content: bytes, path: Path, threads: int, device: "torch.device", profile: Path
) -> "onnxruntime.InferenceSession":
    """A session on a CUDA device, which writes what it runs to files that begin with `profile` until it is told to end.

    Raises AuditError where onnxruntime does not take the file, or would run it elsewhere or with other settings.
    """
    said = _load_libraries()
    options = _options(threads)
    options.use_deterministic_compute = True
    options.enable_profiling = True
    options.profile_file_prefix = str(profile)
    wanted = SETTINGS | {"device_id": str(device.index)}
    session = _session(content, path, options, [(CUDA, wanted)])
    if session.get_providers()[0] != CUDA:
        raise AuditError(
            f"{path}: onnxruntime could not start CUDA, and would run it on the processor {said}".rstrip(), _LIBRARIES
        )
    found = session.get_provider_options()[CUDA]
    if wrong := {name: found.get(name) for name, value in wanted.items() if found.get(name) != value}:
        raise AuditError(f"{path}: onnxruntime did not take the settings of CUDA ({wrong})", "Install a newer one.")
    return session


def _options(threads: int) -> "onnxruntime.SessionOptions":
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    # Otherwise bytes that look like onnxruntime's own format as well would run as that, unchecked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _session(
    content: bytes, path: Path, options: "onnxruntime.SessionOptions", providers: list[str | tuple[str, dict[str, str]]]
) -> "onnxruntime.InferenceSession":
    import onnxruntime as ort

    try:
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises from unrelated hierarchies, some of them private
        raise AuditError(f"{path}: onnxruntime cannot load it ({first_line(error)})", HINT) from error


@cache
def _load_libraries() -> str:
    """Let onnxruntime find the CUDA libraries that were installed with torch; what it says when it does not."""
    import onnxruntime
    import torch  # noqa: F401 (for its effect: it has loaded its own, which are then shared)

    # Else it warns of every convolution that cuDNN was told not to search for: that is what was asked for.
    onnxruntime.set_default_logger_severity(_ERRORS)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        onnxruntime.preload_dlls()
    return f"({text.splitlines()[0]})" if (text := said.getvalue().strip()) else ""
