"""The same four questions about the same candidates, asked with prune-audit and with what a user would take instead.

    python benchmarks/peers.py [--items 10000] [--envs FOLDER] [--page docs/peers.md]

Loss of accuracy, agreement, loss under uniform noise ± 8/255, and loss of recall of every class, on generated road
signs, of a well-pruned, an over-pruned and a sabotaged network and of two with NaN: by `prune-audit run`, by a plain
script of point estimates, by MLflow's model validation, and by Polygraphy. MLflow and Polygraphy are installed,
pinned, into environments of their own under `--envs`. Every run is a process of its own that starts from the files; its
wall time, its processor time and the peak resident memory of its largest process are the kernel's (wait4). This script
itself imports nothing beyond the standard library: Linux counts the memory of the process that starts another into the
other's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parent / "peers"
PATHS = os.pathsep.join(map(str, (SCRIPTS, SCRIPTS.parents[1])))  # the program beside this file, not one installed
CANDIDATES = ("well-pruned", "over-pruned", "sabotaged", "nan-weight", "nan-on-bright")
BRIGHT = 0.005
SET = 50
PINS = {
    "mlflow": ("mlflow==3.17.2", "numpy==2.4.6", "onnxruntime==1.32.0", "pandas==3.1.1", "scikit-learn==1.9.1"),
    "polygraphy": ("polygraphy==0.53.6", "numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.32.0"),
}
NORMALISATION = {"mean": (0.34, 0.32, 0.32), "std": (0.18, 0.17, 0.17)}
LIMITS = {"drop": 1.0, "agreement": 98.0, "noisy_drop": 2.0, "recall_drop": 5.0}  # the last: that of standard/6
QUESTIONS = {**LIMITS, "level": 8, **NORMALISATION}
CLAIMS = {
    "accuracy.drop": "drop",
    "functional.agreement": "agreement",
    "accuracy.drop@level=8/255,noise=uniform": "noisy_drop",
}
POLICY = f"""format = "prune-audit/policy/1"
id = "four-questions"
alpha = 0.05
checks = ["integrity", "accuracy", "functional", "noise", "per_class"]
[settings.noise]
uniform = [{QUESTIONS["level"]}]
gaussian = []
[[criterion]]
claim = "accuracy.drop"
at_most = {QUESTIONS["drop"]}
unit = "points"
[[criterion]]
claim = "functional.agreement"
at_least = {QUESTIONS["agreement"]}
unit = "%"
[[criterion]]
claim = "accuracy.drop@level={QUESTIONS["level"]}/255,noise=uniform"
at_most = {QUESTIONS["noisy_drop"]}
unit = "points"
[[criterion]]
claim = "per_class.recall_drop@class=*"
at_most = {QUESTIONS["recall_drop"]}
unit = "points"
"""
EXITS = {0: "PASS", 1: "FAIL", 2: "refused", 3: "neither proven", 4: "not evaluated"}
TOLERANCE = 1.1  # times the figure of the well-pruned network: the best that hindsight can choose

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished process: seconds of wall and processor time, peak in MiB."""

    code: int
    out: str
    error: str
    seconds: float
    cpu: float
    peak: float

    def cost(self) -> dict[str, float]:
        return {"seconds": self.seconds, "cpu": self.cpu, "peak": self.peak}

    def last_error(self) -> str:
        return (self.error.strip().splitlines() or [f"exit code {self.code}"])[-1]


@dataclass(frozen=True, slots=True)
class Workshop:
    """A working folder with the networks and the test set, an interpreter per environment, and what comes first."""

    folder: Path
    pythons: Mapping[str, Path]
    before: str | None

    def run(self, command: Sequence[str | Path], **variables: str) -> Run:
        if self.before:
            subprocess.run(self.before, shell=True, check=True)
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": PATHS, **variables}
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
            process = subprocess.Popen(list(command), cwd=self.folder, env=environment, stdout=out, stderr=error)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), error.seek(0)
            cpu = usage.ru_utime + usage.ru_stime
            return Run(process.returncode, out.read(), error.read(), seconds, cpu, usage.ru_maxrss / 1024)


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        pythons, refused = _environments(arguments.envs or Path(temporary) / "envs")
        folder = (arguments.work or Path(temporary) / "work").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        shop = Workshop(folder, pythons, arguments.before)
        (folder / "questions.json").write_text(json.dumps(QUESTIONS))
        (folder / "policy.toml").write_text(POLICY)
        written = shop.run([sys.executable, SCRIPTS / "candidates.py", ".", str(arguments.items), str(BRIGHT)])
        if written.code:
            sys.exit(f"the networks and the test set could not be written: {written.error}")
        found = {
            "items": arguments.items, "bright": BRIGHT, "set": SET, "questions": QUESTIONS, "pins": PINS,
            "cores": len(os.sched_getaffinity(0)), "tolerance": TOLERANCE, "refused": refused, **_ask_all(shop),
        }  # fmt: skip
        results = folder / "results.json"
        results.write_text(json.dumps(found, indent=1))
        page = shop.run([sys.executable, SCRIPTS / "page.py", results, arguments.page.resolve()])
    print(page.out or page.error, end="")
    return page.code


def _ask_all(shop: Workshop) -> Answer:
    def with_script(name: str, script: str) -> dict[str, Answer]:
        return {each: _script(shop, name, script, each, "test.npz") for each in CANDIDATES}

    ways: dict[str, dict[str, Answer]] = {
        "prune-audit": {name: _prune_audit(shop, name, "test.npz") for name in CANDIDATES},
        "plain": with_script("own", "plain.py"),
    }
    sets = json.loads(shop.run(_command(shop, "own", "plain.py", "over-pruned", "test.npz", str(SET))).out)["sets"]
    data = {"empty": "empty.npz", **({"few": "set.npz"} if sets["passed"] else {})}
    edges: Answer = {
        name: {"prune-audit": _prune_audit(shop, "over-pruned", file),
               "plain": _script(shop, "own", "plain.py", "over-pruned", file)}
        for name, file in data.items()
    }  # fmt: skip
    if "mlflow" in shop.pythons:
        ways["mlflow"] = with_script("mlflow", "mlflow_gate.py")
        for name, file in data.items():
            edges[name]["mlflow"] = _script(shop, "mlflow", "mlflow_gate.py", "over-pruned", file)
        edges["mlflow"] = json.loads(shop.run([shop.pythons["mlflow"], SCRIPTS / "mlflow_edges.py"]).out)
    if "polygraphy" in shop.pythons:
        ways["polygraphy"], edges["polygraphy"] = _polygraphy(shop)
    return {"ways": ways, "edges": edges, "sets": sets}


def _prune_audit(shop: Workshop, candidate: str, data: str) -> Answer:
    numbers = [f"--{name}={','.join(map(str, values))}" for name, values in NORMALISATION.items()]
    out = f"--out=audit-{candidate}-{Path(data).stem}"
    command = [str(Path(sys.executable).with_name("prune-audit")), "run", "--json", "--reference=reference.onnx",
               f"--candidate={candidate}.onnx", f"--data={data}", "--policy=policy.toml", *numbers, out]  # fmt: skip
    done = shop.run(command)
    if done.code not in EXITS:
        return {"verdict": "error", "note": done.last_error(), "cost": done.cost()}
    if not done.out.strip():
        return {"verdict": EXITS[done.code], "note": " ".join(done.error.split()), "cost": done.cost()}
    told = json.loads(done.out)
    criteria = {_named(part["claim"]): part for part in told["criteria"] if part["required"]}
    return {
        "verdict": EXITS[done.code],
        "overall": told["verdict"],
        "failed": [name for name, part in criteria.items() if part["verdict"] != "PASS"],
        "figures": {
            name: [part["estimate"], part["lower"], part["upper"]]
            for name, part in criteria.items()
            if name.partition("@")[0] in LIMITS
        },
        "counts": {name: part["estimate"] for name, part in criteria.items() if name.partition("@")[0] not in LIMITS},
        "cost": done.cost(),
    }


def _named(claim: str) -> str:
    """The question, as `recall_drop@class=stop` where it is asked of every class; any other claim as it is."""
    return CLAIMS.get(claim, claim.removeprefix("per_class."))


def _command(shop: Workshop, environment: str, script: str, candidate: str, data: str, *more: str) -> list[str | Path]:
    return [shop.pythons[environment], SCRIPTS / script, "reference.onnx", f"{candidate}.onnx", data, *more]


def _script(shop: Workshop, environment: str, script: str, candidate: str, data: str) -> Answer:
    done = shop.run(_command(shop, environment, script, candidate, data))
    if done.code:
        return {"verdict": "error", "note": done.last_error(), "cost": done.cost()}
    told = json.loads(done.out.strip().splitlines()[-1])
    failed = [name for name, kept in told["passed"].items() if not kept]
    return {"verdict": "FAIL" if failed else "PASS", "failed": failed, "cost": done.cost(), **told}


def _polygraphy(shop: Workshop) -> tuple[dict[str, Answer], Answer]:
    """Per candidate: clean and noisy batches against the default tolerance, then single items by their top class."""
    tool = str(shop.pythons["polygraphy"].with_name("polygraphy"))

    def compare(model: str, kind: str, *options: str) -> Run:
        variables = {"PEERS_DATA": "test.npz", "PEERS_BATCH": "1" if kind == "items" else "256",
                     "PEERS_NOISE": "yes" if kind == "noisy" else "no"}  # fmt: skip
        loader = f"{SCRIPTS / 'polygraphy_data.py'}{':load_nothing' if kind == 'nothing' else ''}"
        command = [tool, "run", f"{model}.onnx", "--onnxrt", "--data-loader-script", loader, *options]
        return shop.run(command, **variables)

    kinds = ("clean", "noisy", "items", "nothing")
    references = {kind: compare("reference", kind, "--save-outputs", f"reference-{kind}") for kind in kinds}
    answers: dict[str, Answer] = {}
    for name in CANDIDATES:
        answer: Answer = {"cost": {}}
        answers[name] = answer
        for kind in ("clean", "noisy"):
            saved = f"{name}-{kind}.json"
            done = compare(name, kind, "--load-outputs", f"reference-{kind}", "--save-accuracy-results", saved)
            answer[kind] = {"exit": done.code, "mean": _mean_difference(shop.folder / saved)}
            answer["cost"][kind] = done.cost()
        top = ("--load-outputs", "reference-items", "--postprocess", "top-1", "--compare", "indices")
        done = compare(name, "items", *top)
        rate = re.search(r"Passed: (\d+)/(\d+) iterations", done.out + done.error)
        answer["items"] = {"exit": done.code, "agreement": 100 * int(rate[1]) / int(rate[2]) if rate else None}
        answer["cost"]["items"] = done.cost()
        for kind in ("clean", "noisy"):
            limit = TOLERANCE * answers["well-pruned"][kind]["mean"]
            mean = [
                "--compare",
                "simple",
                "--check-error-stat",
                "mean",
                "--check-average",
                "--rtol=0",
                f"--atol={limit}",
            ]
            answer[kind]["tuned"] = shop.run([tool, "check", "accuracy", f"{name}-{kind}.json", *mean]).code
    edges = {
        "empty": compare("over-pruned", "nothing", "--load-outputs", "reference-nothing").code,
        "references": {kind: done.cost() for kind, done in references.items()},
    }
    return answers, edges


def _mean_difference(saved: Path) -> float | None:
    """Mean absolute difference of the logits, averaged over the batches as Polygraphy's --check-average does."""
    if not saved.is_file():
        return None
    values = [float(value) for value in re.findall(r'"mean_absdiff": ([^,\s]+)', saved.read_text())]
    return sum(values) / len(values) if values else None


def _environments(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """An interpreter per peer, and what pip said where one cannot be installed."""
    pythons, refused = {"own": Path(sys.executable)}, {}
    for name, pins in PINS.items():
        python = folder.resolve() / name / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            refused[name] = f"{' '.join(('pip install', *pins))}: {done.stderr.strip().splitlines()[-1]}"
        else:
            pythons[name] = python
    return pythons, refused


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--envs", type=Path, help="folder for the two environments (default: a temporary one)")
    parser.add_argument("--work", type=Path, help="folder for networks, outputs and results.json (default: temporary)")
    parser.add_argument("--before", help="shell command before every run, such as one that waits for an idle machine")
    parser.add_argument("--page", type=Path, default=Path("docs/peers.md"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
