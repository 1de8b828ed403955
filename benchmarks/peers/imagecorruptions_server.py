"""Runs in the environment of `imagecorruptions`: loads images, and tells how long corrupting them takes."""

import sys
import time
import warnings

import numpy as np
import skimage.filters

warnings.simplefilter("ignore")
np.float_ = np.float64  # gone from numpy 2
_gaussian = skimage.filters.gaussian


def _with_multichannel(image, sigma=1, *arguments, multichannel=None, **options):
    """The argument that scikit-image renamed."""
    return _gaussian(image, sigma, *arguments, channel_axis=-1 if multichannel else None, **options)


skimage.filters.gaussian = _with_multichannel

from imagecorruptions import corrupt, corruptions  # noqa: E402 (the aliases must stand first)

corruptions.gaussian = _with_multichannel


def as_batch(images: list[np.ndarray]) -> np.ndarray:
    """What a network takes: float32 [N, C, H, W] in [0, 1]."""
    found = np.empty((len(images), images[0].shape[2], *images[0].shape[:2]), np.float32)
    for place, image in zip(found, images, strict=True):
        np.multiply(image.transpose(2, 0, 1), np.float32(1 / 255), out=place, casting="same_kind")
    return found


def main() -> None:
    images = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "load":
            images = np.load(words[1])
            print("loaded", flush=True)
            continue
        start = time.perf_counter()
        made = [corrupt(image, severity=3, corruption_name=words[0]) for image in images]
        corrupted = time.perf_counter()
        as_batch(made)
        print(corrupted - start, time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
