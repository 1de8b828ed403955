"""Where torch runs, and the settings under which the same input gives the same output."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch

from audit.errors import AuditError
from audit.runtime import processor

_BACKENDS: tuple[Any, ...] = attrgetter(
    "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"
)(torch.backends)
_CUDNN: Any = torch.backends.cudnn


def resolve_device(text: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N`; auto is the first CUDA device, else the processor.

    Raises AuditError where CUDA is asked for and not there, ValueError on any other text.
    """
    kind, _, index = text.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdecimal())):
        raise ValueError(f"{text!r} is not auto, cpu, cuda or cuda:N")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a machine whose driver is too old is a machine without CUDA
        devices = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not devices):
        return torch.device("cpu")
    if int(index or 0) >= devices:
        raise AuditError(
            f"device {text}: torch finds {devices} CUDA devices here", "Use device auto or cpu, or install a driver."
        )
    return torch.device("cuda", int(index or 0))


def describe(device: torch.device) -> dict[str, str | int]:
    """What computes, and what of it can change an output."""
    found: dict[str, str | int] = {"engine": "torch", "version": str(torch.__version__), "precision": "ieee"}
    if device.type == "cpu":
        instructions = torch.backends.cpu.get_cpu_capability()
        return found | {"device": "cpu", "processor": processor(), "instructions": instructions}
    return found | hardware(device)


def hardware(device: torch.device) -> dict[str, str | int]:
    """A CUDA device and its libraries, as far as they can change an output; onnxruntime shares them with torch."""
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "cudnn": _CUDNN.version() or 0,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
    }


@contextmanager
def reproducible(device: torch.device, threads: int, *, strict: bool) -> Iterator[None]:
    """Run torch with deterministic algorithms, IEEE float32, `threads` threads, and no gradients; all is put back.

    `strict` makes an operation that has no deterministic implementation raise RuntimeError.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    mode, benchmark = torch.get_deterministic_debug_mode(), _CUDNN.benchmark
    pool = torch.get_num_threads()
    try:
        for backend in _BACKENDS:
            backend.fp32_precision = "ieee"
        torch.set_deterministic_debug_mode("error" if strict else "warn")
        _CUDNN.benchmark = False
        torch.set_num_threads(threads)
        with warnings.catch_warnings(), torch.no_grad(), torch.autocast(device.type, enabled=False):
            if not strict:
                warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.set_num_threads(pool)
        _CUDNN.benchmark = benchmark
        torch.set_deterministic_debug_mode(mode)
        for backend, precision in zip(_BACKENDS, before, strict=True):
            backend.fp32_precision = precision
