"""Pictures of the items that a certificate lists, kept beside the evidence: each is known by the digest of its content.

No picture is part of what is certified. One that is not the item it should be has another digest, and is not shown.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audit.data.manifest import item_ids
from audit.dataset import DataSource
from audit.evidence import Body
from audit.storage import write_atomic

FILE: Final = "exemplars.npy"
SIDE: Final = 64
"""Pixels of the longer side of a picture, at most: smaller items are shown as they are."""
MOST: Final = 2**26
"""Bytes of items that are kept, or read."""


def keep(folder: Path, body: Body, source: DataSource | None) -> None:
    """Keep the listed items, as far as they fit into MOST, in their stored order; of images alone.

    Raises AuditError where an item is no longer what the manifest says, StorageError where nothing more can be written.
    """
    listed = {each.id for finding in body.findings for each in finding.exemplars}
    (folder / FILE).unlink(missing_ok=True)
    if source is None or not listed or source.features is not None or source.shape[0] not in (1, 3):
        return
    wanted = np.asarray([row.tobytes().hex() in listed for row in source.manifest.ids])
    kept: list[NDArray[Any]] = []
    for batch in source.batches(1, wanted):
        item = batch.x.numpy()
        kept.append((item * 255).round().astype(np.uint8) if source.stored == "uint8" else item)
        if sum(each.nbytes for each in kept) > MOST:
            kept.pop()
            break
    if kept:
        content = io.BytesIO()
        np.save(content, np.concatenate(kept), allow_pickle=False)
        write_atomic(folder / FILE, content.getvalue())


def load(folder: Path) -> Mapping[str, bytes]:
    """The pictures in a folder as PNG, by the digest of the item; {} where there are none that can be read."""
    path = folder / FILE
    try:
        if not path.is_file() or path.stat().st_size > MOST + 2**12:
            return {}
        items = np.lib.format.open_memmap(path, "r")
    except Exception:  # whatever a file of others makes of its reader
        return {}
    if items.ndim != 4 or not items.size or items.shape[1] not in (1, 3) or items.dtype not in (np.uint8, np.float32):
        return {}
    ids = item_ids(items)
    return {ids[place].tobytes().hex(): _png(item) for place, item in enumerate(items)}


def found(folders: Iterable[Path]) -> Mapping[str, bytes]:
    """The pictures of several folders."""
    return {name: picture for folder in folders for name, picture in load(folder).items()}


def _png(item: NDArray[Any]) -> bytes:
    """An item [C, H, W], uint8 or float32 in [0, 1], at most SIDE pixels wide and high."""
    from PIL import Image

    pixels = item if item.dtype == np.uint8 else (np.nan_to_num(item).clip(0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
