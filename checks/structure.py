"""What the weights really are: how much was pruned, where, and whether anything still passes.

Of effective weights, as operators receive them: a mask or a threshold in code counts, whatever the file stores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.structure import PATTERNS, UNKNOWN, Structure
from audit.types import PAIR, Claim, Role, Sense, Unit

_MANY = 1000.0
"""Times that a candidate may be larger than its parent; a limit beyond it says nothing."""


def _metric(name: str, title: str, meaning: str, better: Sense, low: float, high: float, unit: Unit) -> Metric:
    return Metric(f"structure.{name}", title, unit, low, high, better, Kind.COUNTED, meaning, of_pair=False)


PRUNE_RATIO: Final = _metric(
    "prune_ratio",
    "Prune ratio",
    "Share of the reference's values that are gone: 1 − nonzero(candidate) / nonzero(reference), over weights, biases "
    "and normalisations (Liebenwein et al., 2021). A network with smaller layers is judged by the same counts.",
    Sense.AT_LEAST,
    -_MANY,
    1.0,
    Unit.PERCENT,
)
SPARSITY: Final = _metric(
    "sparsity",
    "Weights that are zero",
    "Share of the weights of convolutions and linear layers that are zero.",
    Sense.AT_LEAST,
    0.0,
    1.0,
    Unit.PERCENT,
)
OPERATIONS: Final = _metric(
    "operations",
    "Multiplications that remain",
    "Multiplications by weights other than zero for one item, in percent of the reference's. Whether a runtime skips "
    "the others is another question.",
    Sense.AT_MOST,
    0.0,
    _MANY,
    Unit.PERCENT,
)
COMPRESSED: Final = _metric(
    "compressed_size",
    "Compressed size",
    "Bytes that zlib needs for all values as float32, in percent of the reference's.",
    Sense.AT_MOST,
    0.0,
    _MANY,
    Unit.PERCENT,
)
FILE_SIZE: Final = _metric(
    "file_size",
    "Size of the files",
    "Bytes of the model's files, in percent of the reference's; of a module in memory, of its values.",
    Sense.AT_MOST,
    0.0,
    _MANY,
    Unit.PERCENT,
)
COLLAPSED: Final = _metric(
    "collapsed_layers",
    "Layers that pass nothing",
    "Convolutions and linear layers of which every weight is zero.",
    Sense.AT_MOST,
    0.0,
    float(2**53),
    Unit.LAYERS,
)
DEAD_FILTERS: Final = _metric(
    "dead_filters",
    "Filters that are gone",
    "Share of the filters, over all layers, of which every weight is zero.",
    Sense.AT_MOST,
    0.0,
    1.0,
    Unit.PERCENT,
)
DEAD_CHANNELS: Final = _metric(
    "dead_channels",
    "Inputs that nothing uses",
    "Share of the input channels, over all layers, that no filter has a weight other than zero for.",
    Sense.AT_MOST,
    0.0,
    1.0,
    Unit.PERCENT,
)
PATTERN: Final = _metric(
    "pattern",
    "Blocks that keep n:m",
    "Share of the blocks of m neighbouring inputs in which at most n weights are not zero, over all layers whose "
    "inputs m divides. 2:4 is what sparse tensor cores take.",
    Sense.AT_LEAST,
    0.0,
    1.0,
    Unit.PERCENT,
)
GRADIENT_ERROR: Final = _metric(
    "gradient_error",
    "Error of the network with gradients",
    "Largest difference of an output between the network that gradients are taken of (an ONNX file converted to torch, "
    "or the torch module itself) and the network as audited, as a part of its largest output. There is none where the "
    "network is gradient-free. Measured where the setting `gradients` is true.",
    Sense.AT_MOST,
    0.0,
    1.0,
    Unit.PERCENT,
)
_OF_ROLE = (SPARSITY, COLLAPSED, DEAD_FILTERS, DEAD_CHANNELS)
_OF_PAIR = (PRUNE_RATIO, OPERATIONS, COMPRESSED)


@dataclass(frozen=True)
class EffectiveWeights:
    """Prune ratio, sparsity, layer collapse, dead filters, N:M patterns, multiplications, compressed size.

    With `gradients`, whether the networks have gradients that can be trusted: this takes passes before the run.
    """

    name: ClassVar[str] = "structure"
    summary: ClassVar[str] = "what the weights really are, as the operators receive them"
    metrics: ClassVar[tuple[Metric, ...]] = (*_OF_PAIR, FILE_SIZE, *_OF_ROLE, PATTERN, GRADIENT_ERROR)
    gradients: bool = False

    def ask(self, context: Context, /) -> Ask:
        of_roles = [_of(metric, role) for metric in _OF_ROLE for role in PAIR]
        patterns = [_pattern(n, m) for n, m in PATTERNS]
        converted = [_of(GRADIENT_ERROR, role) for role in PAIR if self.gradients]
        claims = (*(Claim(metric.name) for metric in (*_OF_PAIR, FILE_SIZE)), *of_roles, *patterns, *converted)
        return Ask((), claims, structure=True, gradients=self.gradients)

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        found = {role: ledger.structure(role) for role in PAIR}
        yield from _compared(found[Role.REFERENCE], found[Role.CANDIDATE])
        whole, part = (ledger.size(role) for role in PAIR)
        yield Finding(Claim(FILE_SIZE.name), _files(whole, part))
        for role, structure in found.items():
            yield from _alone(role, structure)
        for place, (n, m) in enumerate(PATTERNS):
            yield Finding(_pattern(n, m), _conforming(found[Role.CANDIDATE], place, m))
        for role in PAIR if self.gradients else ():
            gradients = ledger.gradients(role)
            yield Finding(
                _of(GRADIENT_ERROR, role),
                gradients if isinstance(gradients, Missing) else Exact(gradients.deviation, gradients.items),
            )


def _of(metric: Metric, role: Role) -> Claim:
    return Claim(metric.name, (("role", role.value),))


def _pattern(n: int, m: int) -> Claim:
    return Claim(PATTERN.name, (("m", str(m)), ("n", str(n))))


def _compared(reference: Structure | Missing, candidate: Structure | Missing) -> Iterator[Finding]:
    for metric in _OF_PAIR:
        yield Finding(Claim(metric.name), _ratio(metric, reference, candidate))


def _ratio(metric: Metric, reference: Structure | Missing, candidate: Structure | Missing) -> Exact | Missing:
    if isinstance(reference, Missing):
        return reference
    if isinstance(candidate, Missing):
        return candidate
    whole, part = (_amount(metric, each) for each in (reference, candidate))
    if not whole or part is None or not candidate.nonzero:
        return Missing(UNKNOWN, "there is nothing to compare, or the size of an input is not known")
    share = part / whole
    return Exact(
        max(metric.low, min(metric.high, 1.0 - share if metric is PRUNE_RATIO else share)), candidate.parameters
    )


def _amount(metric: Metric, structure: Structure) -> int | None:
    """What is compared of a network; None where it is not known."""
    if metric is PRUNE_RATIO:
        return structure.nonzero
    if metric is COMPRESSED:
        return structure.compressed
    known = structure.layers and all(layer.positions for layer in structure.layers)
    return sum(layer.operations for layer in structure.layers) if known else None


def _files(reference: int, candidate: int) -> Exact | Missing:
    if not reference or not candidate:
        return Missing(UNKNOWN, "a model without a byte")
    return Exact(min(FILE_SIZE.high, candidate / reference), candidate)


def _alone(role: Role, structure: Structure | Missing) -> Iterator[Finding]:
    if isinstance(structure, Missing) or not structure.layers:
        none = structure if isinstance(structure, Missing) else Missing(UNKNOWN, "it has no layer with weights")
        yield from (Finding(_of(metric, role), none) for metric in _OF_ROLE)
        return
    layers = [layer for layer in structure.layers if not layer.again]
    weights, filters = sum(layer.weights for layer in layers), sum(layer.shape[0] for layer in layers)
    nonzero, dead = sum(layer.nonzero for layer in layers), sum(layer.dead_filters for layer in layers)
    yield Finding(_of(SPARSITY, role), Exact(1.0 - nonzero / weights, weights))
    yield Finding(_of(COLLAPSED, role), Exact(float(sum(layer.collapsed for layer in layers)), len(layers)))
    yield Finding(_of(DEAD_FILTERS, role), Exact(dead / filters, filters))
    channels, unused = sum(layer.channels for layer in layers), sum(layer.dead_channels for layer in layers)
    yield Finding(_of(DEAD_CHANNELS, role), Exact(unused / channels, channels))


def _conforming(structure: Structure | Missing, place: int, m: int) -> Exact | Missing:
    if isinstance(structure, Missing):
        return structure
    layers = [layer for layer in structure.layers if not layer.again]
    blocks = sum(layer.blocks[place] for layer in layers)
    if not blocks:
        return Missing(UNKNOWN, f"no layer has inputs that {m} divides")
    return Exact(sum(layer.conforming[place] for layer in layers) / blocks, blocks)
