"""The process around the networks: settings that must stand before torch is imported, and its versions."""

import os
import platform
from functools import cache
from importlib import metadata

from audit.errors import AuditError

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "torch", "torchvision", "onnx", "numpy", "scipy", "pyarrow")
"""Libraries whose version can change a result."""
_ONNXRUNTIME = PACKAGES[:2]
"""Packages that hold the module `onnxruntime`: for the processor alone, and for CUDA too."""
_LANES = 4


def prepare() -> None:
    """Set thread and allocator variables; effective only before torch is first imported.

    A spinning OpenMP pool makes torch 16 to 26 times slower as soon as another process wants a core, and
    transparent huge pages halve the cost of large activations. cuBLAS gives the same sums every time only with a
    workspace of fixed size.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lanes(*, with_torch: bool, on_cuda: bool = False) -> int:
    """Batches under way at once: one with torch, whose settings belong to the process and whose modules keep state.

    One on CUDA, where a batch fills the device. Each has its own inputs and activations in memory, so there are no
    more than four.
    """
    return 1 if with_torch or on_cuda else min(_LANES, cores())


def threads(lanes: int) -> int:
    """Threads of one forward pass, so that all lanes together fill the cores."""
    return max(1, cores() // lanes)


@cache
def packages() -> dict[str, str]:
    """Installed versions of the libraries that can change a result, and of Python."""
    found = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return {"python": platform.python_version()} | found


def require_one_onnxruntime() -> None:
    """Raise AuditError where two packages hold the module `onnxruntime`, or none does.

    They lie in one folder, so that of two nobody knows what runs.
    """
    found = [f"{name} {version}" for name in _ONNXRUNTIME if (version := _version(name)) is not None]
    if len(found) > 1:
        raise AuditError(
            f"{' and '.join(found)} are both installed, one over the other",
            f"Run `pip uninstall -y {' '.join(_ONNXRUNTIME)}`, then install the one that you want.",
        )
    if not found:
        raise AuditError("onnxruntime is not installed", "Run `pip install onnxruntime`, or onnxruntime-gpu for CUDA.")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def host() -> dict[str, str | int]:
    """The machine, as far as a reader of a certificate wants to know."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
    }


@cache
def processor() -> str:
    """What the processor calls itself; 'not stated' where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (a device, not a document)
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "not stated"
