"""Polygraphy's `--data-loader-script`: the test items that the environment variables name."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from inputs import batches
from numpy.typing import NDArray


def load_data() -> Iterator[dict[str, NDArray[np.float32]]]:
    """Batches under the name of the networks' input."""
    data, size = Path(os.environ["PEERS_DATA"]), int(os.environ["PEERS_BATCH"])
    for images in batches(data, noisy=os.environ["PEERS_NOISE"] == "yes", size=size):
        yield {"image": images}


def load_nothing() -> Iterator[dict[str, NDArray[np.float32]]]:
    """One batch without items."""
    yield {"image": np.empty((0, 3, 32, 32), np.float32)}
