"""Preprocessing of a tensor, wherever it is, gives the bits that it gives of an array."""

import numpy as np
import pytest
import torch

from audit.models import arrays
from audit.models.adapter import Features, Preprocessing

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


def test_features_get_their_units_back() -> None:
    low, high = (-2.0, 0.0, 1e-3), (2.0, 1e9, 2e-3)
    values = np.random.default_rng(0).uniform(low, high, (100, 3))
    shares = ((values - low) / (np.array(high) - low)).astype(np.float32).reshape(-1, 3, 1, 1)
    preprocessing = Preprocessing(features=Features((3,), low, high), mean=(1.0, 0.0, 0.0))
    found = preprocessing.apply(shares)
    assert found.shape == (100, 3) and found.dtype == np.float32
    span = np.array(high) - low
    assert (
        np.abs(found + np.array([1.0, 0.0, 0.0]) - values) <= 2**-23 * np.maximum(span, np.abs(values).max(axis=0))
    ).all()
    np.testing.assert_array_equal(preprocessing.apply(torch.from_numpy(shares)).numpy(), found)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_element_types_are_rounded_to_alike(dtype: str) -> None:
    x = np.array([-3.0, 0.5, 1.5, 2.4999998, 254.5, 255.5, 300.0, 0.1], np.float32)
    found = arrays.typed(torch.from_numpy(x), dtype)
    np.testing.assert_array_equal(found.numpy(), arrays.typed(x, dtype))
    assert found.numpy().dtype == dtype
