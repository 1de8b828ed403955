"""The text of an audit file for newcomers: every setting with a comment, and what was found out about the models."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from audit import policy
from audit.errors import AuditError
from audit.request import AuditFile, ModelEntry, PreprocessingEntry
from audit.trials import Choice, Trial
from audit.types import Role, TaskKind


def render(meant: AuditFile, weights: Collection[Role], choice: Choice | None) -> str:
    """The text of an audit file that says what is meant.

    `weights` are the models that need an architecture; `choice` says what was tried, None where nothing could be.
    Raises AuditError for a file name that TOML cannot hold.
    """
    return "".join(f"{line}\n" for line in _lines(meant, weights, choice))


def _lines(meant: AuditFile, weights: Collection[Role], choice: Choice | None) -> Iterator[str]:
    """Line by line; what others have named stands there only as a quoted value, never in a comment."""
    yield "# May the candidate ship in place of its reference? `prune-audit run` decides it by this file."
    yield "# Paths are relative to this file. Every key there is: prune-audit schema audit"
    yield ""
    yield from _policy(meant)
    yield "# The folder for the certificate and for everything that is measured."
    yield f"out = {quoted(meant.out)}"
    yield ""
    yield "# Where the models run: auto, cpu, cuda or cuda:N. auto is CUDA where there is one."
    yield 'device = "auto"'
    yield ""
    yield "# The trusted parent."
    yield "[reference]"
    yield from _model(meant.reference, weights=Role.REFERENCE in weights)
    yield "# Its published accuracy in percent. Where it is given, the audit also proves that this is that network."
    yield "# declared_accuracy = ..."
    yield "# A layer, such as the last but one: is what it gives still alike? Name it for the candidate too."
    yield "# Of an ONNX file it is a value or a node, else a module."
    yield "# layer = ..."
    yield ""
    yield "# The pruned network that is to ship in its place."
    yield "[candidate]"
    yield from _model(meant.candidate, weights=Role.CANDIDATE in weights)
    yield ""
    if meant.candidate.preprocessing:
        yield "# It takes its input in another layout than the reference; this replaces [preprocessing] for it."
        yield "[candidate.preprocessing]"
        yield from _values(meant.candidate.preprocessing)
        yield ""
    yield "# The reference's architecture, trained separately: a yard-stick for how much two good networks differ."
    yield "# [baseline]"
    yield '# model = "baseline.onnx"'
    yield ""
    yield "# What the candidate's file was exported from: it tells the loss by conversion from the loss by pruning."
    yield "# Weights need an architecture here too."
    yield "# [origin]"
    yield '# model = "origin.pt"'
    yield ""
    yield from _preprocessing(meant, choice)
    yield from _sets(meant)
    yield from _PARTIES


def _policy(meant: AuditFile) -> Iterator[str]:
    yield "# The limits, fixed before anything is measured. Built in are:"
    for name in sorted(name for name in policy.available() if "/" not in name):
        found = policy.read(name, Path()).file
        if TaskKind.CLASSIFICATION not in (found.tasks or TaskKind):
            continue
        drops = [limit for limit in found.criterion if limit.claim == "accuracy.drop" and limit.at_most is not None]
        loss = "".join(f"; loss of accuracy at most {limit.at_most:g} ({limit.unit})" for limit in drops)
        yield f"#   {name:<10}  {found.title}{loss}; error probability at most {found.alpha:g}"
    yield "# In full: prune-audit policy show NAME. Or name a policy file of your own by its path."
    yield f"policy = {quoted(meant.policy)}"
    yield ""


def _model(entry: ModelEntry, *, weights: bool) -> Iterator[str]:
    yield f"model = {quoted(entry.model)}"
    if weights:
        yield "# FILL IN, and remove the #: weights need the code that builds their network. FILE.py lies beside this"
        yield "# file, and FUNCTION in it gives the torch.nn.Module; arguments are for FUNCTION, and may be left out."
        yield '# architecture = "FILE:FUNCTION"'
        yield "# arguments = {}"


def _preprocessing(meant: AuditFile, choice: Choice | None) -> Iterator[str]:
    yield "# What the networks were trained on. They are handed pixels in [0, 1], and this is applied to them first."
    if choice is None:
        yield "# FILL IN what your training code used: weights without a network could not be tried."
    else:
        yield from _tried(choice)
    yield "[preprocessing]"
    yield from _values(meant.preprocessing)
    yield ""


def _tried(choice: Choice) -> Iterator[str]:
    every = [(role, trial) for role, found in choice.trials.items() for trial in found]
    guess = f"{100 * choice.chance:.1f}"
    if choice.found:
        yield "# The best of those tried below: a look, no verdict. Compare it with your training code."
    else:
        yield "# NOT FOUND: nothing tried below is clearly better than guessing. FILL IN what your training code used."
    yield f"# Percent right of {len(choice.labels)} items of the test set, where guessing gives {guess}:"
    for role, trial in every:
        row = f"{role:<9}  {trial.entry.layout}  {trial.name:<27}{100 * trial.accuracy:6.1f}"
        yield f"#   {row}  {_mark(role, trial, choice)}".rstrip()
    yield from (f"# {line}" for line in warnings(choice))


def _mark(role: Role, trial: Trial, choice: Choice) -> str:
    if not choice.found:
        return ""
    if trial is choice.of(role):
        return "used below"
    return "not clearly worse" if any(trial is other for other in choice.alike) else ""


def warnings(choice: Choice) -> Iterator[str]:
    """What speaks against one preprocessing for both networks."""
    better = choice.better(Role.CANDIDATE) if choice.found and Role.CANDIDATE in choice.trials else None
    if better:
        yield (
            f"WARNING: the candidate is clearly better with {better.name} ({better.entry.layout}). If it was trained "
            "on that, give it a table [candidate.preprocessing] of its own."
        )


def _values(entry: PreprocessingEntry) -> Iterator[str]:
    rows = (
        (f"layout = {quoted(entry.layout)}", "order of the axes of the networks' input: NCHW or NHWC"),
        (f"range = {list(entry.range)}", "what [0, 1] is scaled to, first"),
        (f"mean = {list(entry.mean)}", "subtracted next: one value per channel, after scaling; [] for none"),
        (f"std = {list(entry.std)}", "divided by last: one value per channel; [] for none"),
    )
    width = max(len(setting) for setting, _ in rows)
    for setting, comment in rows:
        yield f"{setting:<{width}}  # {comment}"


def _sets(meant: AuditFile) -> Iterator[str]:
    yield "# The test set: labelled items that no network was trained on."
    yield "[data.test]"
    yield f"path = {quoted(meant.data.test.path)}"
    yield "# What is known of each item, such as weather or site: a CSV with a column for each, and one called item."
    yield '# attributes = "attributes.csv"'
    yield ""
    yield "# Labelled items on which rejection thresholds and temperatures are set, as they are where the network runs."
    yield "# [data.calibration]"
    yield '# path = "calibration.npz"'
    yield ""
    yield "# Labelled items from other conditions, such as weather or another camera; of the same size and classes."
    yield "# [data.shifted]"
    yield '# path = "shifted.npz"'
    yield "# Several have names: [data.shifted.night], [data.shifted.rain]; so may sets of [data.out_of_distribution],"
    yield "# inputs of no class. The path of [data.corrupted] is a folder as that of CIFAR-10-C or of ImageNet-C."
    yield ""


_PARTIES = (
    "# Who is involved, for the certificate; what is empty is printed as not stated.",
    "[certificate]",
    'organisation = ""   # whose networks these are',
    'requester = ""      # who wants to know',
    'prepared_by = ""    # who ran the audit',
    'authorised_by = ""  # who answers for it',
)


def quoted(value: object) -> str:
    """A TOML basic string (toml.io/en/v1.0.0#string): JSON's escapes, and one for DEL.

    Raises AuditError for a file name that is not Unicode, which TOML cannot hold.
    """
    text = json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise AuditError(f"{str(value)!r}: is not a name in UTF-8, as TOML wants", "Rename the file.") from error
    return text
