"""Ways to an undeserved PASS for code that knows how it is examined."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from audit.contracts import Perturbed
from audit.errors import AuditError
from audit.findings import BoundedMean, Exact, PairedDifference, Proportion
from checks.accuracy import Accuracy
from checks.functional import Functional
from checks.integrity import Integrity
from checks.noise import NoiseSimilarity
from checks.perturbations.noise import Noise
from tests.attempts import BROKEN, body, use, verdict
from tests.plugins import asking
from tests.test_fail_closed import ending
from tests.test_fail_closed_plugins import lying, says
from tests.world import NAMES, Items, World


@pytest.fixture
def broken(tmp_path: Path) -> World:
    return World(tmp_path / "broken", BROKEN)


@pytest.mark.parametrize(
    "statistic",
    [
        lambda: Exact(0.0, 1),
        lambda: Proportion(0, 400),
        lambda: BoundedMean([0.0] * 3, 0.0, 0.0201),
        lambda: BoundedMean([0.0] * 400, 0.0, 1.0),
    ],
    ids=["exact", "another kind", "narrow range", "half the range"],
)
def test_a_statistic_of_another_kind_or_range_than_the_catalogue_s_decides_nothing(broken, monkeypatch, statistic):
    use(monkeypatch, lying(says(statistic)), Functional(), Integrity())
    assert verdict(body(broken)) == ("NOT EVALUATED", "check-crashed")


class Weak(Noise):
    def perturb(self, batch, rng, /):
        x = batch.x.clone()
        x[:, 2, 7, 7] = (x[:, 2, 7, 7] - 1e-6).abs()
        return Perturbed(x, {})


def test_a_probe_cannot_take_the_place_of_another(world, monkeypatch):
    use(monkeypatch, Accuracy(), NoiseSimilarity((8.0,), (4.0,)), asking(Weak("uniform", 8.0)), Integrity())
    with pytest.raises(AuditError, match="takes the place of another"):
        body(world)


def in_large_batches(path, then, *, k=16):
    """The candidate; in batches of more than `k` items its logits go through `then` first."""
    th = helper.make_graph(then, "t", [], [helper.make_tensor_value_info("large", TensorProto.FLOAT, None)])
    el = helper.make_graph(
        [helper.make_node("Identity", ["logits"], ["small"])],
        "e",
        [],
        [helper.make_tensor_value_info("small", TensorProto.FLOAT, None)],
    )
    ending(
        path,
        helper.make_node("Shape", ["image"], ["shape"], start=0, end=1),
        helper.make_node("Squeeze", ["shape"], ["n"]),
        helper.make_node("Greater", ["n", "constant0"], ["many"]),
        helper.make_node("If", ["many"], ["out"], then_branch=th, else_branch=el),
        more=[np.int64(k), np.asarray([0])],
    )


def test_a_network_that_is_random_in_large_batches_only_is_refused(world):
    noise = helper.make_node("RandomNormalLike", ["logits"], ["noise"], scale=0.1)
    in_large_batches(world.candidate, [noise, helper.make_node("Add", ["logits", "noise"], ["large"])])
    with pytest.raises(AuditError, match="candidate: gives different outputs for the same items"):
        body(world)


def test_a_network_that_mixes_the_items_of_large_batches_only_is_refused(world):
    mean = helper.make_node("ReduceMean", ["logits", "constant1"], ["mean"], keepdims=1)
    in_large_batches(world.candidate, [mean, helper.make_node("Sub", ["logits", "mean"], ["large"])])
    with pytest.raises(AuditError, match="depend on the other items"):
        body(world)


def test_a_network_that_is_another_in_large_batches_is_refused(world):
    in_large_batches(world.candidate, [helper.make_node("Neg", ["logits"], ["large"])])
    with pytest.raises(AuditError, match="depend on the other items"):
        body(world)


def test_a_zero_with_a_sign_makes_no_further_item(tmp_path):
    world = World(tmp_path / "w", Items(n=100, errors=2))
    x, y = world.items.arrays()
    x = x.astype(np.float32) / 255
    signed = np.repeat(x[None], 8, axis=0)
    for copy, column in zip(signed, range(8), strict=True):
        copy[:, 1, column, 1] = -0.0
    assert (signed == x).all()
    np.savez(world.data, x=np.concatenate(signed), y=np.tile(y, 8), classes=np.asarray(NAMES))
    (data,) = body(world).data
    assert (data.items, data.duplicates) == (100, 700)


def test_a_mean_in_a_favourable_order_does_not_pass_against_its_own_estimate(
    broken: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, lying(says(lambda: BoundedMean([-1.0] * 40 + [1.0] * 360, -1.0, 1.0))), Functional(), Integrity())
    assert body(broken).verdict.overall != "PASS"


def test_other_data_lend_no_items(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Items(n=5000, seed=9).save(broken.folder / "shifted.npz")
    broken.audit.write_text(broken.audit.read_text() + '\n[data.shifted]\npath = "shifted.npz"\n')
    use(monkeypatch, lying(says(lambda: PairedDifference(0, 0, 4000))), Functional(), Integrity())
    assert verdict(body(broken)) == ("NOT EVALUATED", "check-crashed")


REFERENCE_ONLY = """
[[criterion]]
claim = "reference.accuracy@level=2/255,noise=uniform"
at_least = 50.0
unit = "%"
"""


def test_a_policy_that_says_nothing_about_the_candidate_decides_nothing(broken: World) -> None:
    text = broken.policy.read_text().replace('"integrity"]', '"integrity", "noise"]')
    broken.policy.write_text(text.partition("[[criterion]]")[0] + REFERENCE_ONLY)
    assert verdict(body(broken)) == ("NOT EVALUATED", "no-required-criterion")


def test_a_check_cannot_change_what_the_next_one_sees(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tamper(Functional):
        def measure(self, context, ledger, /):  # type: ignore[no-untyped-def]
            from checks.perturbations.clean import CLEAN

            ledger.trace(CLEAN).columns["rank_candidate"][:] = 0
            yield from super().measure(context, ledger)

    use(monkeypatch, Tamper(), Accuracy(), Integrity())
    found = body(broken)
    assert found.verdict.overall == "FAIL"
    assert next(part for part in found.findings if part.claim == "functional.agreement").missing == "check-crashed"


def test_a_helper_of_an_architecture_is_part_of_the_model(tmp_path: Path) -> None:
    from audit.userland import Factory

    (tmp_path / "fc_blocks.py").write_text("SCALE = 1\n")
    (tmp_path / "fc_net.py").write_text("def make():\n    from fc_blocks import SCALE\n    return SCALE\n")
    factory = Factory("fc_net:make", {}, tmp_path)
    assert factory.make() == 1
    before = factory.identity()
    (tmp_path / "fc_blocks.py").write_text("SCALE = 0\n")
    assert factory.identity() != before


def test_two_levels_of_one_name_are_refused(world: World) -> None:
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "noise"]')
    before, at, after = text.partition("[[criterion]]")
    world.policy.write_text(f"{before}[settings.noise]\nuniform = [8, 8.0000001]\n{at}{after}")
    with pytest.raises(AuditError, match="have one name"):
        body(world)
