"""Tensors that come from no tensor, and changes of type."""

import torch
from torch import Tensor

from audit.models.differentiable.dtypes import supported
from audit.models.differentiable.node import Node, Operator, listed


def _constant(node: Node) -> Tensor:
    for name, value in node.attributes.items():
        match name, value:
            case "value", Tensor():
                return value
            case "value_int" | "value_ints", int() | tuple():
                return torch.tensor(value, dtype=torch.int64)
            case "value_float" | "value_floats", float() | tuple():
                return torch.tensor(value, dtype=torch.float32)
            case _:
                raise node.refuse(f"attribute {name}")
    raise node.refuse("no value")


def _filled(node: Node, shape: Tensor) -> Tensor:
    value = node.attributes.get("value", torch.zeros(1))
    if not isinstance(value, Tensor):
        raise node.refuse("its value is no tensor")
    return value.reshape(()).expand(node.bounded(listed(shape))).clone()


def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, step = start.item(), delta.item()
    if step == 0:
        raise node.refuse("a step of zero")
    count = max(int(-((first - limit.item()) // step)), 0)
    node.bounded([count])
    return (first + torch.arange(count, dtype=torch.float64 if start.is_floating_point() else torch.int64) * step).to(
        start.dtype
    )


def _eye(node: Node, x: Tensor) -> Tensor:
    kind = supported(node, node.integer("dtype")) if node.has("dtype") else x.dtype
    rows, columns = x.shape
    place = torch.arange(columns)[None] - torch.arange(rows)[:, None]
    return (place == node.integer("k", 0)).to(kind)


def _cast(node: Node, x: Tensor) -> Tensor:
    return _converted(node, x, supported(node, node.integer("to")))


def _cast_like(node: Node, x: Tensor, like: Tensor) -> Tensor:
    return _converted(node, x, like.dtype)


def _converted(node: Node, x: Tensor, kind: torch.dtype) -> Tensor:
    if x.requires_grad and not kind.is_floating_point and kind != torch.bool:
        raise node.refuse("makes integers of what depends on the input: the gradient would be cut unnoticed")
    return x.to(kind)


def _dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    if training is not None and bool(training.item()):
        raise node.refuse("training mode")
    return (x, torch.ones_like(x, dtype=torch.bool)) if len(node.outputs) > 1 else x


OPERATORS: dict[str, Operator] = {
    "Cast": _cast,
    "CastLike": _cast_like,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Dropout": _dropout,
    "EyeLike": _eye,
    "Range": _range,
}
