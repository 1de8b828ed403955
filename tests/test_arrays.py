"""Preprocessing of a tensor, wherever it is, gives the bits that it gives of an array."""

import numpy as np
import pytest
import torch

from audit.models import arrays
from audit.models.adapter import Preprocessing

ITEMS = np.random.default_rng(0).random((5, 3, 8, 8), np.float32)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"range": (-1.0, 1.0)},
        {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        {"range": (0.0, 255.0), "mean": (123.7, 116.3, 103.5)},
        {"resize": (5, 7), "std": (0.1, 0.2, 0.3), "item": (105,)},
    ],
)
def test_arrays_and_tensors_give_the_same_bits(layout: str, settings: dict[str, object]) -> None:
    preprocessing = Preprocessing(layout=layout, **settings)  # type: ignore[arg-type]
    tensor, before = torch.from_numpy(ITEMS.copy()), ITEMS.copy()
    expected, found = preprocessing.apply(ITEMS), preprocessing.apply(tensor)
    assert found.dtype == torch.float32 and found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(tensor.numpy(), before)
    np.testing.assert_array_equal(ITEMS, before)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_element_types_are_rounded_to_alike(dtype: str) -> None:
    x = np.array([-3.0, 0.5, 1.5, 2.4999998, 254.5, 255.5, 300.0, 0.1], np.float32)
    found = arrays.typed(torch.from_numpy(x), dtype)
    np.testing.assert_array_equal(found.numpy(), arrays.typed(x, dtype))
    assert found.numpy().dtype == dtype
