"""Attacks on a pair: what a network that hides its gradients looks like, and that no such one passes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audit import api
from audit.contracts import Batch
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.gradients import Victim
from audit.models import memory
from audit.models.adapter import Slot
from audit.randomness import PhiloxRng
from audit.types import OutputKind, Role
from checks.attacks import losses
from checks.attacks.apgd import Apgd
from checks.attacks.ball import Ball
from checks.attacks.course import Course, Draws
from checks.attacks.effort import Method
from checks.attacks.pgd import Pgd
from checks.attacks.square import Square
from checks.masking import FLAGS
from tests.masked import CLASSES, INPUT, ITEMS, SIDE, VARIANTS, Copy, items

POLICY = """
format = "prune-audit/policy/1"
id = "attacks/1"
alpha = 0.05
checks = ["integrity", "accuracy", "adversarial"]

[settings.adversarial]
items = 200
levels = [1, 4, 8]
{more}

[[criterion]]
claim = "accuracy.drop"
at_most = 5.0
unit = "points"

[[criterion]]
claim = "adversarial.drop@level=*,norm=*"
at_most = 5.0
unit = "points"
only_where_reference_holds = true
"""


def audited(folder: Path, candidate: nn.Module, reference: nn.Module | None = None, more: str = "") -> Body:
    policy = folder / "policy.toml"
    policy.write_text(POLICY.format(more=more))
    outcome = api.compare(
        reference or Copy(), candidate, items(), policy_name=str(policy), out=folder / "out", device="cpu", pdf=False
    )
    return outcome.evidence.body


def decision(body: Body, level: str) -> DecisionRecord:
    return next(each for each in body.decisions if each.claim == f"adversarial.drop@level={level}/255,norm=linf")


def finding(body: Body, claim: str) -> FindingRecord:
    return next(each for each in body.findings if each.claim == claim)


def signs(body: Body, role: str = "candidate") -> set[str]:
    found = {flag: finding(body, f"adversarial.flag@flag={flag},role={role}") for flag in FLAGS}
    return {flag for flag, record in found.items() if record.estimate}


def victim(module: nn.Module) -> Victim:
    x, _ = items()
    kind = OutputKind.PROBABILITIES if getattr(module, "softmax", False) else OutputKind.LOGITS
    return memory.of_module(module, Slot(Role.CANDIDATE, INPUT, batch=64)).victim(torch.from_numpy(x[:64]), kind)


def course(module: nn.Module, radius: float = 8 / 255) -> Course:
    x, y = map(torch.from_numpy, items())
    ids = np.random.default_rng(0).integers(0, 256, (len(x), 32), dtype=np.uint8)
    return Course(victim(module), x, y, Ball("linf", radius), Draws(PhiloxRng.of({"test": 1}), Batch(ids, x, y)))


def standing(module: nn.Module, method: Method) -> float:
    """Percent of the items that a network gets right under one attack alone."""
    under = course(module)
    with under.victim.running():
        method.run(under, torch.arange(ITEMS)[under.right])
    return 100 * float((under.right & ~under.fooled(torch.arange(ITEMS))).float().mean())


def transferred(module: nn.Module) -> float:
    """The same of what was made on the network that is what it seems."""
    made = course(Copy())
    with made.victim.running():
        Pgd(losses.margin, 20, stay=True).run(made, torch.arange(ITEMS))
        own = victim(module).scores(made.best)
    return 100 * float((own.argmax(1) == made.labels).float().mean())


def test_one_attack_alone_takes_hidden_gradients_for_robustness() -> None:
    """The table of the problem: one set of weights, of which about 3 % of the items withstand 8/255."""
    methods = {
        "pgd": Pgd(losses.cross_entropy, 20),
        "dlr": Apgd(losses.difference_of_logits_ratio, 20),
        "square": Square(300),
    }
    table = {
        name: {method: standing(make(), attack) for method, attack in methods.items()}
        | {"transfer": transferred(make())}
        for name, make in VARIANTS.items()
    }
    plain, scaled, ended, rounded = table.values()
    assert max(plain["pgd"], plain["dlr"], plain["transfer"]) < 10 and plain["square"] < 30, table
    assert scaled["pgd"] > 80 and max(scaled["dlr"], scaled["transfer"]) < 10 and scaled["square"] < 30, table
    assert min(ended["pgd"], ended["dlr"]) > 80 and ended["square"] > 50 and ended["transfer"] < 10, table
    assert min(rounded["pgd"], rounded["dlr"]) > 95 and rounded["square"] < 30 and rounded["transfer"] < 10, table


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_network_that_hides_its_gradients_passes(variant: str, tmp_path: Path) -> None:
    body = audited(tmp_path, VARIANTS[variant]())
    if variant == "logits":
        assert body.verdict.overall == "PASS"
        assert not signs(body) and not signs(body, "reference")
        return
    assert (body.verdict.overall, body.verdict.reason) == ("NOT EVALUATED", "gradient-masking")
    assert "dead_gradients" in signs(body) and not signs(body, "reference")
    assert decision(body, "1").detail.startswith("candidate: dead gradients (")
    # What it really withstands shows all the same, by what was made on its parent.
    worst = finding(body, "adversarial.candidate_accuracy@level=8/255,norm=linf").estimate
    assert worst is not None and worst < 10


def test_signs_can_be_told_without_blocking(tmp_path: Path) -> None:
    body = audited(tmp_path, Copy(30.0), more='masking = "report"')
    assert body.verdict.overall == "PASS" and "dead_gradients" in signs(body)


class Weak(Copy):
    """What is fine in an image counts six times as much: accurate on clean images, and easily fooled."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 6 * (x - nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))


def test_hidden_gradients_do_not_hide_a_loss(tmp_path: Path) -> None:
    """What is proven beyond its limit fails, whatever else is wrong with it."""
    body = audited(tmp_path, Weak(30.0))
    assert "dead_gradients" in signs(body)
    assert decision(body, "4").verdict == "FAIL"
    assert body.verdict.overall == "FAIL"


def test_a_reference_that_the_attack_cannot_break_shows_nothing(tmp_path: Path) -> None:
    body = audited(tmp_path, Copy(), Copy(rounded=True))
    assert decision(body, "1").reason == "attack-dead"
    assert body.verdict.overall == "NOT EVALUATED"


def test_where_no_network_withstands_nothing_is_said(tmp_path: Path) -> None:
    body = audited(tmp_path, Copy())
    assert decision(body, "8").reason == "reference-floor" and not decision(body, "8").applicable
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text().replace("levels = [1, 4, 8]", "levels = [8]"))
    outcome = api.compare(Copy(), Copy(), items(), policy_name=str(policy), out=tmp_path / "8", device="cpu", pdf=False)
    assert decision(outcome.evidence.body, "8").applicable
    assert outcome.evidence.body.verdict.overall == "NOT EVALUATED"


class Opaque(Copy):
    """Computes outside torch: there are no gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(super().forward(x).detach().numpy().copy())


def test_without_gradients_black_box_and_transfer_must_do(tmp_path: Path) -> None:
    body = audited(tmp_path, Opaque(), more='gradients = "waived"')
    assert next(model for model in body.models if model.role == "candidate").gradients.how == "none"  # type: ignore[union-attr]
    assert decision(body, "1").verdict == "PASS"
    white_box = finding(body, "adversarial.accuracy_under@attack=white-box,level=1/255,norm=linf,role=candidate")
    assert white_box.missing == "gradient-free"
    assert finding(body, "adversarial.flag@flag=dead_gradients,role=candidate").missing == "gradient-free"
    transfer = finding(body, "adversarial.accuracy_under@attack=transfer,level=8/255,norm=linf,role=candidate")
    assert transfer.estimate is not None and transfer.estimate < 10


def test_without_gradients_nothing_passes(tmp_path: Path) -> None:
    for number, pair in enumerate(((Copy(), Opaque()), (Opaque(), Copy()), (Opaque(), Opaque()))):
        (tmp_path / str(number)).mkdir()
        body = audited(tmp_path / str(number), pair[1], pair[0])
        assert (decision(body, "1").verdict, decision(body, "1").reason) == ("NOT EVALUATED", "gradient-free")
        assert ("candidate" if number == 0 else "reference") in decision(body, "1").detail


def test_a_loss_is_proven_without_gradients_too(tmp_path: Path) -> None:
    class Spoiled(Opaque):
        """What is fine in an image counts so much that squares alone fool it."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 10 * (x - nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))

    body = audited(tmp_path, Spoiled())
    assert decision(body, "4").verdict == "FAIL" and body.verdict.overall == "FAIL"


def test_a_gradient_that_leads_elsewhere_does_not_pass(tmp_path: Path) -> None:
    """Not zero, and of another function: every sign step climbs that one."""

    class Decoy(Weak):
        def forward(self, x: Tensor) -> Tensor:
            elsewhere = torch.randn(SIDE * SIDE, CLASSES, generator=torch.Generator().manual_seed(0))
            return super().forward(x).detach() + 1e-5 * (x.flatten(1) @ elsewhere)

    body = audited(tmp_path, Decoy())
    assert "misleading_gradients" in signs(body) and not signs(body, "reference")
    assert body.verdict.overall != "PASS" and decision(body, "1").verdict != "PASS"
    assert decision(body, "1").reason == "gradient-masking"


def test_a_network_that_answers_otherwise_while_gradients_are_taken_does_not_pass(tmp_path: Path) -> None:
    """What the attack climbs would be another network, as sturdy as the parent."""

    class TwoFaced(Weak):
        def forward(self, x: Tensor) -> Tensor:
            return Copy.forward(self, x) if torch.is_grad_enabled() else super().forward(x)

    body = audited(tmp_path, TwoFaced())
    assert (decision(body, "1").verdict, decision(body, "1").reason) == ("NOT EVALUATED", "gradient-free")
    assert "differs from its outputs in the audit" in decision(body, "1").detail


def test_gradients_are_checked_on_enough_items_however_small_batches_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.sizes.batch_of", lambda shapes, items: 16)
    body = audited(tmp_path, Copy())
    assert {model.gradients.items for model in body.models if model.gradients} == {64}
    assert body.verdict.overall == "PASS"


@pytest.mark.parametrize("claim", ["accuracy_under@attack=white-box,level=4/255,norm=linf,role=candidate",
                                   "candidate_accuracy@level=4/255,norm=linf"])  # fmt: skip
def test_no_claim_that_hidden_gradients_could_flatter_passes(claim: str, tmp_path: Path) -> None:
    more = f'\n[[criterion]]\nclaim = "adversarial.{claim}"\nat_least = 50.0\nunit = "%"\n'
    body = audited(tmp_path, Copy(rounded=True), more=more)
    found = next(each for each in body.decisions if each.claim == f"adversarial.{claim}")
    assert (found.verdict, found.reason) == ("NOT EVALUATED", "gradient-masking")


def test_the_candidate_faces_as_much_as_the_reference(tmp_path: Path) -> None:
    body = audited(tmp_path, Copy())
    probes = [each for each in body.plan.probes if each.target]
    by_role = {role: sorted((p.name.replace(role, ""), p.passes) for p in probes if p.target == role)
               for role in ("reference", "candidate")}  # fmt: skip
    assert by_role["reference"] == by_role["candidate"] and len(probes) == 18
    spent = [finding(body, f"adversarial.{what}@role={role}").estimate
             for role in ("reference", "candidate") for what in ("gradients", "queries")]  # fmt: skip
    assert spent[:2] == spent[2:] and all(spent)


def test_attacks_are_the_same_on_every_run_and_in_whatever_order(tmp_path: Path) -> None:
    one, two = (audited(tmp_path / name, Copy()) for name in ("one", "two") if not (tmp_path / name).mkdir())
    assert one == two


def test_radii_can_be_euclidean(tmp_path: Path) -> None:
    body = audited(tmp_path, Copy(), more='norm = "l2"').findings
    names = {each.claim for each in body if each.claim.startswith("adversarial.drop")}
    assert names == {f"adversarial.drop@level={level}/255,norm=l2" for level in (1, 4, 8)}


@pytest.mark.parametrize(
    "setting",
    [
        "levels = [0]",
        "levels = [1, 1.0]",
        'white_box = ["cw"]',
        "items = 0",
        'norm = "l1"',
        "steps = 0",
        "queries = -1",
    ],
)
def test_settings_without_sense_are_refused(setting: str, tmp_path: Path) -> None:
    from audit.errors import AuditError

    text = POLICY.format(more=setting).replace("levels = [1, 4, 8]\n", "" if "levels" in setting else "levels = [1]\n")
    text = text.replace("items = 200\n", "" if "items" in setting else "items = 200\n")
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(AuditError):
        api.compare(Copy(), Copy(), items(), policy_name=str(tmp_path / "policy.toml"), out=tmp_path / "out", pdf=False)


@pytest.mark.parametrize("method", ["fgsm", "pgd-ce", "pgd-margin", "apgd-ce", "apgd-dlr", "apgd-t"])
def test_every_attack_can_be_named(method: str, tmp_path: Path) -> None:
    body = audited(tmp_path, Copy(), more=f'white_box = ["{method}"]\nsteps = 5\nqueries = 10')
    under = finding(body, "adversarial.accuracy_under@attack=white-box,level=8/255,norm=linf,role=candidate")
    assert under.estimate is not None and under.estimate < 60
    assert any(method in probe.description for probe in body.plan.probes)
