"""Global magnitude pruning: one threshold for the weights of all convolutions and linear layers.

Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", arXiv
1506.02626; the global threshold as in Renda, Frankle and Carbin, arXiv 2003.02389.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def prunable_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that pruning may remove, by name; biases and batch normalisations are left alone."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def magnitude_masks(model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """Boolean masks, true where a weight stays, that remove the fraction `sparsity` of smallest magnitude.

    The number removed is round(sparsity × weights), more only where magnitudes tie at the threshold. Raises
    ValueError unless 0 < sparsity < 1, the weights are finite and at least one is removed.
    """
    weights = prunable_weights(model)
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    removed = round(sparsity * magnitudes.numel()) if 0 < sparsity < 1 else 0
    if not removed or not bool(magnitudes.isfinite().all()):
        raise ValueError(f"cannot remove the fraction {sparsity} of {magnitudes.numel()} weights")
    threshold = magnitudes.kthvalue(removed).values
    return {name: weight.detach().abs() > threshold for name, weight in weights.items()}


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets every weight outside its mask to zero, in place."""
    weights = prunable_weights(model)
    for name, mask in masks.items():
        weights[name].masked_fill_(~mask, 0.0)


def zero_count(model: nn.Module) -> tuple[int, int]:
    """Numbers of prunable weights that are zero, and of all prunable weights."""
    weights = prunable_weights(model).values()
    return sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
