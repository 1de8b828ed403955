"""Writes docs/peers.md from the results of `benchmarks/peers.py`: fixed prose, measured figures.

python page.py results.json docs/peers.md
"""

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

WORDS = {"drop": "loss of accuracy", "agreement": "agreement", "noisy_drop": "loss under noise"}
RECALL = "recall_drop@class="
WAYS = {"prune-audit": "prune-audit", "plain": "plain script", "mlflow": "MLflow"}
SHOULD = {
    "well-pruned": ("PASS", "pruned with care"),
    "over-pruned": (
        "FAIL",
        "pruned too far, and trained so that it keeps its accuracy on clean images and loses it under noise",
    ),
    "sabotaged": ("FAIL", "has lost much of one rare class; its averages are fine"),
    "nan-weight": ("FAIL", "well-pruned, with one weight of the last layer NaN"),
    "nan-on-bright": ("FAIL", "well-pruned, with a branch that overflows: NaN for the brightest {bright} of the items"),
}

Results = Any


def main() -> None:
    found = json.loads(Path(sys.argv[1]).read_text())
    parts = (introduction(found), verdicts(found), figures(found), costs(found), holes(found))
    Path(sys.argv[2]).write_text("\n\n".join(parts) + "\n")
    print(f"{sys.argv[2]} is written")


def introduction(found: Results) -> str:
    asked = found["questions"]
    share = f"{100 * found['bright']:g} %"
    candidates = "\n".join(f"- `{name}`: {why.format(bright=share)}." for name, (_, why) in SHOULD.items())
    refused = "".join(f"\n\n{name} could not be installed here: `{why}`" for name, why in found["refused"].items())
    pins = ", ".join(pins[0].replace("==", " ") for pins in found["pins"].values())
    origin = paragraph(f"""
Written by `python benchmarks/peers.py`, which installs {pins} into environments of their own. Every figure below is
from its last run, on {found["items"]:,} items of the [road signs](../sample_models/roadsigns/README.md).""")
    limits = paragraph(f"""
Four questions, each with a limit: the candidate loses at most {asked["drop"]} points of accuracy; it decides like its
reference on at least {asked["agreement"]} % of the items; under uniform noise of ±{asked["level"]}/255 it loses at most
{asked["noisy_drop"]} points; no class loses more than {asked["recall_drop"]} points of recall, as in
`standard/6`. They are asked in four ways:""")
    return f"""# Beside what a user would take instead

{origin}

{limits}

- **prune-audit**: `prune-audit run` with a policy of these four criteria, at α = 0.05.
- **Plain script** (`benchmarks/peers/plain.py`): onnxruntime and numpy, argmax, point estimates against the limits.
- **MLflow** (`benchmarks/peers/mlflow_gate.py`): the outputs are computed with onnxruntime; `mlflow.models.evaluate`
  makes the accuracies and recalls of them, `mlflow.validate_evaluation_results` decides.
- **Polygraphy**: `polygraphy run --onnxrt` on the candidate against the saved outputs of the reference, on the same
  images. It compares numbers of two networks; labels do not occur, so it cannot be asked about accuracy or recall.

The candidates:

{candidates}{refused}"""


def verdicts(found: Results) -> str:
    present = [way for way in WAYS if way in found["ways"]]
    tool = found["ways"].get("polygraphy", {})
    heads = ["candidate", "should", *(WAYS[way] for way in present)]
    heads += ["Polygraphy, default tolerance", "Polygraphy, top class", "Polygraphy, hindsight"] if tool else []
    rows = []
    for name, (should, _) in SHOULD.items():
        row = [f"`{name}`", should, *(cell(found["ways"][way][name]) for way in present)]
        if tool:
            row += [
                both(tool[name]["clean"]["exit"], tool[name]["noisy"]["exit"]),
                exited(tool[name]["items"]["exit"]),
                both(tool[name]["clean"]["tuned"], tool[name]["noisy"]["tuned"]),
            ]
        rows.append(row)
    text = f"## Who passes what\n\n{table(heads, rows)}\n\nIn brackets: the questions that were not passed."
    failed = {WAYS[way]: found["ways"][way]["sabotaged"].get("failed", ()) for way in present}
    text += "\n\n" + paragraph(f"""
**`sabotaged`** has lost much of one rare class. The question about classes stops it in
{listed(way for way, parts in failed.items() if of_classes(parts))}; those about all items, which are averages, in
{listed(way for way, parts in failed.items() if set(parts) & set(WORDS))}.""")
    return text + (f"\n\n{polygraphy_columns(found['tolerance'])}" if tool else "")


def polygraphy_columns(tolerance: float) -> str:
    return paragraph(f"""
Polygraphy, clean / noisy images: with its default tolerance (1e-5, absolute and relative, on every logit); by the top
class of every single clean item (`--postprocess top-1 --compare indices`), where one item that differs is a failure and
no share can be permitted; and with hindsight, the mean absolute difference of the logits against {tolerance:g} times
that of `well-pruned`. Hindsight needs a network that is known to be good; its tolerance is not about accuracy.""")


def cell(answer: Results) -> str:
    failed = answer.get("failed", ())
    classes = of_classes(failed)
    names = [f"`{part}`" for part in failed if part not in WORDS and not part.startswith(RECALL)]
    names += [word for part, word in WORDS.items() if part in failed]
    if classes:
        which = f"`{classes[0]}`" if len(classes) == 1 else f"{len(classes)} classes"
        names.append(f"loss of recall of {which}")
    return str(answer["verdict"]) + (f" ({', '.join(names)})" if names else "")


def of_classes(failed: Iterable[str]) -> list[str]:
    """The classes whose question was not passed."""
    return [part.removeprefix(RECALL) for part in failed if part.startswith(RECALL)]


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def exited(code: int) -> str:
    return "pass" if code == 0 else "fail"


def both(clean: int, noisy: int) -> str:
    return f"{exited(clean)} / {exited(noisy)}"


def figures(found: Results) -> str:
    rows = []
    for name in SHOULD:
        for way, title in WAYS.items():
            if way in found["ways"]:
                values = found["ways"][way][name].get("figures", {})
                rows.append([f"`{name}`", title, *(figure(values.get(part)) for part in WORDS), worst(values)])
        if "polygraphy" in found["ways"]:
            told = found["ways"]["polygraphy"][name]
            means = [f"cannot be asked; logits differ by {number(told[kind]['mean'])}" for kind in ("clean", "noisy")]
            agreement = figure(told["items"]["agreement"])
            rows.append([f"`{name}`", "Polygraphy", means[0], agreement, means[1], "cannot be asked"])
    heads = ["candidate", "", "loss, points", "agreement, %", "loss under noise, points",
             "largest loss of recall of a class, points"]  # fmt: skip
    return f"""## The figures they give

{table(heads, rows)}

In brackets: prune-audit's confidence bounds; the others give none. prune-audit draws its own noise; the other three
share one draw. Polygraphy's agreement is its pass rate over single items; "logits differ by" is its mean absolute
difference."""


def figure(value: Results) -> str:
    if isinstance(value, list) and None not in value:
        estimate, lower, upper = map(number, value)
        return f"{estimate} [{lower}, {upper}]"
    return "none" if isinstance(value, list) else number(value)


def worst(values: dict[str, Results]) -> str:
    """The largest loss of recall and its class, of several alike as printed the first by name."""
    known = {name.removeprefix(RECALL): value for name, value in values.items()
             if name.startswith(RECALL) and figure(value) != "none"}  # fmt: skip
    if not known:
        return "none"
    losses = {name: round(value[0] if isinstance(value, list) else value, 2) for name, value in known.items()}
    name = max(sorted(losses), key=losses.__getitem__)
    return f"{figure(known[name])} `{name}`"


def number(value: float | None, form: str = ".2f") -> str:
    if value is None:
        return "none"
    return format(value, form).replace("-", "−") if math.isfinite(value) else "NaN"


def costs(found: Results) -> str:
    rows = [[WAYS[way], *spread([answer["cost"] for answer in answers.values()])]
            for way, answers in found["ways"].items() if way in WAYS]  # fmt: skip
    if "polygraphy" in found["ways"]:
        answers, references = found["ways"]["polygraphy"].values(), found["edges"]["polygraphy"]["references"]
        for kind, what in (("clean", "256 at a time"), ("noisy", "256 at a time, noisy"), ("items", "single items")):
            rows.append([f"Polygraphy, {what}", *spread([answer["cost"][kind] for answer in answers])])
            rows.append([f"Polygraphy, {what}: the reference", *spread([references[kind]])])
    on = paragraph(f"""
One candidate, from the files to the answer; smallest … largest of the {len(SHOULD)} candidates, on a shared machine
with {found["cores"]} cores.""")
    return f"""## What it costs

{on}

{table(["", "wall time, s", "processor time, s", "peak memory, MiB"], rows)}

The memory is that of the largest process. prune-audit's run includes the checks of the inputs, the ledger, and the
certificate in HTML and PDF; those of the others end with their verdict. The reference is run again for every
candidate, except by Polygraphy, which saves its outputs once."""


def spread(costs: Sequence[dict[str, float]]) -> list[str]:
    return [span([each[name] for each in costs], form) for name, form in
            (("seconds", ".1f"), ("cpu", ".1f"), ("peak", ".0f"))]  # fmt: skip


def span(values: Sequence[float], form: str) -> str:
    ends = [format(end(values), form) for end in (min, max)]
    return " … ".join(dict.fromkeys(ends))


def holes(found: Results) -> str:
    ways, edges, sets = found["ways"], found["edges"], found["sets"]
    lines = [
        f"**{WAYS[way]}** passes of the four that should not: {undeserved(ways[way])}." for way in WAYS if way in ways
    ]
    lines += [
        "**NaN for some items** (`nan-on-bright`) is invisible to accuracy, agreement and recall: the largest of "
        "several NaN has an index like any other, and counts as a decision, right or wrong.",
        f"**Too few items**: cut into {sets['all']} sets of {sets['size']} items, `over-pruned` passes the plain "
        f"script's point estimates in {sets['passed']}." + few(edges),
        f"**An empty test set**: {told(edges['empty'])}{polygraphy_empty(edges)}. The two scripts stop where they join "
        "the outputs.",
    ]
    if "mlflow" in ways:
        lines += mlflow_lines(ways["mlflow"])
    if "polygraphy" in ways:
        lines += polygraphy_lines(ways["polygraphy"])
    parts = ["## Where something passes that should not, and where nothing was asked", bullets(lines)]
    if "mlflow" in ways:
        parts.append("MLflow's thresholds on metric values handed over, all with `greater_is_better=True`:")
        parts.append(table(["metric and threshold", "answer"], edges["mlflow"].items()))
    return "\n\n".join(parts)


def undeserved(answers: Results) -> str:
    passed = [f"`{name}`" for name, (should, _) in SHOULD.items() if should == "FAIL" and
              answers[name]["verdict"] == "PASS"]  # fmt: skip
    return listed(passed)


def few(edges: Results) -> str:
    return f" On the first of them: {told(edges['few'])}." if "few" in edges else ""


def told(answers: Results) -> str:
    def one(way: str, answer: Results) -> str:
        note = f" (`{answer['note'][:160]}`)" if answer.get("note") else ""
        return f"{WAYS[way]} {cell(answer)}{note}"

    return ", ".join(one(way, answer) for way, answer in answers.items())


def polygraphy_empty(edges: Results) -> str:
    if "polygraphy" not in edges:
        return ""
    return f"; Polygraphy, `over-pruned` on a batch of no items: exit code {edges['polygraphy']['empty']}"


def polygraphy_lines(answers: Results) -> list[str]:
    refused = [name for name in SHOULD if answers[name]["clean"]["tuned"] or answers[name]["noisy"]["tuned"]]
    return [
        "**Polygraphy, accuracy and recall**: never asked, with or without noise; only how far two networks' outputs "
        "differ.",
        f"**Polygraphy, with hindsight**, refuses {listed(f'`{name}`' for name in refused)}.",
    ]


def mlflow_lines(answers: Results) -> list[str]:
    losses = ", ".join(
        f"`{name}` {'pass' if answers[name]['loss']['passed'] else 'fail'} "
        f"(loss {' against '.join(number(value, '.4f') for value in answers[name]['loss']['values'])})"
        for name in ("well-pruned", "nan-weight", "nan-on-bright")
        if "loss" in answers[name]
    )
    metrics = ", ".join(f"`{name}`" for name in answers["well-pruned"]["metrics"])
    return [
        f"**MLflow, the loss function must not get worse** (`min_relative_change=0.0`): {losses}.",
        "**MLflow, a permitted loss** cannot be said as a change against the baseline (the last row below): the gate's "
        "script works the limit out from the reference's accuracy.",
        f"**MLflow, agreement** is none of the metrics it computes ({metrics}): it was asked as accuracy with the "
        "reference's decisions in place of the labels.",
        "**MLflow, recall of one class** is none of them either: `recall_score` is the mean over the classes, weighted "
        "by their items, and the recall of each goes to a file (`per_class_metrics`), which no threshold reads. It was "
        "asked as a metric of one's own for every class (`make_metric`).",
    ]  # fmt: skip


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(paragraph(f"- {line}", indent="  ") for line in lines)


def paragraph(text: str, indent: str = "") -> str:
    return textwrap.fill(text.strip(), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
