"""The nineteen corruptions: what each does to an image, and that nothing but (image, severity) decides it."""

import colorsys
import io
import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from audit.contracts import Batch
from audit.data import manifest
from audit.randomness import PhiloxRng
from checks.perturbations.corruptions import Corruption, edges
from checks.perturbations.corruptions.catalogue import GENERATOR, KINDS, SEVERITIES
from checks.perturbations.corruptions.constants import LARGE, SMALL
from checks.perturbations.corruptions.exact import blurred, fixed, gaussian
from checks.perturbations.corruptions.risks import RISKS

DIGESTS = Path(__file__).parent / "corruption_digests.json"
PAGE = Path(__file__).parent.parent / "docs" / "corruptions.md"
UNEVEN = {"saturate", "elastic_transform", "spatter", "glass_blur", "frost", "motion_blur"}
"""Those of which the published severities are in no order of distance either."""
Images = NDArray[np.uint8]


def images(n: int, height: int, width: int, channels: int = 3) -> Images:
    """Images [N, H, W, C] with structure at several scales, by whole numbers alone."""
    rows, columns, items = np.mgrid[:height, :width], np.arange(channels), np.arange(n)
    wave = (items[:, None, None, None] * 37 + 5) * (rows[0][None, :, :, None] + 2 * rows[1][None, :, :, None])
    block = (rows[0] // 4 * 53 + rows[1] // 4 * 91)[None, :, :, None] * (items[:, None, None, None] + 3)
    return ((wave % 61) + (block % 160) + columns * 11).astype(np.uint8)


def corrupted(kind: str, severity: int, x: Images, size: int = 250) -> Images:
    """As an audit shows them, in batches of this many."""
    probe = Corruption(kind, severity)
    rng = PhiloxRng.of({"methods": "1", "family": dict(probe.stream())})
    stored = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    ids, pixels, parts = manifest.item_ids(stored), torch.from_numpy(stored).float().div(255), []
    for start in range(0, len(x), size):
        batch = Batch(ids[start : start + size], pixels[start : start + size].clone(), None)
        parts.append(probe.perturb(batch, rng).x)
    made = torch.cat(parts).mul(255)
    assert torch.equal(made, made.round())  # an 8-bit image
    assert 0 <= made.min() <= made.max() <= 255
    return made.to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_no_batch_and_no_order_changes_a_pixel(kind: str) -> None:
    x = images(9, 32, 32)
    for severity in (1, 5):
        whole = corrupted(kind, severity, x)
        assert np.array_equal(corrupted(kind, severity, x, 1), whole)
        assert np.array_equal(corrupted(kind, severity, x[::-1].copy(), 4)[::-1], whole)


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (28, 28), (130, 140)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_is_corrupted_or_refused_by_name(kind: str, channels: int, shape: tuple[int, int]) -> None:
    x = images(2, *shape, channels)
    for severity in SEVERITIES:
        if obstacle := KINDS[kind].obstacle(severity, (channels, *shape)):
            assert kind in obstacle
        else:
            assert corrupted(kind, severity, x).shape == x.shape


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (12, 1), (16, 1), (28, 1), (8, 3), (32, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_images_are_changed_as_often_as_is_promised(kind: str, side: int, channels: int) -> None:
    x = images(200, side, side, channels) ^ np.random.default_rng(0).integers(0, 8, (200, side, side, 1), np.uint8)
    for severity in SEVERITIES:
        if not KINDS[kind].obstacle(severity, (channels, side, side)):
            changed = (corrupted(kind, severity, x) != x).reshape(len(x), -1).any(axis=1)
            assert changed.mean() >= KINDS[kind].min_effect, severity


def test_both_tables_have_every_corruption() -> None:
    assert set(SMALL) == set(LARGE) == set(KINDS)
    assert SMALL["gaussian_noise"][2] == (0.08,)
    assert LARGE["gaussian_noise"][2] == (0.18,)
    assert Corruption("gaussian_noise", 3).constants(127) == (0.08,)
    assert Corruption("gaussian_noise", 3).constants(128) == (0.18,)


def test_conditions_stand_for_corruptions_that_there_are() -> None:
    for condition, cells in RISKS.items():
        for kind, severities in cells.items():
            assert kind in KINDS, condition
            assert severities
            assert set(severities) <= set(SEVERITIES), condition


def test_the_page_states_what_each_condition_stands_for() -> None:
    def stated(kind: str, severities: tuple[int, ...]) -> str:
        few = "" if severities == SEVERITIES else f" {severities[0]}–{severities[-1]}"
        return kind.replace("_", " ") + few

    cells = {name: ", ".join(stated(*cell) for cell in own.items()) for name, own in RISKS.items()}
    table = "".join(f"| {name} | {own} |\n" for name, own in cells.items())
    assert f"| condition | corruptions and severities |\n|---|---|\n{table}\n" in PAGE.read_text()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - UNEVEN))
def test_a_severity_is_farther_from_the_image_than_the_one_before(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype(float)
    x = sum(ndimage.gaussian_filter(noise, (0, scale, scale, 0)) * scale for scale in (0.5, 2, 4)) / 6.5
    x = (128 + 4 * (x - 128)).clip(0, 255).astype(np.uint8)
    errors = [((corrupted(kind, severity, x).astype(float) - x) ** 2).mean() for severity in SEVERITIES]
    assert errors == sorted(errors)


def digest(kind: str, severity: int) -> str:
    """Of four images of 32 × 32 and one of 128 × 128."""
    small, large = corrupted(kind, severity, images(4, 32, 32)), corrupted(kind, severity, images(1, 128, 128))
    return sha256(small.tobytes() + large.tobytes()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_no_pixel_changes_without_a_new_version_of_the_generator(kind: str) -> None:
    found = {str(severity): digest(kind, severity) for severity in SEVERITIES}
    known = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    if os.environ.get("UPDATE_GOLDENS"):
        known |= {"generator": GENERATOR, kind: found}
        DIGESTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert known["generator"] == GENERATOR
    assert known[kind] == found, f"{kind}: pixels changed; raise GENERATOR, then run with UPDATE_GOLDENS=1"


def test_jpeg_is_that_of_pillow() -> None:
    x = images(3, 32, 32)
    for severity in SEVERITIES:
        for clean, made in zip(x, corrupted("jpeg_compression", severity, x), strict=True):
            file = io.BytesIO()
            Image.fromarray(clean).save(file, "JPEG", quality=int(SMALL["jpeg_compression"][severity - 1][0]))
            assert np.array_equal(np.asarray(Image.open(file)), made)


@pytest.mark.parametrize("side", [32, 45])
def test_coarse_pixels_are_those_of_pillow(side: int) -> None:
    x = images(3, side, side + 3)
    for severity in SEVERITIES:
        factor = SMALL["pixelate"][severity - 1][0]
        for clean, made in zip(x, corrupted("pixelate", severity, x), strict=True):
            small = Image.fromarray(clean).resize((int((side + 3) * factor), int(side * factor)), Image.Resampling.BOX)
            again = small.resize((side + 3, side), Image.Resampling.BOX)
            assert np.array_equal(np.asarray(again), made)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_and_saturation_are_those_of_each_pixel(severity: int) -> None:
    x = images(1, 16, 16)
    more, (factor, shift) = SMALL["brightness"][severity - 1][0], SMALL["saturate"][severity - 1]
    bright, saturated = (corrupted(kind, severity, x)[0] for kind in ("brightness", "saturate"))
    for row, column in np.ndindex(16, 16):
        hue, saturation, value = colorsys.rgb_to_hsv(*(float(v) / 255 for v in x[0, row, column]))
        lit = colorsys.hsv_to_rgb(hue, saturation, min(1, value + more))
        strong = colorsys.hsv_to_rgb(hue, min(1, max(0, saturation * factor + shift)), value)
        assert np.abs(bright[row, column] - 255 * np.array(lit)).max() <= 1.001
        assert np.abs(saturated[row, column] - 255 * np.array(strong)).max() <= 1.001


def test_contrast_draws_every_channel_towards_its_mean() -> None:
    x = images(2, 32, 32)
    mean = x.mean(axis=(1, 2), keepdims=True)
    assert np.abs(corrupted("contrast", 3, x) - ((x - mean) * 0.4 + mean)).max() <= 1.001


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
def test_gaussian_blur_is_that_of_scipy(sigma: float) -> None:
    x = images(2, 40, 33).astype(float)
    wanted = ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest", truncate=4.0)
    found = blurred(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), fixed(gaussian(sigma, 4.0)))
    assert np.abs(found.numpy().transpose(0, 2, 3, 1) - wanted).max() < 1e-3


def test_shot_noise_has_the_mean_and_the_variance_of_photons() -> None:
    for level in (20, 77, 128):  # beyond, white cuts some off
        x = np.full((60, 32, 32, 1), level, np.uint8)
        x[:, 0, 0, 0] = np.arange(60)  # other items, other numbers
        made = np.ceil(corrupted("shot_noise", 5, x)[:, 1:] / 255 * 50 - 1e-9)  # photons: grey levels were cut down
        mean, n = level / 255 * 50, made.size
        assert made.mean() == pytest.approx(mean, abs=4 * (mean / n) ** 0.5)
        assert made.var() == pytest.approx(mean, rel=0.03)


def test_impulses_strike_their_share_in_every_channel_by_itself() -> None:
    x = np.full((60, 32, 32, 3), 100, np.uint8)
    x[:, 0, 0, 0] = np.arange(60)
    made = corrupted("impulse_noise", 5, x)[:, 1:]
    for value in (0, 255):
        assert (made == value).mean() == pytest.approx(0.035, abs=4 * (0.035 / made.size) ** 0.5)
    assert (made != 100).any(axis=3).mean() > 0.15  # of pixels: 1 − 0.93³


def slow_glass(x: Images, moved: NDArray[np.int64], reach: int, times: int) -> Images:
    """One pixel after the other, as the published loop goes; `moved` [times, 2, H, W]."""
    x = x.copy()
    height, width = x.shape[:2]
    for turn in range(times):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                down, right = moved[turn, :, row, column]
                x[row, column] = x[row + down, column + right]
    return x


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_copies_pixels_in_the_order_of_the_loop(severity: int) -> None:
    x = images(2, 20, 23)
    sigma = SMALL["glass_blur"][severity - 1][0]
    probe = Corruption("glass_blur", severity)
    rng = PhiloxRng.of({"methods": "1", "family": dict(probe.stream())})
    stored = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    batch = Batch(manifest.item_ids(stored), torch.from_numpy(stored).float().div(255), None)
    reach, times = map(int, SMALL["glass_blur"][severity - 1][1:])
    moved = np.stack(
        [
            np.floor(rng.uniform(batch, (2, 20 * 23), f"turn {turn}").numpy() * 2 * reach).astype(int) - reach
            for turn in range(times)
        ],
        1,
    ).reshape(2, times, 2, 20, 23)
    weights = fixed(gaussian(sigma, 4.0))

    def blur(y: Images, short: float = 0.0) -> Images:
        found = blurred(torch.from_numpy(y.transpose(2, 0, 1)[None].copy()), weights)[0]
        return (found + short).floor().numpy().transpose(1, 2, 0).astype(np.uint8)

    for clean, made, own in zip(x, corrupted("glass_blur", severity, x), moved, strict=True):
        assert np.array_equal(blur(slow_glass(blur(clean), own, reach, times), 1e-4), made)


def test_motion_is_a_half_sided_blur_along_an_angle() -> None:
    """A single bright point is drawn out to one side, and nothing is lost of it."""
    x = np.zeros((40, 32, 32, 1), np.uint8)
    x[:, 16, 16] = 255
    x[:, 0, 0, 0] = np.arange(40)
    made = corrupted("motion_blur", 3, x).astype(int)[:, 4:-4, 4:-4, 0]
    columns = np.flatnonzero(made.any(axis=(0, 1))) + 4
    assert columns.min() >= 3  # offsets of −45 … 45° lie to one side
    assert len({tuple(map(tuple, np.argwhere(each))) for each in made}) > 5
    assert (made.sum(axis=(1, 2)) > 230).all()


def test_distances_are_those_to_the_nearest_edge() -> None:
    drawn = np.zeros((2, 24, 30), bool)
    drawn[0, 5, 7] = drawn[0, 20, 3] = drawn[1, 0, 29] = True
    for mask, found in zip(drawn, edges._distance(torch.from_numpy(drawn)), strict=True):
        assert np.allclose(found, np.minimum(ndimage.distance_transform_edt(~mask), 20))


def test_without_an_edge_all_is_far() -> None:
    assert (edges._distance(torch.zeros(1, 8, 8, dtype=torch.bool)) == 20).all()


def test_rounding_alone_is_no_change() -> None:
    """Grey pictures stored in colour, off the grid of 8 bits: taking their colour away does nothing."""
    grey = torch.rand(4, 1, 32, 32).expand(-1, 3, -1, -1).contiguous()
    batch = Batch(manifest.item_ids(grey.numpy()), grey, None)
    assert torch.equal(Corruption("saturate", 1).perturb(batch, PhiloxRng.of({})).x, grey)


def test_the_generator_is_in_the_identity_of_a_probe() -> None:
    assert Corruption("fog", 3).canonical()["generator"] == GENERATOR
    assert f"generator {GENERATOR}" in Corruption("fog", 3).describe()
    assert "generated, not photographed" in Corruption("frost", 3).describe()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_gives_the_same_pixels_within_a_step(kind: str) -> None:
    x = np.ascontiguousarray(images(20, 32, 32).transpose(0, 3, 1, 2))
    probe, ids = Corruption(kind, 3), manifest.item_ids(x)
    made = []
    for device in ("cpu", "cuda"):
        rng = PhiloxRng.of({"methods": "1", "family": dict(probe.stream())})
        batch = Batch(ids, torch.from_numpy(x).float().div(255).to(device), None)
        made.append(probe.perturb(batch, rng).x.cpu().mul(255).round())
    gap = (made[0] - made[1]).abs()
    assert gap.max() <= 1
    assert (gap > 0).double().mean() < 1e-4
