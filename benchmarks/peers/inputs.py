"""Test items and outputs for the scripts of the peers, read as a user's script would read them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

BATCH = 256


def questions() -> Any:
    """What `benchmarks/peers.py` wrote to `questions.json` in the working folder: limits, preprocessing, noise."""
    return json.loads(Path("questions.json").read_text())


def batches(data: Path, *, noisy: bool, size: int = BATCH) -> Iterator[NDArray[np.float32]]:
    """Normalised images [size, 3, H, W]; noise is uniform, ± the level in steps of 1/255, clipped to [0, 1].

    The noise of an image is drawn from its own pixels' checksum: an item has the same noise in any set of items.
    """
    asked = questions()
    level = asked["level"] / 255
    mean, std = (np.asarray(asked[name], np.float32) for name in ("mean", "std"))
    images = np.load(data)["x"]
    for first in range(0, len(images), size):
        pixels = images[first : first + size].astype(np.float32) / 255
        if noisy:
            seeds = [zlib.crc32(image.tobytes()) for image in images[first : first + size]]
            noise = [np.random.default_rng(seed).uniform(-level, level, pixels.shape[1:]) for seed in seeds]
            pixels = np.clip(pixels + np.asarray(noise, np.float32), 0, 1)
        yield np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2))


def outputs(model: Path, data: Path, *, noisy: bool) -> NDArray[np.float32]:
    """Logits [items, classes]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x})[0] for x in batches(data, noisy=noisy)])
