"""Reading and joining a large ledger, as `judge` does: 10,000 items × 100 probes × 10 classes, two models.

    python benchmarks/ledger.py

The ledger is written with random outputs under the keys of a plan; then every trace is read, checked against its
seal, joined and compared. Prints seconds of one pass; exits 1 beyond the limit.
"""

import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from audit import digest
from audit.data import manifest
from audit.ledger import Ledger
from audit.parity import Parity
from audit.pipeline import View
from audit.plan import PlanFile
from audit.records import ModelRecord
from audit.tasks.classification import Classification
from audit.types import PAIR
from checks.perturbations.noise import Noise

ITEMS, PROBES, CLASSES, CHUNK = 10_000, 100, 10, 4096
LIMIT = 3.0


def main() -> int:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 256, (ITEMS, 32), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, ITEMS)
    probes = [Noise("uniform", level) for level in np.linspace(1, 200, PROBES).tolist()]
    fixed = _plan(ids, labels, probes)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        for role in PAIR:
            ledger.put({fixed.parity_key(role): {name: np.asarray([0]) for name in asdict(Parity())}})
            for probe in fixed.plan.probes:
                out = rng.normal(size=(ITEMS, CLASSES)).astype(np.float32)
                ledger.put(
                    {
                        key: {
                            "id": ids[rows], "draw": np.zeros(len(ids[rows]), np.int32), "label": labels[rows],
                            "output": out[rows],
                        }
                        for key, rows in zip(fixed.keys(role, probe), _chunks(), strict=True)
                    }
                )  # fmt: skip
        start = time.perf_counter()
        view = View(fixed, Ledger(Path(folder)), Classification())
        rows = sum(len(view.trace(probe)) for probe in probes)
        seconds = time.perf_counter() - start
    print(f"{rows:,} rows of two models read, verified, joined and compared in {seconds:.2f} s; limit {LIMIT} s")
    return 0 if seconds <= LIMIT else 1


def _chunks() -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, ITEMS, CHUNK)]


def _plan(ids: np.ndarray, labels: np.ndarray, probes: list[Noise]) -> PlanFile:
    """A plan with these probes; what it says of the models is of no consequence here."""
    adapter = {"layout": "NCHW", "range": [0, 1], "mean": [], "std": [], "outputs": "logits"}
    record = {
        "format": "ONNX", "bytes": 1, "parameters": 1, "nonzero": 1, "adapter": adapter, "runtime": {},
    }  # fmt: skip
    models = [ModelRecord(role=role.value, sha256=digest.of_json(role.value), **record) for role in PAIR]
    planned = [
        {"name": probe.name, "sha256": digest.of_json(probe.canonical()), "description": probe.describe()}
        for probe in probes
    ]
    return PlanFile.model_validate(
        {
            "tool": {"name": "benchmark", "version": "0", "method_set": "1", "sources_sha256": "0" * 64},
            "models": [model.model_dump() for model in models],
            "data": [
                {
                    "role": "test", "sha256": manifest.digest_of(ids, labels), "items": ITEMS, "duplicates": 0,
                    "shape": [3, 32, 32], "stored": "uint8", "classes": [str(k) for k in range(CLASSES)],
                    "per_class": np.bincount(labels, minlength=CLASSES).tolist(),
                }
            ],
            "plan": {
                "sha256": "0" * 64, "chunk": CHUNK, "batch": 256, "probes": planned, "checks": [], "claims": 0,
            },
            "policy": {
                "id": "benchmark", "title": "", "source": "file", "sha256": "0" * 64, "alpha": 0.05,
                "accept": ["PASS"], "reference_floor": 50.0, "criteria": [],
            },
            "declared_accuracy": None, "packages": {}, "deviations": [], "names": {}, "parties": {},
        }
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
