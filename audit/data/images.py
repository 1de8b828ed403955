"""Image files: PNG and JPEG, decoded whole or refused."""

import io
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.data import pixels
from audit.errors import AuditError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_FORMATS = ("PNG", "JPEG")
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS = 2**30 // 4 // 3
"""As many as Pillow takes without a warning, unless somebody told it otherwise: 0.25 GiB of colours."""
_DEPTH = 24
"""Where a PNG file says how many bits a value has: in its first chunk (PNG specification, third edition, §11.2.1)."""


def read(path: Path) -> NDArray[np.generic]:
    """The pixels uint8 [C, H, W] of an RGB or grey image, as stored.

    Raises AuditError naming the file where it is damaged, animated, larger than Pillow's limit against
    decompression bombs, or in a mode that would need a conversion. Several threads may read at once.
    """
    return pixels.of(_decoded(path), "auto", str(path))


def mask(path: Path) -> NDArray[np.generic]:
    """The labels uint8 [H, W] that the pixels of a grey image, or of one with a palette, stand for, as stored.

    Raises AuditError as `read` does, and for colours, for a JPEG, whose values are not what was saved, and for fewer
    than 8 bits: Pillow would stretch 0 … 3 to 0 … 255.
    """
    image = _decoded(path)
    with path.open("rb") as stream:
        depth = stream.read(_DEPTH + 1)[_DEPTH:]
    if image.mode not in ("L", "P") or image.format != "PNG" or depth != b"\x08":
        raise AuditError(
            f"{path}: is a {image.format} of mode {image.mode} and {depth.hex()} bits, no mask of labels",
            "Save masks as PNG files of 8 bits, grey or with a palette.",
        )
    return np.asarray(image)


def _decoded(path: Path) -> "Image":
    try:
        content = path.read_bytes()
        with _damage_counts:
            if content.startswith(_PNG):
                _check_png(content, path)
            image = _opened(content)
            frames = getattr(image, "n_frames", 1)
            if frames == 1:
                image.load()
    except AuditError:
        raise
    except Exception as error:  # a decoder fails on hostile bytes in any way
        raise AuditError(
            f"{path}: cannot be read as an image ({error})",
            "Every image must be a sound PNG or JPEG file.",
            "unreadable-item",
        ) from error
    if frames != 1:
        raise AuditError(f"{path}: holds {frames} images", "An item is one still image.")
    return image


class _DamageCounts:
    """Lets Pillow refuse damaged files even where another library told it not to, as WeasyPrint does on import.

    That is a setting of the process: the first of several threads remembers what it was, the last one puts it back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            if not self._inside:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
            self._inside += 1
            ImageFile.LOAD_TRUNCATED_IMAGES = False

    def __exit__(self, *_raised: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_damage_counts = _DamageCounts()


def _opened(content: bytes) -> "Image":
    """An image whose header has been read.

    Pillow only warns of a bomb up to twice its limit. To turn its warnings into errors would be a setting of the
    process, which another thread could take back at any moment.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > _PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels could be a decompression bomb")
    return image


def _check_png(content: bytes, path: Path) -> None:
    """Compare the checksum of every chunk, which decoding skips; refuse depths that Pillow would cut to 8 bits."""
    if content[_DEPTH : _DEPTH + 1] == b"\x10":
        raise AuditError(
            f"{path}: has 16 bits per value", "Convert it to 8 bits, in the way the networks were trained."
        )
    _opened(content).verify()
