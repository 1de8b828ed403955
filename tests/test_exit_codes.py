"""Every verdict and exit code through `prune-audit`, and each exit code through the installed command."""

import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from audit import __version__
from audit.errors import ExitCode
from tests.conftest import COMMAND, Command, summary
from tests.world import CANDIDATE, Items, World, network


def verdict(command: Command, world: World) -> tuple[int, str, str]:
    result = command("run", world.audit, "--no-pdf", "--json")
    body = summary(result)
    assert body["exit_code"] == result.returncode
    return result.returncode, str(body["verdict"]), str(body["reason"])


def test_pass_is_accepted(command: Command, world: World) -> None:
    assert verdict(command, world) == (0, "PASS", "proven-within-limit")
    files = {path.name for path in world.out.iterdir()}
    assert {"evidence.json", "certificate.html", "junit.xml", "summary.md", "plan.json", "ledger"} <= files


def test_proven_drop_fails(command: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=400, harm=60))
    assert verdict(command, world) == (1, "FAIL", "proven-beyond-limit")


def test_too_few_items_are_conditional(command: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=60, errors=2))
    assert verdict(command, world) == (3, "CONDITIONAL PASS", "within-limit-not-proven")


def test_conditional_pass_is_accepted_where_the_policy_says_so(invoke: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=60, errors=2), accept='["PASS", "CONDITIONAL PASS"]')
    assert verdict(invoke, world) == (0, "CONDITIONAL PASS", "within-limit-not-proven")


def test_estimate_beyond_the_limit_is_a_conditional_fail(invoke: Command, tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=60, errors=2, harm=2))
    assert verdict(invoke, world) == (3, "CONDITIONAL FAIL", "beyond-limit-not-proven")


def test_broken_reference_decides_nothing(command: Command, tmp_path: Path) -> None:
    # The reference is right on 60 %: not proven to miss the floor of 70 % here, but not proven to reach it.
    world = World(tmp_path / "w", Items(n=60, errors=20))
    assert verdict(command, world)[0] == ExitCode.NOT_EVALUATED
    body = json.loads((world.out / "evidence.json").read_text())["body"]
    drop = next(d for d in body["decisions"] if d["claim"] == "accuracy.drop")
    assert (drop["verdict"], drop["reason"]) == ("NOT EVALUATED", "reference-floor")


def test_two_percent_against_none_is_no_pass(invoke: Command, tmp_path: Path) -> None:
    # A drop of 2 points within a limit of 5: only the floor stands between a dead reference and a PASS.
    world = World(tmp_path / "w", Items(n=400, errors=392, harm=8), limit=5.0)
    code, overall, _ = verdict(invoke, world)
    assert (code, overall) == (1, "FAIL")
    body = json.loads((world.out / "evidence.json").read_text())["body"]
    by_claim = {d["claim"]: d for d in body["decisions"]}
    assert by_claim["reference.accuracy"]["verdict"] == "FAIL"
    assert by_claim["accuracy.drop"]["verdict"] == "NOT EVALUATED"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_or_infinity_in_an_output_blocks(invoke: Command, world: World, bad: float) -> None:
    broken = CANDIDATE.copy()
    broken[-1, -1] = bad  # one weight: NaN or infinity times any pixel, zero included, is never a number
    network(world.candidate, broken)
    code, overall, _ = verdict(invoke, world)
    assert (code, overall) == (1, "FAIL")
    body = json.loads((world.out / "evidence.json").read_text())["body"]
    by_claim = {d["claim"]: d for d in body["decisions"]}
    nonfinite = by_claim["integrity.nonfinite@role=candidate"]
    assert (nonfinite["verdict"], nonfinite["estimate"]) == ("FAIL", 400)
    assert by_claim["accuracy.drop"]["reason"] == "non-finite"


def test_policy_without_a_required_criterion_decides_nothing(invoke: Command, world: World) -> None:
    world.policy.write_text(world.policy.read_text() + "required = false\n")
    assert verdict(invoke, world) == (4, "NOT EVALUATED", "no-required-criterion")


def test_duplicated_test_set_blocks(invoke: Command, world: World) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=np.concatenate([x] * 10), y=np.concatenate([y] * 10))
    code, overall, _ = verdict(invoke, world)
    assert (code, overall) == (1, "FAIL")
    body = json.loads((world.out / "evidence.json").read_text())["body"]
    assert body["data"][0]["items"] == len(x)
    assert body["data"][0]["duplicates"] == 9 * len(x)


def test_judge_repeats_the_certificate_and_another_policy_is_exploratory(
    command: Command, invoke: Command, world: World
) -> None:
    first = summary(invoke("run", world.audit, "--no-pdf", "--json"))
    again = command("judge", world.out, "--no-pdf", "--json")
    assert again.returncode == ExitCode.ACCEPTED
    assert summary(again)["id"] == first["id"]

    lenient = world.folder / "lenient.toml"
    lenient.write_text(world.policy.read_text().replace("at_most = 2.0", "at_most = 5.0"))
    other = invoke("judge", world.out, "--policy", lenient, "--no-pdf", "--json")
    assert other.returncode == ExitCode.CONDITIONAL
    assert (summary(other)["verdict"], summary(other)["accepted"]) == ("PASS", False)


def test_render_writes_the_same_certificate_again(command: Command, invoke: Command, world: World) -> None:
    invoke("run", world.audit, "--no-pdf")
    copy = world.folder / "copy"
    result = command("render", world.out / "evidence.json", "--out", copy, "--no-pdf")
    assert result.returncode == ExitCode.ACCEPTED
    for name in ("evidence.json", "certificate.html", "junit.xml", "summary.md"):
        assert (copy / name).read_bytes() == (world.out / name).read_bytes()


def test_altered_evidence_is_refused(invoke: Command, world: World) -> None:
    invoke("run", world.audit, "--no-pdf")
    path = world.out / "evidence.json"
    text = path.read_text()
    for change, message in (('"CONDITIONAL PASS":1', "do not follow"), ('"CONDITIONAL PASS":0 ', "canonical form")):
        path.write_text(text.replace('"CONDITIONAL PASS":0', change))
        result = invoke("render", path)
        assert result.returncode == ExitCode.INPUT
        assert message in result.stderr


def test_full_disk_leaves_no_half_file(world: World) -> None:
    # A limit on file sizes fails a write the way a full disk does, and the command must not notice beforehand.
    result = subprocess.run(
        ["bash", "-c", f'ulimit -f 8; exec "{COMMAND}" run "{world.audit}" --no-pdf'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == ExitCode.NOT_EVALUATED, result.stderr
    assert "cannot be written" in result.stderr
    assert not [path for path in world.out.rglob("*") if path.name.startswith(".")]
    assert not (world.out / "certificate.html").exists()
    again = subprocess.run([COMMAND, "run", world.audit, "--no-pdf"], capture_output=True, text=True, check=False)
    assert again.returncode == ExitCode.ACCEPTED, again.stderr


def test_interrupt_keeps_what_was_measured(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=60_000))
    process = subprocess.Popen(
        [COMMAND, "run", world.audit, "--no-pdf"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        # A job that a shell started in the background ignores the signal, and so would its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    seal = world.out / "ledger" / "manifest.jsonl"
    while not (seal.exists() and seal.read_text().count("\n") >= 6) and process.poll() is None:
        time.sleep(0.01)  # until several of the 30 observations are sealed; nothing is asserted about time
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not (world.out / "evidence.json").exists()
    observations = world.out / "ledger" / "observations"
    sealed = [json.loads(line)["key"] for line in seal.read_text().split("\n")[:-1]]
    left = [parquet.read_metadata(observations / f"{key}.parquet") for key in sealed]
    rows = sum(found.num_rows for found in left if found.num_columns > 1)  # others hold the noise of a runtime
    assert 6 <= len(sealed) < 30
    resumed = subprocess.run([COMMAND, "run", world.audit, "--no-pdf"], capture_output=True, text=True, check=False)
    assert resumed.returncode == ExitCode.ACCEPTED, resumed.stderr
    passes = json.loads((world.out / "evidence.json").read_text())["run"]["passes"]
    assert sum(passes.values()) == 2 * 60_000 - rows


def test_a_bug_of_ours_is_reported_as_one(world: World) -> None:
    code = (
        "import sys; from audit import api, cli\n"
        "def broken(*a, **k): raise ZeroDivisionError('planted')\n"
        f"api.run = broken; sys.argv = ['prune-audit', 'run', {str(world.audit)!r}]; cli.main()"
    )
    result = subprocess.run(
        [COMMAND.parent / "python", "-c", code], capture_output=True, text=True, check=False, cwd=world.folder
    )
    assert result.returncode == ExitCode.BUG
    assert "ZeroDivisionError: planted" in result.stderr
    assert __version__ in result.stderr
    assert "onnxruntime" in result.stderr
