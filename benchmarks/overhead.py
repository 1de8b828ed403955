"""Wall time of a whole audit ÷ a bare onnxruntime loop over the same forward passes, in one process.

    python benchmarks/overhead.py --reference R.onnx --candidate C.onnx --data test.npz --mean … --std …

The bare loop has the test set ready in memory as float32, already preprocessed, and does nothing but call
onnxruntime at the audit's batch size, with the audit's session options, for both models, once for every probe. The
audit starts from the files: it reads, hashes and checks them, first in a child process, preprocesses, perturbs and
checks the perturbation, stores, measures, decides and writes its evidence and its certificate. All are run
alternately; the ratios are those of the medians. Two audits are measured: the clean test set alone, and with six
levels of noise. Exits 1 where the second, without the PDF, is beyond the limit.
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
from audit.request import AuditFile, Flags
from audit.types import DataRole

LIMIT = 1.15
POLICY = """
format = "prune-audit/policy/1"
id = "benchmark"
alpha = 0.05
checks = {checks}
[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"
"""
CLEAN = ["accuracy", "functional", "integrity"]
NOISE = "[settings.noise]\nuniform = [2, 4, 8]\ngaussian = [2, 4, 8]\n"
LEVELS = 6


def main() -> int:
    arguments = _arguments()
    flags = Flags(
        reference=arguments.reference, candidate=arguments.candidate, data=arguments.data, mean=arguments.mean,
        std=arguments.std,
    )  # fmt: skip
    wanted, _ = request.combine(None, flags)
    opened = subjects.load(wanted, Path())
    models = list(opened.models.values())
    batches = [(model, model.preprocessing.apply(x)) for model in models for x in _batches(opened.data[DataRole.TEST])]

    def bare(times: int) -> None:
        for _ in range(times):
            for model, x in batches:
                model.session.run(None, {model.input_name: x})

    rows: list[dict[str, float]] = []
    for repeat in range(arguments.repeats + 1):
        row = {}
        for name, checks, settings, times in (("clean", CLEAN, "", 1), ("noise", [*CLEAN, "noise"], NOISE, 1 + LEVELS)):
            row[f"{name}: bare loop"] = _timed(lambda times=times: bare(times))
            with tempfile.TemporaryDirectory() as folder:
                rules = Path(folder) / "policy.toml"
                before, criterion, after = POLICY.format(checks=checks).partition("[[criterion]]")
                rules.write_text(f"{before}{settings}{criterion}{after}")
                audited = wanted.model_copy(update={"policy": str(rules)})
                row |= _audited(audited, Path(folder), name, pdf=False)
                row[f"{name}: whole run, with PDF"] = _audited(audited, Path(folder), name, pdf=True)[
                    f"{name}: whole run"
                ]
        if repeat:  # the first round imports libraries and warms the kernels
            rows.append(row)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for name, seconds in medians.items():
        loop = medians[f"{name.partition(':')[0]}: bare loop"]
        print(f"{name:<28} {seconds:7.3f} s   ratio to the bare loop {seconds / loop:.3f}")
    gate = medians["noise: whole run"] / medians["noise: bare loop"]
    print(f"limit for the whole run with {LEVELS} levels of noise: {LIMIT}")
    return 0 if gate <= LIMIT else 1


def _audited(wanted: AuditFile, folder: Path, name: str, *, pdf: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        stages = api.run(wanted, out=Path(out) / "out", pdf=pdf).evidence.run.seconds
        whole = time.perf_counter() - start
        return {f"{name}: whole run": whole, **{f"{name}: {stage}": seconds for stage, seconds in stages.items()}}


def _batches(source: DataSource) -> list[np.ndarray]:
    every = np.ones(len(source.manifest.ids), np.bool_)
    return [batch.x.numpy() for batch in source.batches(plan.BATCH, every)]


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
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
