"""How many items go together, and how much of what they leave is kept: by sizes alone, never by the machine."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, prod
from operator import add

from audit.contracts import Probe
from audit.errors import AuditError
from audit.evidence import Kept
from audit.perturbing import untouched
from audit.types import DataName, DataRole

CHUNK = 4096
BATCH = 256
INPUTS = 2**24
"""Bytes of a batch's items, float32: activations take many times that, and torch is slower beyond it."""
STORED = 2**22
"""Bytes of what one model leaves under one draw of one probe that wait in memory for their chunk to end."""
WAITING = 2**27
"""Bytes of outputs that may wait in memory for their chunk to end; more probes than that take turns."""
FLOAT = 4
"""Bytes of a stored output."""
ROW = 32 + 4 + 8
"""Bytes of a stored row besides the outputs: id, draw, label."""
MASKED = 2
"""Bytes of the label of a pixel."""
WHOLE = 2**28
"""Bytes of outputs of one model under one probe that may be read at once."""
COMPARED = 2 * 2 * (8 + 4) + 4 * 8 + 2 * 7 * 8 + 3 * 4 + 3
"""Bytes of a stored comparison: ranks in two views, distances, scores of both models, the label, names, and flags."""
SHARES = 2 * 5 * 8
"""Bytes that a comparison of masks takes besides: shares of pixels in two views, in place of flags."""
COUNTED = 5 * 4
"""And for each class: the counts of a confusion matrix."""


def batch_of(shapes: Iterable[Sequence[int]], items: int) -> int:
    """Items of one forward pass: as many as fit into INPUTS, at most BATCH, at least 1; equally many in each pass.

    The limit is a power of two; below it the fewest with which `items` take no further pass, for runtimes that need
    batches of one size would fill up the last. `shapes` are those of an item as it is stored and as each network takes
    it. By sizes alone, never by the machine: it is part of every key.
    """
    fits = max(1, min(BATCH, INPUTS // (FLOAT * max(prod(shape) for shape in shapes))))
    most = 1 << (fits.bit_length() - 1)
    return ceil(items / ceil(items / most)) if items else most


def chunk_of(batch: int, left: int) -> int:
    """Items that are stored together: whole batches, up to CHUNK items and, of `left` bytes an item, up to STORED."""
    return max(1, min(CHUNK, STORED // max(1, left)) // batch) * batch


def row_bytes(kept: Kept, outputs: tuple[int, ...], roles: int, watched: int = 0) -> int:
    """What all models together leave of one row: their outputs, or of each but the reference a comparison.

    `outputs` is the shape of what a model gives for one item; `watched` are the values of layers, of all models.
    """
    if kept == "outputs":
        return FLOAT * watched + roles * (
            FLOAT * prod(outputs) + (MASKED * prod(outputs[1:]) if len(outputs) > 1 else 0) + ROW
        )
    masks = SHARES + COUNTED * outputs[0] if len(outputs) > 1 else 0
    return (roles - 1) * (COMPARED + masks + ROW)


def kept(
    probes: Sequence[Probe], items: Mapping[str, int], outputs: int, budget: float, watched: int = 0
) -> tuple[Kept, ...]:
    """What is to be stored of each probe, so that what one model gives takes at most `budget` bytes.

    The first probes in the order of the plan are kept whole as long as they fit. The very first one always is: by it
    is settled what the outputs are. So is the first that leaves the test items as they are: by it, how far a
    runtime's noise reaches. What takes more than WHOLE is kept whole of no probe: it would have to be read at once. Of
    one item a model gives `outputs` values, and of one as it is `watched` more, of a layer; `items` counts them by data
    set. Raises AuditError for a probe of another one.
    """
    for probe in probes:
        if probe.data not in items:
            raise no_data(probe.data)
    own = [FLOAT * outputs * items[probe.data] * probe.draws for probe in probes]
    layers = [FLOAT * watched * items[probe.data] * probe.draws * untouched(probe) for probe in probes]
    clean = next((place for place, probe in enumerate(probes) if untouched(probe)), 0)
    within = [total <= budget for total in accumulate(map(add, own, layers))]
    fit = [size <= WHOLE and (place in (0, clean) or within[place]) for place, size in enumerate(own)]
    return tuple("outputs" if whole else "comparisons" for whole in fit)


def no_data(name: DataName) -> AuditError:
    """The error where something needs data that nobody gave."""
    role, label = name.partition(":")[::2]
    quoted = f'."{label}"' if "." in label else f".{label}"
    key = role.replace("-", "_") + (quoted if label and role != DataRole.CORRUPTED else "")
    return AuditError(f"a check needs {name} data, and there are none", f"Add [data.{key}].")
