"""What `prune-audit judge` takes on a large ledger: 10,000 items × 101 probes × 10 classes, two models.

    python benchmarks/judge.py [--items 10000] [--profile] [--keep FOLDER]

The plan is one that the program itself makes, for two sample networks on as many random images. The ledger under it is
written with made-up outputs: the reference is right on nine clean items of ten and on fewer under noise and corruption,
the candidate decides one in twenty otherwise, and a few decisions of every probe are near ties. All checks that look at
conditions run. The command is a process of its own: its wall time, the start of the program included, and its peak of
resident memory, that of the PDF included, are held to limits, and stand beside what one pass over all traces takes
here. Exits 1 beyond a limit. `--profile` judges once more and tells what took longest; `--keep` writes the audit there
and leaves it.
"""

import argparse
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit import asking, plan, preparation, registry, request, resources, runtime, subjects, tasks
from audit.dataset import Manifest
from audit.ledger import Ledger
from audit.parity import Parity
from audit.pipeline import View
from audit.plan import PlanFile
from audit.types import PAIR, DataRole, Role
from checks import CHECKS

SECONDS, BYTES = 20.0, 10**9
CLASSES = 10
NETWORKS = {Role.REFERENCE: "reference.onnx", Role.CANDIDATE: "pruned-75.onnx"}
RUN = ("accuracy", "functional", "noise", "corruption", "per_class", "slices", "flips", "calibration", "integrity")
POLICY = """
format = "prune-audit/policy/1"
id = "benchmark"
alpha = 0.05
checks = {checks}
[settings.noise]
uniform = [2, 4, 8]
gaussian = [2, 4]
"""
LIMITS = {
    "accuracy": (("accuracy.drop", 1.0, "points"),),
    "noise": (("accuracy.drop@level=*,noise=*", 2.0, "points"),),
    "corruption": (("accuracy.drop@corruption=*,severity=*", 2.0, "points"), ("corruption.mean_drop", 2.0, "points")),
    "per_class": (("per_class.recall_drop@class=*", 3.0, "points"),),
    "slices": (("slices.accuracy_drop@attribute=*,value=*", 3.0, "points"),),
    "calibration": (("calibration.brier_increase", 0.01, "distance"),),
}
"""Claims with what they are at most, by check."""
ATTRIBUTES = {"weather": ("clear", "rain", "snow", "fog"), "site": ("north", "east", "south", "west", "depot")}
AUDIT = """
policy = "policy.toml"
device = "cpu"
[data.test]
path = "test.npz"
attributes = {attributes}
"""
CLEAR, DIMMER = 3.0, 0.012
"""How far the label stands out of clean outputs, in standard deviations, and how much less in each further probe."""
APART, WEAKER = 0.2, 0.001
"""How far the candidate's outputs lie from the reference's, and how much weaker its label is in each further probe."""
LOGITS = 3.0
"""Standard deviation of the outputs."""
NOISE, TIES = 1e-6, 5
"""What the runtime moves an output by, and decisions of each probe that are closer than that."""
PROGRAM = "import sys; from audit.cli import main; sys.argv[0] = 'prune-audit'; main()"
STAGES = {
    ("pipeline.py", "trace"): "reading, joining and comparing what the checks ask for",
    ("measuring.py", "measure"): "measuring, that included",
    ("verdict.py", "decide"): "deciding",
    ("verdict.py", "bounds"): "bounds",
    ("planning.py", "more_items"): "forecasts of conditional verdicts",
    ("evidence.py", "seal"): "sealing the evidence",
    ("evidence.py", "to_bytes"): "writing the evidence",
    ("grounds.py", "require"): "checking the evidence against itself",
    ("html.py", "render"): "the page",
    ("pdf.py", "render"): "the page on paper",
    ("inventory.py", "tool"): "digesting our own sources",
}
"""Functions of the program, and what they are for."""
MOST_STAGES = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # What a process once took counts for those that it starts: opening networks takes more than judging.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            print(other.submit(write, folder, options.items).result())
        out = folder / "out"
        seconds, peak = judged(out, PROGRAM)
        print(f"judged in {seconds:.1f} s with {peak / 1e6:,.0f} MB; limits {SECONDS:g} s, {BYTES / 1e6:,.0f} MB")
        bare, least = judged(out, PROGRAM, "--no-pdf")
        print(f"without the PDF in {bare:.1f} s with {least / 1e6:,.0f} MB")
        one = one_pass(out)
        print(f"one pass over all traces: {one:.2f} s; judging without the PDF takes {bare / one:.1f} times that")
        if options.profile:
            print(*stages(out), sep="\n")
    return 0 if seconds <= SECONDS and peak <= BYTES else 1


def write(folder: Path, items: int) -> str:
    """An audit that has run; what it is, in words."""
    runtime.prepare()
    folder.mkdir(parents=True, exist_ok=True)
    fixed, data = prepared(folder, items)
    observed(folder / "out", fixed, data)
    size = f"{items:,} items, {len(fixed.plan.probes)} probes, {fixed.plan.claims:,} claims"
    return f"{size}, {len(fixed.policy.criteria)} criteria; {', '.join(fixed.plan.checks)}"


def prepared(folder: Path, items: int) -> tuple[PlanFile, Manifest]:
    """The plan of an audit of random images, as the program makes and stores it."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (items, 32, 32, 3), dtype=np.uint8)
    said = {name: rng.choice(values, items) for name, values in ATTRIBUTES.items()}
    names = [f"class {k}" for k in range(CLASSES)]
    np.savez(folder / "test.npz", x=x, y=np.arange(items) % CLASSES, classes=names, **said)
    checks = [name for name in RUN if name in CHECKS]
    limits = "".join(
        f'[[criterion]]\nclaim = "{claim}"\nat_most = {most}\nunit = "{unit}"\n'
        for name in checks
        for claim, most, unit in LIMITS.get(name, ())
    )
    (folder / "policy.toml").write_text(POLICY.format(checks=checks) + limits)
    models = "".join(
        f'[{role}]\nmodel = "{resources.beside("sample_models", "cifar10", name)}"\n' for role, name in NETWORKS.items()
    )
    (folder / "audit.toml").write_text(AUDIT.format(attributes=list(ATTRIBUTES)) + models)
    wanted = request.load(folder / "audit.toml")
    agreed = preparation.agree(wanted.policy, folder)
    opened = subjects.load(wanted, folder)
    _, fixed = preparation.prepare(opened, subjects.terms_of(wanted), agreed)
    plan.fix(fixed, folder / "out")
    return fixed, opened.data[DataRole.TEST].manifest


def observed(out: Path, fixed: PlanFile, data: Manifest) -> None:
    """Write what the networks would have left."""
    rng, ledger, items = np.random.default_rng(1), Ledger(out / "ledger"), len(data.ids)
    chunks = [slice(start, start + fixed.plan.chunk) for start in range(0, items, fixed.plan.chunk)]
    parity = {name: np.asarray([value]) for name, value in asdict(Parity(NOISE, items=items)).items()}
    ledger.put({fixed.parity_key(role): {**parity, "kind": np.asarray([-1])} for role in PAIR})
    for place, probe in enumerate(fixed.plan.probes):
        for role, left in zip(PAIR, outputs(rng, data.labels, place), strict=True):
            columns = {"id": data.ids, "draw": np.zeros(items, np.int32), "label": data.labels, "output": left}
            ledger.put(
                {
                    key: {name: values[rows] for name, values in columns.items()}
                    for key, rows in zip(fixed.keys(role, probe), chunks, strict=True)
                }
            )


def outputs(
    rng: np.random.Generator, labels: NDArray[np.int64], place: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [N, K] of the reference and of the candidate for the probe at this place of the plan."""
    rows, reference = np.arange(len(labels)), rng.normal(size=(len(labels), CLASSES))
    reference[rows, labels] += CLEAR - DIMMER * place
    candidate = reference + APART * rng.normal(size=reference.shape)
    candidate[rows, labels] -= WEAKER * place
    for out in (reference, candidate):
        top = np.argsort(out, axis=1)[:TIES, -2:]
        out[rows[:TIES], top[:, 0]] = out[rows[:TIES], top[:, 1]]
    return (LOGITS * reference).astype(np.float32), (LOGITS * candidate).astype(np.float32)


def judged(out: Path, program: str, *more: str) -> tuple[float, int]:
    """Seconds and bytes at most that the command takes, whatever its verdict."""
    start = time.perf_counter()
    command = [sys.executable, "-c", program, "judge", str(out), *more, "--out", str(out / "judged")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if not (out / "judged" / "summary.md").exists():
        raise RuntimeError(f"judge ended with {process.returncode} and left nothing")
    return seconds, used.ru_maxrss * 1024


def one_pass(out: Path) -> float:
    """Seconds to read, verify, join and compare every trace once."""
    fixed = plan.load(out)
    chosen = registry.load_all(fixed.plan.checks, fixed.policy.settings)
    asked = asking.ask(chosen, preparation.context_of(fixed))
    start = time.perf_counter()
    view = View(fixed, Ledger(out / "ledger"), tasks.of(fixed.plan.task))
    for probe in asked.probes:
        view.trace(probe)
    return time.perf_counter() - start


def stages(out: Path) -> Iterator[str]:
    """What took longest, in seconds under the profiler, which makes everything slower."""
    with tempfile.NamedTemporaryFile() as found:
        judged(out, f"import cProfile; cProfile.run({PROGRAM!r}, {found.name!r})")
        profiled = pstats.Stats(found.name).stats
    taken = {(Path(file).name, name): cumulative for (file, _, name), (*_, cumulative, _) in profiled.items()}
    for stage in sorted(STAGES, key=lambda stage: -taken.get(stage, 0.0))[:MOST_STAGES]:
        yield f"{taken.get(stage, 0.0):8.2f} s  {STAGES[stage]}"


if __name__ == "__main__":
    sys.exit(main())
