"""What holds for every attack, whatever the network: the worst is kept, items are alone, nothing is hidden."""

from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor
from victims import Linear, Network, attacked, convolutional, course, grey, patterns, victim

from audit.contracts import Batch
from audit.gradients import Gradients
from audit.models.victim import NetworkVictim
from audit.types import DataRole, OutputKind, Role, data_name
from checks.attacks import losses
from checks.attacks.apgd import Apgd, TargetedApgd
from checks.attacks.ball import Ball
from checks.attacks.course import Course
from checks.attacks.effort import WHITE_BOX, Effort, Method
from checks.attacks.pgd import Pgd
from checks.attacks.probe import Attack
from checks.attacks.square import Square

LINF, L2 = Ball("linf", 0.03), Ball("l2", 0.3)
METHODS: dict[str, Method] = {
    "fgsm": Pgd(losses.cross_entropy, 1),
    "pgd": Pgd(losses.cross_entropy, 5, restarts=2),
    "apgd-ce": Apgd(losses.cross_entropy, 9, restarts=2),
    "apgd-dlr": Apgd(losses.difference_of_logits_ratio, 9),
    "apgd-t": TargetedApgd(5),
    "square": Square(20),
}
every_method = pytest.mark.parametrize("name", METHODS)
each_norm = pytest.mark.parametrize("ball", [LINF, L2], ids=lambda ball: ball.norm)


class Spy:
    """A network that keeps every item that it is shown, and the margin that it gives."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.margins: list[Tensor] = []
        self.items = 0

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.network(x)
        self.items += len(x)
        self.margins.append(losses.margin(scores, torch.zeros(len(x), dtype=torch.int64)).detach())
        return scores


def waves(x: Tensor) -> Tensor:
    """Class 1 comes near class 0 in waves of the first pixel, and never reaches it."""
    wave = -2 + (40 * pi * x[:, 0, 0, 0]).sin() + x[:, 0, 0, 0]
    return torch.stack([torch.zeros_like(wave), wave], 1)


@each_norm
@every_method
def test_what_becomes_of_an_item_depends_on_no_other(name: str, ball: Ball) -> None:
    network, x = Linear(5), grey(24)
    network.bias = -network(x).mean(0)
    labels = network(x).argmax(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    whole = attacked(METHODS[name], course(network, x, labels, ball))
    turned = attacked(METHODS[name], course(network, x[order], labels[order], ball))
    alone = [attacked(METHODS[name], course(network, x[i : i + 1], labels[i : i + 1], ball)) for i in range(len(x))]
    for value in ("best", "margins", "forward", "backward", "dead", "first"):
        found = getattr(whole, value)
        assert torch.equal(found[order], getattr(turned, value)), value
        assert torch.equal(found, torch.cat([getattr(each, value) for each in alone])), value
    assert whole.fooled(torch.arange(len(x))).any()


@every_method
def test_items_that_are_fooled_leave(name: str) -> None:
    network, x = Linear(5), grey(40)
    network.bias = -network(x).mean(0)
    labels = network(x).argmax(1)
    reached = attacked(METHODS[name], course(network, x, labels, LINF))
    none = attacked(METHODS[name], course(network, x, labels, LINF, slack=1e9))
    fallen = reached.fooled(torch.arange(len(x)))
    assert fallen.any()
    assert (reached.forward <= none.forward).all()
    assert (reached.backward <= none.backward).all()
    if name != "fgsm":
        assert (reached.forward < none.forward)[fallen].float().mean() > 0.8


@each_norm
@every_method
def test_every_pass_is_counted_and_the_worst_of_them_kept(name: str, ball: Ball) -> None:
    spy, x = Spy(waves), grey(1)
    begun = attacked(METHODS[name], course(spy, x, torch.zeros(1, dtype=torch.int64), ball))
    assert spy.items == int(begun.forward)
    assert not begun.fooled(torch.arange(1)).any()
    assert torch.equal(begun.margins, torch.stack(spy.margins[1:]).amax(0))
    assert torch.equal(begun.margins, losses.margin(waves(begun.best), torch.zeros(1, dtype=torch.int64)))
    assert begun.margins >= begun.first == spy.margins[1]


@pytest.mark.parametrize("method", [Pgd(losses.margin, 2), Apgd(losses.margin, 4)], ids=["pgd", "apgd"])
def test_the_best_of_a_climb_is_kept_where_the_last_is_worse(method: Method) -> None:
    spy = Spy(waves)
    begun = attacked(method, course(spy, grey(20), torch.zeros(20, dtype=torch.int64), LINF))
    assert torch.equal(begun.margins, torch.stack(spy.margins[1:]).amax(0))
    assert (spy.margins[-1] < begun.margins - 0.05).sum() > 2


@each_norm
@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.margin, losses.difference_of_logits_ratio])
def test_restarts_only_add(loss: losses.Loss, ball: Ball) -> None:
    network, (x, labels) = convolutional(), patterns(24, 5)
    for climber in (Pgd, Apgd):
        once, more = (attacked(climber(loss, 5, restarts), course(network, x, labels, ball)) for restarts in (1, 3))
        assert (more.margins >= once.margins).all()
        assert (more.margins > once.margins).any()
        stood = ~once.fooled(torch.arange(24)) & once.right
        assert torch.equal(more.best[~stood], once.best[~stood])


class Poisoned(torch.autograd.Function):
    """The items as they are; the gradient of some of them is `value`."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, value: float) -> Tensor:
        ctx.value = value  # type: ignore[attr-defined]
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        gradient = gradient.clone()
        gradient[::2, 0, 0, 0] = ctx.value  # type: ignore[attr-defined]
        return gradient, None


@each_norm
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"square"}))
def test_a_gradient_that_is_no_number_is_dead_and_stops_nothing(name: str, value: float, ball: Ball) -> None:
    network, x = Linear(5), grey(10)
    labels = network(x).argmax(1)
    begun = attacked(METHODS[name], course(lambda x: network(Poisoned.apply(x, value)), x, labels, ball, slack=1e9))
    assert begun.dead.tolist() == [True, False] * 5
    assert begun.columns()["dead"].tolist() == [True, False] * 5
    assert begun.best.isfinite().all()
    assert (begun.margins > begun.first)[1::2].all()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"square"}))
def test_an_item_without_a_gradient_is_dead_and_no_other(name: str) -> None:
    network, x = Linear(5), grey(6)
    network.weight *= 0.1
    x += 0.2 * (x - 0.5).sign()  # what is rounded stays so within the ball

    def steps(x: Tensor) -> Tensor:
        """Every other item is rounded."""
        rounded = x.round()
        rounded[1::2] = x[1::2]
        return network(rounded)

    labels = steps(x).argmax(1)
    begun = attacked(METHODS[name], course(steps, x, labels, LINF, slack=1e9))
    assert begun.dead.tolist() == [True, False] * 3
    columns = begun.columns()
    assert columns["dead"].tolist() == [True, False] * 3
    assert columns["stuck"].tolist() == [True, False] * 3


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_a_step_of_l2_has_its_length_however_large_the_gradient(size: float) -> None:
    gradient = torch.randn((4, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    gradient[3] = 0
    step = Ball("l2", 1.0).ascent(gradient * size)
    expected = gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
    assert torch.allclose(step, expected, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 4, 9, 10])
@pytest.mark.parametrize("name", ["apgd-dlr", "apgd-t"])
def test_any_number_of_classes_will_do(name: str, classes: int) -> None:
    network, x = Linear(classes), grey(20)
    network.bias = -network(x).mean(0)
    labels = network(x).argmax(1)
    ball = Ball("linf", 0.004)
    begun = attacked(METHODS[name], course(network, x, labels, ball))
    can = network.worst(x, labels, ball)
    assert torch.equal(begun.fooled(torch.arange(20))[can.abs() > 0.05], (can > 0)[can.abs() > 0.05])
    assert begun.margins.isfinite().all()


def test_targets_are_the_highest_other_classes_and_no_more_than_there_are() -> None:
    network, x = Linear(4), grey(6)
    labels = network(x).argmax(1)
    for targets, times in ((1, 1), (2, 2), (3, 3), (9, 3)):
        begun = attacked(TargetedApgd(4, targets), course(network, x, labels, LINF, slack=1e9))
        assert (begun.backward == times * 5).all()


def test_ties_between_targets_go_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    towards: list[Tensor] = []
    targeted = losses.targeted

    def spied(target: Tensor) -> losses.Loss:
        towards.append(target)
        return targeted(target)

    monkeypatch.setattr(losses, "targeted", spied)
    network, x = Linear(40), grey(3)
    network.weight[1:] = 0
    labels = torch.tensor([0, 0, 0])
    network.bias[0] = 5.0 - network(x)[:, 0].min()
    attacked(TargetedApgd(1, 3), course(network, x, labels, Ball("linf", 1e-6)))
    assert [target.tolist() for target in towards[::2]] == [[1] * 3, [2] * 3, [3] * 3]


@pytest.mark.parametrize(("second", "unsteady"), [(0.0, False), (0.5, True), (torch.nan, True), (torch.inf, True)])
def test_what_is_answered_otherwise_the_second_time_is_unsteady(second: float, unsteady: bool) -> None:
    """A class that is ruled out by −∞ is so both times."""
    network, x = Linear(3), grey(4)
    asked, passes = 0, 10  # the last one is the second look

    def answers(x: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        added = torch.tensor([0.0, 0.0, second if asked == passes else 0.0])
        return torch.cat([network(x) + added, torch.full((len(x), 1), -torch.inf)], 1)

    effort = Effort(("fgsm",), steps=1, restarts=1, targets=1, queries=1, transfer_steps=1)
    labels = network(x).argmax(1)
    data = data_name(DataRole.SAMPLE, "4")
    attack = Attack("white-box", Role.REFERENCE, "linf", 1.0, effort, data, 4, control=True)
    begun = course(network, x, labels, LINF, slack=1e-3)
    batch = Batch(begun.draws.batch.ids, x, labels)
    columns = attack.attack(batch, begun.draws.rng, victim(answers, slack=1e-3)).columns
    assert asked == passes
    assert columns["unsteady"].tolist() == [unsteady] * 4


class Unanswered:
    """A network without a number for what is brighter than it was."""

    def __init__(self, network: Network, x: Tensor, value: float) -> None:
        self.network, self.limit, self.value = network, float(x[0, 0, 0, 0]) + 0.01, value

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.network(x)
        return torch.where((x[:, 0, 0, 0] > self.limit)[:, None], torch.full_like(scores, self.value), scores)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@every_method
def test_an_item_that_the_network_has_no_number_for_is_shown_and_no_success(name: str, value: float) -> None:
    network, x = Linear(3), grey(1)
    network.weight[:] = 0
    network.weight[0, 0, 0, 0] = -20.0  # every step makes the first pixel brighter
    network.weight[1, 0, 0, 0] = 5.0
    network.bias = torch.tensor([13.0, -2.0, 0.0])
    odd = Unanswered(network, x, value)
    begun = attacked(METHODS[name], course(odd, x, torch.zeros(1, dtype=torch.int64), Ball("linf", 0.05)))
    assert not odd(begun.best).isfinite().any()
    assert not begun.fooled(torch.arange(1)).any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_form_with_gradients_that_overflows_fools_nobody(value: float) -> None:
    """Where it has no numbers, those of the network of record count."""
    network, x = Linear(3), grey(40)
    ball = Ball("linf", 0.004)
    x = x[network.worst(x, network(x).argmax(1), ball) < 0][:4]
    labels = network(x).argmax(1)
    overflows = torch.zeros(3).index_fill(0, torch.tensor([1]), value)

    def odd(x: Tensor) -> Tensor:
        return network(x) + overflows

    seen = NetworkVictim(odd, network, Gradients("converted", 0, 4), OutputKind.LOGITS, torch.device("cpu"), 1, 0.0)
    whole = course(network, x, labels, ball)
    begun = Course(seen, x, labels, whole.ball, whole.draws)
    for method in METHODS.values():
        attacked(method, begun)
    assert not begun.fooled(torch.arange(4)).any()
    assert begun.margins.isfinite().all()
    assert torch.equal(losses.margin(network(begun.best), labels), begun.margins)


@pytest.mark.parametrize("names", [*((name,) for name in WHITE_BOX), WHITE_BOX])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_most_passes_are_those_of_an_item_that_stands(names: tuple[str, ...], classes: int) -> None:
    network, x = Linear(classes), grey(2)
    effort = Effort(names, steps=7, restarts=3, targets=4, queries=5, transfer_steps=5)
    begun = course(network, x, network(x).argmax(1), LINF, slack=1e9)
    for method in effort.methods():
        attacked(method, begun)
    forward, backward = effort.passes(classes)
    assert begun.forward.tolist() == [forward + 1] * 2
    assert begun.backward.tolist() == [backward] * 2


@each_norm
def test_a_climb_that_stays_goes_on_past_the_point_where_it_fools(ball: Ball) -> None:
    network, x = Linear(5), grey(20)
    network.bias = -network(x).mean(0)
    labels = network(x).argmax(1)
    leaves, stays = (
        attacked(Pgd(losses.margin, 20, stay=stay), course(network, x, labels, ball)) for stay in (False, True)
    )
    assert (stays.margins >= leaves.margins).all()
    assert stays.margins.median() > 2 * leaves.margins.median()
    assert np.ptp(stays.forward.numpy()) == 0
