"""Wall time of a whole audit ÷ a bare onnxruntime loop over the same forward passes, in one process.

    python benchmarks/overhead.py --reference R.onnx --candidate C.onnx --data test.npz --mean … --std …

The bare loop has the test set ready in memory as float32, already preprocessed, and does nothing but call
onnxruntime at the audit's batch size, with the audit's session options, for both models. The audit starts from
the files: it reads, hashes and checks them, preprocesses, stores, measures, decides and writes its evidence and its
certificate. All are run alternately; the ratios are those of the medians. Exits 1 beyond the limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from audit import api, plan, request, subjects
from audit.contracts import DataSource
from audit.request import Flags

LIMIT = 1.15


def main() -> int:
    arguments = _arguments()
    flags = Flags(
        reference=arguments.reference, candidate=arguments.candidate, data=arguments.data, mean=arguments.mean,
        std=arguments.std,
    )  # fmt: skip
    wanted, _ = request.combine(None, flags)
    source, models = subjects.load(wanted, Path())
    batches = [model.preprocessing.apply(x) for model in models.values() for x in _batches(source)]
    sessions = [model for model in models.values() for _ in range(len(batches) // len(models))]

    def bare() -> None:
        for model, x in zip(sessions, batches, strict=True):
            model.session.run(None, {model.input_name: x})

    def audited(*, pdf: bool) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            stages = api.run(wanted, out=Path(folder) / "out", pdf=pdf).evidence.run.seconds
            return {"whole run": time.perf_counter() - start, **stages}

    rows: list[dict[str, float]] = []
    for repeat in range(arguments.repeats + 1):
        row = {"bare loop": _timed(bare)}
        row |= {f"{name} (no PDF)": value for name, value in audited(pdf=False).items()}
        row["whole run (with PDF)"] = audited(pdf=True)["whole run"]
        if repeat:  # the first round imports libraries and warms the kernels
            rows.append(row)
    loop = statistics.median(row["bare loop"] for row in rows)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for name, seconds in medians.items():
        print(f"{name:<24} {seconds:7.3f} s   ratio to the bare loop {seconds / loop:.3f}")
    gate = medians["whole run (no PDF)"] / loop
    print(f"limit for the whole run without the PDF, whose cost does not grow with the items: {LIMIT}")
    return 0 if gate <= LIMIT else 1


def _batches(source: DataSource) -> list[np.ndarray]:
    return [
        chunk.x[start : start + plan.BATCH].numpy()
        for chunk in source.chunks(plan.CHUNK)
        for start in range(0, len(chunk.ids), plan.BATCH)
    ]


def _timed(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("reference", "candidate", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--mean")
    parser.add_argument("--std")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
