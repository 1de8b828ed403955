"""Scaled dot-product attention, as ONNX has it since opset 23, and rotary position embeddings."""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.dtypes import supported
from audit.models.differentiable.node import Node, Operator


def _attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    valid: Tensor | None = None,
) -> tuple[Tensor, ...]:
    node.precise(q, k, v)
    flat = q.ndim == 3
    if flat:
        q = _heads(q, node.integer("q_num_heads"))
        k, v = (_heads(x, node.integer("kv_num_heads")) for x in (k, v))
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    node.bounded([*q.shape[:3], k.shape[2]])
    repeats = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    root = sqrt(node.number("scale", 1 / sqrt(q.shape[-1])))
    scores = [torch.matmul(q * root, keys.transpose(-1, -2) * root)]
    scores.append(_capped(node, scores[0]))
    scores.append(scores[1] if (bias := _bias(node, q, k, mask, past, valid)) is None else scores[1] + bias)
    scores.append(_weights(node, scores[2]))
    found = torch.matmul(scores[3], values)
    found = found.transpose(1, 2).flatten(2) if flat else found
    return (found, k, v, scores[node.integer("qk_matmul_output_mode", 0)])[: len(node.outputs)]


def _heads(x: Tensor, heads: int) -> Tensor:
    """[batch, length, heads · size] → [batch, heads, length, size]."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _capped(node: Node, scores: Tensor) -> Tensor:
    cap = node.number("softcap", 0.0)
    return cap * torch.tanh(scores / cap) if cap else scores


def _bias(node: Node, q: Tensor, k: Tensor, mask: Tensor | None, past: int, valid: Tensor | None) -> Tensor | None:
    """What is added to the scores [batch, heads, queries, keys]: −∞ where a key may not be seen."""
    queries, keys = q.shape[2], k.shape[2]
    places = torch.arange(keys, device=q.device)
    allowed: Tensor | None = None
    offset = torch.full((1, 1, 1, 1), past, device=q.device)
    if valid is not None:
        valid = valid.reshape(-1, 1, 1, 1)
        allowed = places < valid
        offset = valid - queries if past == 0 else offset
    distance = places - (torch.arange(queries, device=q.device)[:, None] + offset)
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    if node.integer("is_causal", 0):
        allowed = _both(allowed, distance <= 0)
    if left >= 0:
        allowed = _both(allowed, distance >= -left)
    if right >= 0:
        allowed = _both(allowed, distance <= right)
    if mask is not None:
        missing = keys - mask.shape[-1]
        hidden = False if mask.dtype == torch.bool else -torch.inf
        mask = functional.pad(mask, (0, missing), value=hidden) if missing else mask
        if mask.dtype != torch.bool:
            return mask if allowed is None else mask + _hidden(allowed, q)
        allowed = _both(allowed, mask)
    return None if allowed is None else _hidden(allowed, q)


def _both(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a & b


def _hidden(allowed: Tensor, like: Tensor) -> Tensor:
    return torch.zeros(allowed.shape, dtype=like.dtype, device=like.device).masked_fill(~allowed, -torch.inf)


def _weights(node: Node, scores: Tensor) -> Tensor:
    kind = supported(node, node.integer("softmax_precision")) if node.has("softmax_precision") else scores.dtype
    # A query that may see no key gets zeros; without the detour its gradient would not be finite.
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    return torch.softmax(scores.masked_fill(blind, 0).to(kind), -1).to(scores.dtype).masked_fill(blind, 0)


def _rotary(node: Node, x: Tensor, cosine: Tensor, sine: Tensor, places: Tensor | None = None) -> Tensor:
    heads = x.transpose(1, 2) if x.ndim == 4 else x.reshape(*x.shape[:2], node.integer("num_heads"), -1)
    size = node.integer("rotary_embedding_dim", 0) or heads.shape[-1]
    turned, rest = heads[..., :size], heads[..., size:]
    if places is not None:
        cosine, sine = cosine[places.long()], sine[places.long()]
    cosine, sine = cosine[:, :, None], sine[:, :, None]
    interleaved = bool(node.integer("interleaved", 0))
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cosine * a - sine * b, sine * a + cosine * b
    turned = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    found = torch.cat([turned, rest], -1)
    return found.transpose(1, 2) if x.ndim == 4 else found.flatten(2)


OPERATORS: dict[str, Operator] = {"Attention": _attention, "RotaryEmbedding": _rotary}
