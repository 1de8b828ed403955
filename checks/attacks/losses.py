"""What attacks make as large as they can: losses of scores [N, K] and labels int64 [N], one for each item [N]."""

from collections.abc import Callable

import torch
from torch import Tensor

_TINY = 1e-12

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Zero, and so is its gradient, where scores lie so far apart that a float32 probability is 1: see `margin`."""
    return torch.nn.functional.cross_entropy(scores, labels, reduction="none")


def margin(scores: Tensor, labels: Tensor) -> Tensor:
    """Largest other score minus that of the label (Carlini & Wagner, 2017): positive where an item is fooled."""
    own = scores.gather(1, labels[:, None]).squeeze(1)
    return _others(scores, labels).amax(1) - own


def difference_of_logits_ratio(scores: Tensor, labels: Tensor) -> Tensor:
    """The margin by the distance of the first to the third score (DLR; Croce & Hein, ICML 2020, eq. 6).

    A factor on all scores changes nothing. Of fewer than three classes there is no third: then it is the margin.
    """
    if scores.shape[1] < 3:
        return margin(scores, labels)
    ordered = scores.sort(dim=1).values
    return margin(scores, labels) / (ordered[:, -1] - ordered[:, -3] + _TINY)


def targeted(target: Tensor) -> Loss:
    """The score of the `target` class int64 [N] minus that of the label, by a distance of scores (eq. 7 there).

    Of fewer than four classes the divisor of eq. 6 is taken, of fewer than three none.
    """

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        towards = scores.gather(1, target[:, None]) - scores.gather(1, labels[:, None])
        if scores.shape[1] < 3:
            return towards.squeeze(1)
        ordered = scores.sort(dim=1).values
        last = ordered[:, -3] if scores.shape[1] < 4 else (ordered[:, -3] + ordered[:, -4]) / 2
        return towards.squeeze(1) / (ordered[:, -1] - last + _TINY)

    return loss


def _others(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.scatter(1, labels[:, None], -torch.inf)
