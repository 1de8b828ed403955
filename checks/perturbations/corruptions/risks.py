"""Conditions of the operational domain, each as the corruptions that stand for it.

A condition stands for every cell named here, so that who limits "rain" limits all of them. Which corruption stands for
which condition follows Hendrycks & Dietterich (ICLR 2019, §3): noise of all kinds belongs to low light and bad
transmission, spatter is water up to severity 3 of the 32-pixel table and mud beyond.
"""

from collections.abc import Mapping
from typing import Final

from checks.perturbations.corruptions.catalogue import SEVERITIES

RISKS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "fog": {"fog": SEVERITIES},
    "rain": {"spatter": (1, 2, 3)},
    "lens dirt": {"spatter": (4, 5)},
    "snowfall": {"snow": SEVERITIES},
    "ice on the lens": {"frost": SEVERITIES},
    "night": {"gaussian_noise": SEVERITIES, "shot_noise": SEVERITIES, "contrast": SEVERITIES},
    "glare": {"brightness": (3, 4, 5), "saturate": (3, 4, 5)},
    "low sun": {"contrast": SEVERITIES, "brightness": SEVERITIES},
    "low bit rate camera": {"jpeg_compression": SEVERITIES, "pixelate": SEVERITIES},
    "camera shake": {"motion_blur": SEVERITIES},
    "approach at speed": {"zoom_blur": SEVERITIES},
    "out of focus": {"defocus_blur": SEVERITIES, "gaussian_blur": SEVERITIES},
    "dirty window": {"glass_blur": SEVERITIES},
    "faulty sensor": {"impulse_noise": SEVERITIES, "speckle_noise": SEVERITIES},
    "warped optics": {"elastic_transform": SEVERITIES},
}
"""Condition → corruption → severities."""
