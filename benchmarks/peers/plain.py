"""The script a user writes in half an hour: onnxruntime, argmax, point estimates against limits.

    python plain.py reference.onnx candidate.onnx test.npz [items in a set]

Prints one JSON object. With a number of items, the items are also cut into sets of that many, and each set is judged
on its own: how often the same point estimates would have passed with so little data. The first such set is written
to `set.npz`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from inputs import outputs, questions
from numpy.typing import NDArray

Booleans = NDArray[np.bool_]


def main() -> None:
    reference, candidate, data = map(Path, sys.argv[1:4])
    stored = np.load(data)
    y, names = stored["y"], stored["classes"][stored["y"]]
    decided = {
        (model, noisy): outputs(model, data, noisy=noisy).argmax(axis=1)
        for model in (reference, candidate)
        for noisy in (False, True)
    }
    same = decided[candidate, False] == decided[reference, False]
    lost = [(decided[reference, noisy] == y).astype(int) - (decided[candidate, noisy] == y) for noisy in (False, True)]
    figures = judged(lost[0], same, lost[1], names)
    report: dict[str, object] = {"figures": figures, "passed": passed(figures)}
    if len(sys.argv) > 4:
        size = int(sys.argv[4])
        parts = [slice(first, first + size) for first in range(0, len(y) - size + 1, size)]
        each = ((part.start, judged(lost[0][part], same[part], lost[1][part], names[part])) for part in parts)
        good = [first for first, figures in each if all(passed(figures).values())]
        if good:
            part = slice(good[0], good[0] + size)
            np.savez("set.npz", x=stored["x"][part], y=y[part], classes=stored["classes"])
        report["sets"] = {"size": size, "all": len(parts), "passed": len(good), "first": good[0] if good else None}
    print(json.dumps(report))


def judged(
    lost: NDArray[np.int64], same: Booleans, lost_noisy: NDArray[np.int64], names: NDArray[np.str_]
) -> dict[str, float]:
    """Percentage points of accuracy lost, percent of equal decisions, points lost under noise, points of recall lost.

    `names` are those of the items' classes; a class without items is not asked about.
    """
    recall = {f"recall_drop@class={name}": lost[names == name] for name in np.unique(names)}
    values = {"drop": lost, "agreement": same, "noisy_drop": lost_noisy, **recall}
    return {name: 100 * float(each.mean()) for name, each in values.items()}


def passed(figures: dict[str, float]) -> dict[str, bool]:
    limits = questions()
    return {name: figure >= limits[name] if name == "agreement" else figure <= limits[name.partition("@")[0]]
            for name, figure in figures.items()}  # fmt: skip


if __name__ == "__main__":
    main()
