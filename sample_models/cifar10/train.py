"""Trains a CIFAR-10 ResNet, prunes it globally and step by step by magnitude, writes every step as ONNX.

Each candidate is pruned from the one before and fine-tuned (iterative pruning; Renda, Frankle and Carbin, arXiv
2003.02389).

The files take normalised images: (x − MEAN) / STD of pixels in [0, 1] stays outside the graph; the audit file
declares it. Run as `python -m sample_models.cifar10.train --help`.
"""

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import torch

from audit.errors import AuditError
from sample_models.cifar10.export import write_onnx
from sample_models.cifar10.images import LabelledImages, normalise, read_npz, read_torchvision
from sample_models.cifar10.pruning import apply_masks, magnitude_masks, zero_count
from sample_models.cifar10.resnet import ResNet, parameter_count
from sample_models.cifar10.training import Recipe, accuracy, state_digest, train

PEAK_RATE = 0.2
FINETUNE_PEAK_RATE = 0.05
BATCH = 128
WEIGHT_DECAY = 5e-4
MOMENTUM = 0.9
COMPARED_IMAGES = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: writes the models into the folder that --out names, and their entries into its `models.json`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if len({_stage(sparsity) for sparsity in options.sparsity}) < len(options.sparsity):
        parser.error("--sparsity names a value twice")
    torch.set_num_threads(options.threads)
    try:
        train_data, test_data = _read_data(options)
        torch.manual_seed(options.seed)
        reference = ResNet(options.depth).to(memory_format=torch.channels_last)
    except (ValueError, OSError, RuntimeError) as error:
        parser.error(str(error))
    try:
        models = _train_all(reference, train_data, options)
    except AuditError as error:
        parser.error(str(error))
    _write_all(models, train_data, test_data, options)


def _stage(sparsity: float) -> str:
    return f"pruned-{100 * sparsity:g}"


def _train_all(
    reference: ResNet, data: LabelledImages, options: argparse.Namespace
) -> dict[str, tuple[Recipe, ResNet]]:
    checkpoints = options.out / "checkpoints"
    recipe = Recipe(
        stage=options.name,
        depth=options.depth,
        seed=options.seed,
        epochs=options.epochs,
        crop_epochs=options.crop_epochs,
        peak_rate=PEAK_RATE,
        batch=BATCH,
        weight_decay=WEIGHT_DECAY,
        momentum=MOMENTUM,
        bfloat16=options.bfloat16,
        train_digest=data.digest(),
        start_digest=state_digest(reference),
    )
    train(reference, data, recipe, {}, checkpoints / f"{recipe.stage}.pt")
    models = {recipe.stage: (recipe, reference)}
    candidate = reference
    for sparsity in sorted(options.sparsity):
        stage = _stage(sparsity)
        masks = magnitude_masks(candidate, sparsity)
        candidate = copy.deepcopy(candidate)
        apply_masks(candidate, masks)
        tuning = replace(
            recipe,
            stage=stage,
            start_digest=state_digest(candidate),
            epochs=options.finetune_epochs,
            crop_epochs=0,
            peak_rate=FINETUNE_PEAK_RATE,
        )
        train(candidate, data, tuning, masks, checkpoints / f"{stage}.pt")
        models[stage] = (tuning, candidate)
    return models


def _write_all(
    models: dict[str, tuple[Recipe, ResNet]],
    train_data: LabelledImages,
    test_data: LabelledImages | None,
    options: argparse.Namespace,
) -> None:
    compared = normalise(train_data.pixels[:COMPARED_IMAGES])
    record = options.out / "models.json"
    entries = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for stage, (recipe, model) in models.items():
        path = options.out / f"{stage}.onnx"
        write_onnx(model, path, compared)
        zeros, prunable = zero_count(model)
        entry = asdict(recipe) | {
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "parameters": parameter_count(model),
            "prunable_weights": prunable,
            "zero_weights": zeros,
            "sparsity": zeros / prunable,
        }
        if test_data is not None:
            entry["test_accuracy"] = accuracy(model, test_data)
            entry["test_images"] = len(test_data)
            print(f"{stage}: sparsity {zeros / prunable:.2%}, test accuracy {entry['test_accuracy']:.2%}")
        entries[stage] = entry
    record.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _read_data(options: argparse.Namespace) -> tuple[LabelledImages, LabelledImages | None]:
    if options.torchvision_root is not None:
        root = options.torchvision_root
        return read_torchvision(root, train=True), read_torchvision(root, train=False)
    return read_npz(options.data), None if options.test_data is None else read_npz(options.test_data)


def _whole(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return whole_number


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="training images: .npz with x uint8 [N, 32, 32, 3], y int64")
    source.add_argument("--torchvision-root", type=Path, help="folder of torchvision's CIFAR-10, both splits")
    parser.add_argument("--test-data", type=Path, help="test images, same format; used once, at the end")
    parser.add_argument(
        "--name", default="reference", help="of the network that is not pruned, and of its file (default reference)"
    )
    parser.add_argument("--depth", type=_whole(8), default=8, help="6n + 2: 8, 14, 20, … (default 8)")
    parser.add_argument("--epochs", type=_whole(1), default=10, help="of the reference (default 10)")
    parser.add_argument(
        "--crop-epochs", type=_whole(0), default=0, help="how many of them, the first, see 24 × 24 crops (default 0)"
    )
    parser.add_argument("--finetune-epochs", type=_whole(1), default=2, help="per candidate (default 2)")
    parser.add_argument(
        "--sparsity", type=_fraction, nargs="*", default=[0.5, 0.9], help="default 0.5 0.9; none of a baseline"
    )
    parser.add_argument("--seed", type=_whole(0), default=0, help="of initial weights, order, augmentation")
    parser.add_argument("--bfloat16", action="store_true", help="compute activations in bfloat16 (faster)")
    parser.add_argument("--threads", type=_whole(1), default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for models, models.json, checkpoints")
    return parser


if __name__ == "__main__":
    main()
