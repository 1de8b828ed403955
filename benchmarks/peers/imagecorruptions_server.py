"""Runs in the environment of `imagecorruptions`: loads images, and tells how long a corruption of them takes."""

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


def main() -> None:
    images = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "load":
            images = np.load(words[1])
            print("loaded", flush=True)
            continue
        start = time.perf_counter()
        for image in images:
            corrupt(image, severity=3, corruption_name=words[0])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
