"""One image, whatever a data set gives it as: an array [C, H, W] of uint8 or float."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data import values
from audit.data.values import Layout
from audit.errors import AuditError

ACCEPTED = "An image is a PIL image, a numpy array (H×W×C, C×H×W or H×W) or a torch tensor (C×H×W or H×W)."


def of(image: object, layout: Layout, where: str) -> NDArray[np.generic]:
    """The pixels [C, H, W] of a PIL image (RGB or L), a torch tensor (C×H×W or H×W) or an array.

    `layout` is that of three-dimensional arrays. Element types stay as they are; `where` names the image in the
    AuditError that is raised for anything else.
    """
    torch = sys.modules.get("torch")  # where torch is not loaded, nothing is a tensor
    if torch is not None and isinstance(image, torch.Tensor):
        return _checked(_of_tensor(image), "NCHW", where)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _of_pil(image, where)
    if hasattr(image, "__array__"):
        return _checked(np.asarray(image), layout, where)
    raise AuditError(f"{where}: is a {type(image).__name__}, not an image", ACCEPTED)


def _of_tensor(tensor: Any) -> NDArray[np.generic]:
    found = tensor.detach().cpu()
    widened = found.float() if str(found.dtype) == "torch.bfloat16" else found  # numpy has no such type
    array: NDArray[np.generic] = widened.numpy()
    return array


def _of_pil(image: Any, where: str) -> NDArray[np.generic]:
    """Modes that need a rule to become colours (palette, transparency, CMYK, 16 bits) are refused: which, is not ours.

    Pixels are taken as stored, as in training with torchvision: no EXIF rotation, no colour profile.
    """
    if image.mode not in {"L", "RGB"} or "transparency" in image.info:
        found = f"of mode {image.mode}" if image.mode not in {"L", "RGB"} else "partly transparent"
        raise AuditError(f"{where}: is {found}", "Convert it to RGB or L (grey), in the way the networks were trained.")
    return _checked(np.asarray(image), "NHWC", where)


def _checked(array: NDArray[np.generic], layout: Layout, where: str) -> NDArray[np.generic]:
    if array.ndim not in {2, 3} or array.dtype.name not in values.TYPES or 0 in array.shape:
        raise AuditError(
            f"{where}: its image is {array.dtype.name} of shape {array.shape}",
            f"{ACCEPTED} Its values are uint8, or float in [0, 1].",
        )
    if array.ndim == 2:
        return np.ascontiguousarray(array)[None]
    last = values.channels_last((array.shape[0], array.shape[2]), layout)
    if last is None:
        raise AuditError(
            f"{where}: cannot tell where the channels are in an image of shape {array.shape}",
            'Say so in the audit file: layout = "NHWC" or "NCHW".',
        )
    return np.ascontiguousarray(array.transpose(2, 0, 1) if last else array)
