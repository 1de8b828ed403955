"""What becomes of the candidate's probabilities when its logits are divided by the reference's temperature?

A deployed temperature is fitted once, on calibration items (Guo et al., 2017), and stays in place when the network
before it is exchanged, as a rejection threshold does. One of each model's own tells what a new one would save.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from audit.contracts import LedgerView, Probe
from audit.findings import Exact, Finding, Missing, Presupposition
from audit.stats.scores import brier
from audit.traces import Columns, Trace
from audit.types import PAIR, Claim, Role, Scope, Unit
from checks.accuracy import working
from checks.detection import FEWEST
from checks.figures import claim, counted
from checks.functional import saturated
from checks.methods import share
from checks.perturbations.clean import CLEAN

COLDEST: Final = 0.01
HOTTEST: Final = 100.0
"""Between these a temperature is looked for; at an end of them there is none."""
SCOPES: Final[tuple[Scope, ...]] = tuple((("temperature", whose),) for whose in ("own", "reference"))
"""Whose temperature the logits of both models are divided by."""
_BEYOND: Final = "beyond_guessing"
"""The column of how far the reference's maximum softmax lies above 1/K, as a share of what it can, in [0, 1]."""
_LEAST: Final = float(np.finfo(np.float64).tiny)
"""Probabilities below it have lost digits."""
Floats = NDArray[np.float64]

TEMPERATURE: Final = counted(
    "temperature", "Temperature", "The T at which softmax(logits / T) has the least mean log loss on the calibration "
    f"items (Guo et al., 2017), between {COLDEST:g} and {HOTTEST:g}: above 1 where a model is too sure. It takes "
    f"{FEWEST} items with labels, and is not to be had of probabilities that were rounded to 0, or where the loss has "
    "no minimum, as of a model that gets every calibration item right.", Unit.DISTANCE, low=COLDEST, high=HOTTEST,
)  # fmt: skip
Temperatures = Mapping[Role, Exact | Missing]


def claims() -> list[Claim]:
    """The temperature of each model."""
    return [claim(TEMPERATURE, role=role) for role in PAIR]


def told(found: Temperatures) -> Iterator[Finding]:
    """The same, as they were found."""
    yield from (Finding(claim(TEMPERATURE, role=role), found[role]) for role in PAIR)


def fitted(ledger: LedgerView, calibration: Probe) -> Temperatures:
    """The temperature of each model on the calibration items; Missing where there is none to rely on."""
    trace = ledger.trace(calibration)
    if isinstance(trace, Missing):
        return dict.fromkeys(PAIR, trace)
    return {role: _fit(trace, ledger.probabilities(calibration, role), role) for role in PAIR}


def scaled(clean: Trace, ledger: LedgerView, found: Temperatures) -> Iterator[tuple[Scope, Trace | Missing]]:
    """The clean items with proper scores of both models at temperatures, and how sure the reference is, by SCOPES."""
    used = dict(zip(SCOPES, (found, dict.fromkeys(PAIR, found[Role.REFERENCE])), strict=True))
    columns: dict[Scope, Columns | Missing] = dict.fromkeys(SCOPES, clean.columns)
    for role in PAIR:
        logits = _logits(clean, ledger.probabilities(CLEAN, role))  # once for all scopes: N × K take longest
        for scope, sofar in columns.items():
            scores = _scores(clean, logits, used[scope][role], role)
            if not isinstance(sofar, Missing):
                columns[scope] = scores if isinstance(scores, Missing) else {**sofar, **scores}
    for scope, each in columns.items():
        yield scope, each if isinstance(each, Missing) else replace(clean, columns=each)


def sure(trace: Trace) -> Presupposition:
    """That the reference is still sure of its answers: at a high temperature all probabilities are alike, and no worse.

    Of true probabilities the mean confidence is the accuracy; what is sure beyond guessing must come near that.
    """
    beyond = share(trace, trace.columns[_BEYOND])
    return Presupposition(beyond, working(trace).accuracy, what="mean confidence beyond guessing at its temperature")


def _fit(trace: Trace, probabilities: Floats | Missing, role: Role) -> Exact | Missing:
    """Where the slope of the mean log loss over 1/T is 0: the loss is convex in 1/T."""
    n = len(trace)
    if "label" not in trace.columns:
        return Missing("no-labels", "the calibration items have no labels, which a temperature is fitted to")
    if n < FEWEST:
        return Missing("too-few-items", f"{n} calibration items are too few for a temperature: it takes {FEWEST}")
    logits = _logits(trace, probabilities)
    if isinstance(logits, Missing):
        return logits
    own = _of_label(logits, trace)

    def slope(inverse: float) -> float:
        expected = np.einsum("ij,ij->i", softmax(inverse * logits, axis=1), logits)
        return float((expected - own).mean())

    ends = 1 / HOTTEST, 1 / COLDEST
    if not slope(ends[0]) < 0 < slope(ends[1]):
        why = f"the {role}'s log loss on the calibration items is least at no temperature in {COLDEST:g} … {HOTTEST:g}"
        return Missing("no-temperature", why)
    return Exact(1 / brentq(slope, *ends), n)


def _scores(trace: Trace, logits: Floats | Missing, temperature: Exact | Missing, role: Role) -> Columns | Missing:
    """Brier score and log loss of a model at a temperature, as pair columns [N]; of the reference _BEYOND as well."""
    if isinstance(temperature, Missing):
        return temperature
    if isinstance(logits, Missing):
        return logits
    logs = log_softmax(logits / temperature.value, axis=1)
    own, p, guess = _of_label(logs, trace), np.exp(logs), 1 / logs.shape[1]
    scores = {f"brier_{role}": brier(p, np.exp(own)), f"log_loss_{role}": -own}
    beyond = ((p.max(axis=1) - guess) / (1 - guess)).clip(0.0, 1.0)
    return {**scores, _BEYOND: beyond} if role is Role.REFERENCE else scores


def _logits(trace: Trace, probabilities: Floats | Missing) -> Floats | Missing:
    """Logits less the highest of their row [N, K]; Missing where either model's were lost in its probabilities.

    The highest is 0 exactly, so that no rounding turns the slope of a loss that only falls.
    """
    if isinstance(probabilities, Missing):
        return probabilities
    lost = (probabilities < _LEAST).any(axis=1)
    if missing := saturated(np.where(lost, np.nan, trace.columns["relative_logit_error"])):
        return missing
    logs = np.log(probabilities)
    logits: Floats = logs - logs.max(axis=1, keepdims=True)
    return logits


def _of_label(values: Floats, trace: Trace) -> Floats:
    """What belongs to the label of each row [N], of [N, K]."""
    own: Floats = np.take_along_axis(values, trace.columns["label"][:, None], axis=1)[:, 0]
    return own
