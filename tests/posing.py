"""A session on the processor that poses as one on CUDA, so that all but the device itself is tested without one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from audit.models import onnx_cuda, provider
from audit.models.provider import CPU, CUDA

DEVICE = torch.device("cpu", 0)
"""Stands for a CUDA device: tensors can be moved there, and bound there."""
_Real = onnxruntime.InferenceSession


@dataclass
class Machine:
    """What it does: whether CUDA starts, with which settings, and which operators it leaves to the processor."""

    starts: bool = True
    changed: dict[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    added: tuple[dict[str, str], ...] = ()
    fails: bool = False
    profile: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    options: list[Any] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    """`wait` where torch waited for the device, and the shape of the input of every pass."""


def pose(patch: pytest.MonkeyPatch) -> Machine:
    """Make every ONNX file whose device is not `cpu` run on such a machine."""
    machine = Machine()

    class Binding(onnxruntime.IOBinding):  # type: ignore[misc]
        def bind_input(self, name: str, *where: Any) -> None:
            assert where[:2] == ("cpu", 0)
            machine.order.append(str(where[3]))
            super().bind_input(name, *where)

    class Session(_Real):  # type: ignore[misc]
        def __init__(self, content: bytes, options: Any, providers: list[Any], **more: Any) -> None:
            assert more == {"enable_fallback": 0}
            self.posing = providers != [CPU]
            if self.posing:
                [(name, settings)] = providers
                assert name == CUDA
                machine.asked.append(settings)
                machine.options.append(options)
            super().__init__(content, options, providers=[CPU], **more)

        def get_providers(self) -> list[str]:
            return [CUDA, CPU] if self.posing and machine.starts else [CPU]

        def get_provider_options(self) -> dict[str, dict[str, str]]:
            return {CUDA: {"arena": "1", **machine.asked[-1], **machine.changed}, CPU: {}}

        def io_binding(self) -> Binding:
            return Binding(self)

        def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
            if machine.fails:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            machine.order.append("run")
            super().run_with_iobinding(binding, run_options)

        def end_profiling(self) -> str:
            path = Path(super().end_profiling())
            events = json.loads(path.read_text())
            for event in events:
                if "op_name" in event["args"] and event["args"]["op_name"] not in machine.left:
                    event["args"]["provider"] = CUDA
            events += [{"cat": "Node", "args": added} for added in machine.added]
            path.write_text(json.dumps(events) if machine.profile is None else machine.profile)
            return str(path)

    patch.setattr(onnxruntime, "InferenceSession", Session)
    patch.setattr(provider, "resolve", lambda text: None if text == "cpu" else DEVICE)
    patch.setattr(torch.cuda, "synchronize", lambda device: machine.order.append("wait"))
    patch.setattr(onnx_cuda, "hardware", lambda device: {"device": "a card", "cuda": "13.0", "cudnn": 92400})
    return machine
