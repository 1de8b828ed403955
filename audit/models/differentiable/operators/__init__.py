"""The operators that are carried, by name; a plain dict, one file per kind."""

from audit.models.differentiable.node import Operator
from audit.models.differentiable.operators import (
    activations,
    arithmetic,
    attention,
    convolution,
    creation,
    elementwise,
    indexing,
    linear,
    normalisation,
    pooling,
    quantisation,
    reductions,
    resizing,
    shapes,
)

OPERATORS: dict[str, Operator] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **attention.OPERATORS,
    **convolution.OPERATORS,
    **creation.OPERATORS,
    **elementwise.OPERATORS,
    **indexing.OPERATORS,
    **linear.OPERATORS,
    **normalisation.OPERATORS,
    **pooling.OPERATORS,
    **quantisation.OPERATORS,
    **reductions.OPERATORS,
    **resizing.OPERATORS,
    **shapes.OPERATORS,
}
