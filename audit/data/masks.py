"""A folder with images in `images` and, under the same names, masks of labels in `masks`."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from audit.data import images
from audit.data.folder import Folder
from audit.errors import AuditError

EXPECTED = (
    "Expected two folders, images and masks: to each image belongs a PNG of the same name, grey or with a palette, "
    "whose values are labels."
)


@dataclass(frozen=True)
class MaskedFolder:
    """Images in the order of their names, each with a mask; masks are files like images, and watched like them."""

    root: Path
    features = None
    threadsafe = True
    on_change = Folder.on_change

    def __post_init__(self) -> None:
        _ = self._places

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def place(self) -> str:
        """What it is called in errors."""
        return str(self.root)

    @property
    def classes(self) -> tuple[str, ...]:
        """No folder says what the labels mean."""
        return ()

    @cached_property
    def _parts(self) -> tuple[Folder, Folder]:
        return Folder(self.root / "images", flat=True), Folder(self.root / "masks", flat=True)

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """The number of the mask of each image; raises AuditError where one has none, or the other way round."""
        shown, masks = ([str(PurePath(path).with_suffix("")) for path in part.paths] for part in self._parts)
        number = {name: place for place, name in enumerate(masks)}
        odd = sorted({*shown} ^ {*masks})
        if odd or len({*shown}) < len(shown) or len(number) < len(masks):
            named = odd or sorted(name for name in shown if shown.count(name) + masks.count(name) > 2)
            raise AuditError(f"{self.root}: {named[0]} is not one image and one mask", EXPECTED)
        return tuple(number[name] for name in shown)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the images below `root`."""
        return tuple(f"images/{path}" for path in self._parts[0].paths)

    def __len__(self) -> int:
        return len(self._places)

    def where(self, index: int) -> str:
        """What an item is called in errors."""
        return self._parts[0].where(index)

    def read(self, index: int, labelled: bool) -> tuple[NDArray[np.generic], object]:
        """Pixels [C, H, W] and, where one is asked for, the mask uint8 [H, W] of an item."""
        image, masks = self._parts[0].read(index, labelled=False)[0], self._parts[1]
        return image, images.mask(Path(masks.where(self._places[index]))) if labelled else None

    def verify_unchanged(self) -> None:
        """Raise AuditError where an image or a mask was added, removed or written to."""
        for part in self._parts:
            part.verify_unchanged()
