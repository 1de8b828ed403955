"""What the candidates really do, over any range of generated items: the figures of README.md.

python -m sample_models.roadsigns.measure --start 0 --count 200000
python -m sample_models.roadsigns.measure --start 1000000 --count 10000 --ranges 20
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sample_models.roadsigns.generator import CLASSES, FREQUENCIES, MEAN, STD, generate

HERE = Path(__file__).parent
REFERENCE = "reference"
CANDIDATES: tuple[str, ...] = ("well-pruned", "crude", "over-pruned", "sabotaged")
NOISE = 8 / 255
_CHUNK = 1000
_NOISE_KEY = 0x6E6F697365
_DRAWS = 3 * 32 * 32
_RAREST = FREQUENCIES.index(min(FREQUENCIES))
_COLUMNS = {"changed": 3, "drop": 3, "noisy_drop": 3, "agreement": 3, "excess": 3, "distance": 4}  # and decimals
_HEADER = """| candidate | changed % | drop | noisy drop | agreement % | excess | softmax L2 | worst recall drop |
|---|---|---|---|---|---|---|---|"""

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one network says of n items: classes of clean and noisy images [n], clean softmax [n, 14]."""

    clean: Labels
    noisy: Labels
    softmax: Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate against the reference on the same items; per cent or points, but for `distance`.

    `excess` is P(candidate ≠ reference) − P(reference ≠ label); `distance` is the mean ‖p − q‖₂ of the
    softmax outputs, at most √2; `recall_drop` goes by class, NaN for a class without items.
    """

    changed: float
    drop: float
    noisy_drop: float
    agreement: float
    excess: float
    distance: float
    recall_drop: tuple[float, ...]


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """The network of an ONNX file on the processor, with all graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def noise(start: int, count: int) -> Floats:
    """Uniform in ± 8/255, [count, 3, 32, 32]; that of an item depends on its index only."""
    source = np.random.Philox(key=_NOISE_KEY, counter=start * _DRAWS // 4)
    unit = (source.random_raw(count * _DRAWS) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    return ((unit * 2 - 1) * np.float32(NOISE)).reshape(count, 3, 32, 32)


def outputs(network: onnxruntime.InferenceSession, clean: Floats, noisy: Floats) -> Outputs:
    """Runs `network` on images in [0, 1], [n, 3, 32, 32]."""
    logits = _logits(network, clean)
    exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Outputs(
        clean=logits.argmax(axis=1),
        noisy=_logits(network, noisy).argmax(axis=1),
        softmax=exponential / exponential.sum(axis=1, keepdims=True),
    )


def _logits(network: onnxruntime.InferenceSession, image: Floats) -> Floats:
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    logits: Floats = network.run(["logits"], {"image": (image - mean) / deviation})[0]
    return logits


def observe(start: int, count: int, folder: Path = HERE, threads: int = 1) -> tuple[Labels, dict[str, Outputs]]:
    """Labels, and what every network says, over items `start` … `start + count − 1` of stream "test".

    ValueError for fewer than one item.
    """
    if count < 1:
        raise ValueError(f"{count} items cannot be measured")
    networks = {name: session(folder / f"{name}.onnx", threads) for name in (REFERENCE, *CANDIDATES)}
    labels: list[Labels] = []
    parts: dict[str, list[Outputs]] = {name: [] for name in networks}
    for first in range(start, start + count, _CHUNK):
        images, label = generate(first, min(_CHUNK, start + count - first))
        clean = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
        noisy = np.clip(clean + noise(first, len(clean)), 0, 1)
        labels.append(label)
        for name, network in networks.items():
            parts[name].append(outputs(network, clean, noisy))
    return np.concatenate(labels), {name: _joined(pieces) for name, pieces in parts.items()}


def _joined(parts: list[Outputs]) -> Outputs:
    return Outputs(
        clean=np.concatenate([part.clean for part in parts]),
        noisy=np.concatenate([part.noisy for part in parts]),
        softmax=np.concatenate([part.softmax for part in parts]),
    )


def compare(labels: Labels, reference: Outputs, candidate: Outputs) -> Comparison:
    """The figures of one candidate; all arrays speak of the same items in the same order."""
    before, after = reference.clean == labels, candidate.clean == labels
    distance = np.sqrt(((reference.softmax - candidate.softmax) ** 2).sum(axis=1))
    return Comparison(
        changed=_per_cent(before != after),
        drop=_per_cent(before) - _per_cent(after),
        noisy_drop=_per_cent(reference.noisy == labels) - _per_cent(candidate.noisy == labels),
        agreement=_per_cent(reference.clean == candidate.clean),
        excess=_per_cent(reference.clean != candidate.clean) - _per_cent(~before),
        distance=float(distance.mean()),
        recall_drop=tuple(_per_cent(before[labels == c]) - _per_cent(after[labels == c]) for c in range(len(CLASSES))),
    )


def _per_cent(hits: NDArray[np.bool_]) -> float:
    return 100 * float(hits.mean()) if len(hits) else float("nan")


def _row(name: str, result: Comparison) -> str:
    worst = max(range(len(CLASSES)), key=lambda c: np.nan_to_num(result.recall_drop[c], nan=-100.0))
    rounded = " | ".join(f"{getattr(result, field):.{digits}f}" for field, digits in _COLUMNS.items())
    return f"| {name} | {rounded} | {result.recall_drop[worst]:.1f} ({CLASSES[worst]}) |"


def _print_range(start: int, count: int, threads: int) -> dict[str, Comparison]:
    began = time.monotonic()
    labels, seen = observe(start, count, threads=threads)
    reference = seen[REFERENCE]
    clean, noisy = (_per_cent(predicted == labels) for predicted in (reference.clean, reference.noisy))
    print(f"\nItems {start} … {start + count - 1}: reference {clean:.3f} % right, {noisy:.3f} % under noise")
    print(_HEADER)
    results = {name: compare(labels, reference, seen[name]) for name in CANDIDATES}
    for name, result in results.items():
        print(_row(name, result))
    if count >= 100_000:
        _print_recall(labels, reference, results)
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return results


def _print_spans(ranges: list[dict[str, Comparison]]) -> None:
    print(f"\nSmallest … largest of {len(ranges)} ranges; of the recalls, that of {CLASSES[_RAREST]}")
    print(_HEADER)
    for name in CANDIDATES:
        results = [results[name] for results in ranges]
        columns = (
            *([getattr(result, field) for result in results] for field in _COLUMNS),
            [result.recall_drop[_RAREST] for result in results],
        )
        print(f"| {name} | {' | '.join(f'{min(column):.3f} … {max(column):.3f}' for column in columns)} |")


def _print_recall(labels: Labels, reference: Outputs, results: dict[str, Comparison]) -> None:
    print(f"\n| class | items | reference recall % | {' | '.join(f'drop {name}' for name in results)} |")
    print("|---|---|---" + "|---" * len(results) + "|")
    for c, name in enumerate(CLASSES):
        recall = _per_cent(reference.clean[labels == c] == c)
        drops = " | ".join(f"{result.recall_drop[c]:.2f}" for result in results.values())
        print(f"| {name} | {int((labels == c).sum())} | {recall:.2f} | {drops} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the road-sign candidates on generated items.")
    parser.add_argument("--start", type=int, default=0, help="first item of the first range")
    parser.add_argument("--count", type=int, default=10_000, help="items per range")
    parser.add_argument("--ranges", type=int, default=1, help="how many ranges, one after the other")
    parser.add_argument("--threads", type=int, default=2, help="threads of onnxruntime")
    options = parser.parse_args()
    starts = (options.start + index * options.count for index in range(options.ranges))
    ranges = [_print_range(start, options.count, options.threads) for start in starts]
    if len(ranges) > 1:
        _print_spans(ranges)


if __name__ == "__main__":
    main()
