"""Wall time of a whole audit ÷ a bare onnxruntime loop over the same forward passes, in one process.

    python benchmarks/overhead.py --reference R.onnx --candidate C.onnx --data test.npz --mean … --std …

A bare loop has the test set ready in memory as float32, already preprocessed, and does nothing but call onnxruntime
at the audit's batch size for both models, once for every probe. There are two: one pass at a time on all cores, as
anybody would write it, and as many passes side by side as in the audit, with its sessions; the audit's advantage over
the first is not the audit's merit alone. The
audit starts from the files: it reads, hashes and checks them, first in a child process, preprocesses, perturbs and
checks the perturbation, stores, measures, decides and writes its evidence and its certificate. All are run
alternately; the ratios are those of the medians. Two audits are measured: the clean test set alone, and with six
levels of noise. Exits 1 where one of those that `--audits` names, without the PDF, is beyond the limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from audit import api, request, runtime, sizes, subjects
from audit.dataset import DataSource
from audit.models import files, onnx
from audit.models.onnx import OnnxModel
from audit.request import AuditFile, Flags
from audit.subjects import Subjects
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
LOOPS = ("one at a time", "side by side")
LEVELS = 6
AUDITS = {"clean": (CLEAN, "", 1), "noise": ([*CLEAN, "noise"], NOISE, 1 + LEVELS)}
"""Checks, their settings, and passes per model and item."""


def main() -> int:
    arguments = _arguments()
    flags = Flags(
        reference=arguments.reference, candidate=arguments.candidate, data=arguments.data, mean=arguments.mean,
        std=arguments.std,
    )  # fmt: skip
    wanted, _ = request.combine(None, flags)
    opened = subjects.load(wanted, Path())
    items = _batches(opened.data[DataRole.TEST])
    alone, beside = ([(model, model.preprocessing.apply(x)) for model in models for x in items]
                     for models in (_on_all_cores(opened), _onnx(opened)))  # fmt: skip

    def one_at_a_time(times: int) -> None:
        for model, x in alone * times:
            _pass(model, x)

    def side_by_side(times: int) -> None:
        with ThreadPoolExecutor(opened.lanes) as threads:
            list(threads.map(lambda each: _pass(*each), beside * times))

    rows: list[dict[str, float]] = []
    for repeat in range(arguments.repeats + 1):
        row = {}
        for name in arguments.audits:
            checks, settings, times = AUDITS[name]
            row[f"{name}: bare, {LOOPS[0]}"] = _timed(lambda times=times: one_at_a_time(times))
            row[f"{name}: bare, {LOOPS[1]}"] = _timed(lambda times=times: side_by_side(times))
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
    print(f"{'':<28} {'':>9}   ratio to the loop that runs one pass at a time, and several side by side")
    for name, seconds in medians.items():
        alone, beside = (medians[f"{name.partition(':')[0]}: bare, {kind}"] for kind in LOOPS)
        print(f"{name:<28} {seconds:7.3f} s   {seconds / alone:.3f}   {seconds / beside:.3f}")
    print(f"limit for the whole run, to the loop that runs one pass at a time: {LIMIT}")
    ratios = [medians[f"{name}: whole run"] / medians[f"{name}: bare, {LOOPS[0]}"] for name in arguments.audits]
    return 0 if max(ratios) <= LIMIT else 1


def _audited(wanted: AuditFile, folder: Path, name: str, *, pdf: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        stages = api.run(wanted, out=Path(out) / "out", pdf=pdf).evidence.run.seconds
        whole = time.perf_counter() - start
        return {f"{name}: whole run": whole, **{f"{name}: {stage}": seconds for stage, seconds in stages.items()}}


def _onnx(opened: Subjects) -> list[OnnxModel]:
    models = [model for model in opened.models.values() if isinstance(model, OnnxModel)]
    if len(models) < len(opened.models):
        sys.exit("this benchmark needs ONNX files")
    return models


def _on_all_cores(opened: Subjects) -> list[OnnxModel]:
    """The audit gives each of several passes under way a part of the cores; a loop with one gives it all."""
    return [
        onnx.load(files.read(model.path, model.role), replace(model.slot, threads=runtime.cores()))
        for model in _onnx(opened)
    ]


def _pass(model: OnnxModel, x: np.ndarray) -> None:
    """What a bare loop does: nothing but onnxruntime."""
    model.network.session.run(None, {model.network.interface.taken: x})


def _batches(source: DataSource) -> list[np.ndarray]:
    every = np.ones(len(source.manifest.ids), np.bool_)
    return [batch.x.numpy() for batch in source.batches(sizes.batch_of([source.shape]), every)]


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
    parser.add_argument("--audits", nargs="+", choices=AUDITS, default=list(AUDITS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
