"""Which corruptions there are, and on what images they are possible; no operation is imported here."""

from dataclasses import dataclass
from typing import Final

GENERATOR: Final = "2"
"""Version of the corruptions: any change of any pixel is a new one."""
SEVERITIES: Final = (1, 2, 3, 4, 5)
_COLOURS: Final = (1, 3)


@dataclass(frozen=True, slots=True)
class Kind:
    """One corruption: its `function` in the module `group` of this package, and the images that it is possible on.

    `smallest` is the least number of pixels of the shorter side, by severity: on smaller images too few change, as
    drops and impulses are few. At least a share `min_effect` of the items must change; grey ones cannot be saturated.
    """

    name: str
    group: str
    smallest: tuple[int, int, int, int, int] = (8, 8, 8, 8, 8)
    channels: tuple[int, ...] = _COLOURS
    min_effect: float = 0.99

    def obstacle(self, severity: int, shape: tuple[int, int, int]) -> str:
        """Why images of `shape` (C, H, W) cannot be corrupted so; '' where they can."""
        channels, side, least = shape[0], min(shape[1:]), self.smallest[severity - 1]
        if channels not in self.channels:
            return f"{self.name} needs images of {' or '.join(map(str, self.channels))} channels, these have {channels}"
        if side < least:
            return f"{self.name}, severity {severity}, needs {least} pixels a side, these images have {side}"
        return ""


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("gaussian_noise", "noise"),
        Kind("shot_noise", "noise"),
        Kind("impulse_noise", "noise", smallest=(28, 20, 16, 12, 12)),
        Kind("speckle_noise", "noise"),
        Kind("defocus_blur", "blur"),
        Kind("glass_blur", "blur"),
        Kind("motion_blur", "blur"),
        Kind("zoom_blur", "blur", smallest=(12, 8, 8, 8, 8)),
        Kind("gaussian_blur", "blur"),
        Kind("snow", "weather"),
        Kind("frost", "weather"),
        Kind("fog", "weather"),
        Kind("brightness", "weather"),
        Kind("spatter", "weather", smallest=(20, 16, 12, 20, 16)),
        Kind("contrast", "digital"),
        Kind("elastic_transform", "digital"),
        Kind("pixelate", "digital"),
        Kind("jpeg_compression", "digital", smallest=(16, 16, 16, 16, 16)),
        Kind("saturate", "digital", channels=(3,), min_effect=0.9),
    )
}
"""All nineteen, by name, in the order of the paper."""
