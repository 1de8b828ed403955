"""The CIFAR-10 networks: their training can be stopped, pruned weights stay zero, and the files are what they say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from audit.errors import AuditError
from sample_models.cifar10 import training
from sample_models.cifar10.export import WEIGHTED
from sample_models.cifar10.images import SIDE, LabelledImages, augment, read_npz
from sample_models.cifar10.pruning import apply_masks, magnitude_masks, prunable_weights, zero_count
from sample_models.cifar10.resnet import ResNet, parameter_count
from sample_models.cifar10.training import CROP, Recipe, learning_rate, state_digest, train

FOLDER = Path(__file__).parents[2] / "sample_models" / "cifar10"
MODELS = json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))
CANDIDATES = {"pruned-50": 0.5, "pruned-75": 0.75, "pruned-90": 0.9}


def pictures(count: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    return LabelledImages(pixels, torch.arange(count) % 10)


def network() -> ResNet:
    torch.manual_seed(0)
    return ResNet(8)


def recipe(model: ResNet, epochs: int) -> Recipe:
    return Recipe(
        stage="reference",
        depth=8,
        seed=0,
        epochs=epochs,
        crop_epochs=1,
        peak_rate=0.05,
        batch=32,
        weight_decay=5e-4,
        momentum=0.9,
        bfloat16=False,
        train_digest="",
        start_digest=state_digest(model),
    )


def test_files_are_those_of_the_recipes() -> None:
    files = {path.stem: path for path in FOLDER.glob("*.onnx")}
    assert set(files) == set(MODELS) == {"reference", "baseline", *CANDIDATES}
    for stage, path in files.items():
        raw = path.read_bytes()
        assert hashlib.sha256(raw).hexdigest() == MODELS[stage]["sha256"]
        assert len(raw) < 1_500_000


@pytest.mark.parametrize("stage", MODELS)
def test_files_hold_the_zeros_that_are_claimed(stage: str) -> None:
    proto = onnx.load(FOLDER / f"{stage}.onnx")
    names = {node.input[1] for node in proto.graph.node if node.op_type in WEIGHTED}
    arrays = [numpy_helper.to_array(item) for item in proto.graph.initializer if item.name in names]
    total = sum(array.size for array in arrays)
    share = sum(int((array == 0).sum()) for array in arrays) / total
    assert total == MODELS[stage]["prunable_weights"]
    assert share == pytest.approx(CANDIDATES.get(stage, 0.0), abs=1e-4)
    assert MODELS[stage]["sparsity"] == pytest.approx(share, abs=1e-4)


def test_networks_are_comparable() -> None:
    assert parameter_count(ResNet(20)) == 272_474
    assert {entry["parameters"] for entry in MODELS.values()} == {272_474}
    assert len({entry["train_digest"] for entry in MODELS.values()}) == 1
    assert MODELS["baseline"]["seed"] != MODELS["reference"]["seed"]
    same = MODELS["reference"].keys() & set(Recipe.__dataclass_fields__) - {"seed", "stage", "start_digest"}
    assert {key: MODELS["baseline"][key] for key in same} == {key: MODELS["reference"][key] for key in same}


@pytest.mark.parametrize("depth", [2, 9, 19])
def test_depths_that_no_such_network_has_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="6n"):
        ResNet(depth)


@pytest.mark.parametrize("side", [SIDE, CROP])
def test_every_augmented_image_is_a_shifted_window_or_its_mirror(side: int) -> None:
    data = pictures(40)
    cut = augment(data.pixels, torch.Generator().manual_seed(3), side)
    assert cut.shape == (40, side, side, 3)
    middle = (SIDE - side) // 2
    padded = np.pad(data.pixels.numpy(), ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows, mirrored = set(), 0
    for image, source in zip(cut.numpy(), padded, strict=True):
        found = [
            (top, left, mirror)
            for top in range(9)
            for left in range(9)
            for mirror in (False, True)
            if np.array_equal(
                image[:, ::-1] if mirror else image,
                source[middle + top : middle + top + side, middle + left : middle + left + side],
            )
        ]
        assert len(found) == 1
        windows.add(found[0][:2])
        mirrored += found[0][2]
    assert len(windows) > 20
    assert 5 < mirrored < 35


def test_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [learning_rate(progress, 0.2) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == rates[20] == 0.2
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_pruning_takes_the_smallest_weights_of_the_whole_network() -> None:
    model = network()
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    masks = magnitude_masks(model, 0.75)
    apply_masks(model, masks)
    zeros, total = zero_count(model)
    assert zeros == round(0.75 * total)
    removed = torch.cat([before[name][~mask].abs() for name, mask in masks.items()])
    kept = torch.cat([before[name][mask].abs() for name, mask in masks.items()])
    assert removed.max() < kept.min()
    assert all(
        torch.equal(weight[masks[name]], before[name][masks[name]]) for name, weight in prunable_weights(model).items()
    )
    for sparsity in (0.0, 1.0, 1e-9):
        with pytest.raises(ValueError, match="cannot remove"):
            magnitude_masks(model, sparsity)


def test_removed_weights_stay_zero_while_the_others_are_tuned(tmp_path: Path) -> None:
    model = network()
    masks = magnitude_masks(model, 0.9)
    apply_masks(model, masks)
    before = state_digest(model)
    train(model, pictures(64), recipe(model, 1), masks, tmp_path / "state.pt")
    assert state_digest(model) != before
    zeros, total = zero_count(model)
    assert zeros == round(0.9 * total)


def test_a_stopped_training_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = pictures(64), network()
    plan = recipe(model, 3)
    train(model, data, plan, {}, tmp_path / "whole.pt")
    stopped, saved = network(), training._save

    def save_once(*arguments: object) -> None:
        saved(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", save_once)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, data, plan, {}, tmp_path / "part.pt")
    monkeypatch.undo()
    resumed = network()
    train(resumed, data, plan, {}, tmp_path / "part.pt")
    assert state_digest(resumed) == state_digest(model) != state_digest(stopped)


def test_checkpoints_of_another_recipe_or_damaged_ones_are_refused(tmp_path: Path) -> None:
    data, model, state = pictures(32), network(), tmp_path / "state.pt"
    plan = recipe(model, 1)
    train(model, data, plan, {}, state)
    with pytest.raises(AuditError, match="another run"):
        train(model, data, replace(plan, epochs=2), {}, state)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(AuditError, match="cannot be read"):
        train(model, data, plan, {}, state)


def test_images_are_read_as_they_were_written(tmp_path: Path) -> None:
    data = pictures(20)
    np.savez(tmp_path / "data.npz", x=data.pixels.numpy(), y=data.labels.numpy())
    assert read_npz(tmp_path / "data.npz").digest() == data.digest()
    np.savez(tmp_path / "float.npz", x=data.pixels.numpy() / 255, y=data.labels.numpy())
    np.savez(tmp_path / "eleven.npz", x=data.pixels.numpy(), y=data.labels.numpy() + 1)
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("float", "eleven", "text"):
        with pytest.raises(ValueError, match=r"uint8|between 0 and 9|no \.npz archive"):
            read_npz(tmp_path / f"{name}.npz")
