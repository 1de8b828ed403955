"""Attacks on networks whose worst case has a closed form: what can fall falls, what cannot stands."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from victims import Linear, attacked, course, distance, grey

from checks.attacks import losses
from checks.attacks.apgd import Apgd, TargetedApgd
from checks.attacks.ball import Ball, Norm
from checks.attacks.effort import Method
from checks.attacks.pgd import Pgd
from checks.attacks.square import Square

BALLS = (Ball("linf", 0.03), Ball("l2", 0.2))
CLIMBERS: dict[str, Method] = {
    "pgd-margin": Pgd(losses.margin, 100),
    "apgd-ce": Apgd(losses.cross_entropy, 100),
    "apgd-dlr": Apgd(losses.difference_of_logits_ratio, 100),
    "apgd-margin": Apgd(losses.margin, 100),
    "apgd-t": TargetedApgd(100),
}
EVERY = {**CLIMBERS, "fgsm": Pgd(losses.cross_entropy, 1), "square": Square(60)}


def of_ball(ball: Ball) -> str:
    return ball.norm


def apart(ball: Ball, share: float) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """Two classes, 40 items that either is right about, each with a margin of −`share` of what the ball can change it.

    The network, the items, their labels and what the ball can change.
    """
    network, x = Linear(2), grey(40)
    labels = torch.arange(40) % 2
    reach = network.reach(ball, labels).gather(1, 1 - labels[:, None]).squeeze(1)
    direction = network.weight[0] - network.weight[1]
    # Moved along the weights until the margin is the wanted one; pixels stay far from 0 and 1.
    now, wanted = losses.margin(network(x), labels), -share * reach
    towards = torch.where(labels == 0, 1.0, -1.0)
    step = (now - wanted).float() * towards / direction.square().sum()
    return network, x + step[:, None, None, None] * direction, labels, reach


@pytest.mark.parametrize("ball", BALLS, ids=of_ball)
@pytest.mark.parametrize("name", CLIMBERS)
def test_the_worst_case_of_two_classes_is_reached(name: str, ball: Ball) -> None:
    network, x, labels, reach = apart(ball, 1.5)
    begun = attacked(CLIMBERS[name], course(network, x, labels, ball))
    assert begun.right.all()
    assert 0 < x.min() - ball.radius < x.max() + ball.radius < 1
    gained = begun.margins - losses.margin(network(x), labels)
    assert torch.allclose(gained.double(), reach, rtol=1e-4, atol=0)


@pytest.mark.parametrize("share", [0.99, 1.01])
@pytest.mark.parametrize("ball", BALLS, ids=of_ball)
@pytest.mark.parametrize("name", CLIMBERS)
def test_of_two_classes_every_item_falls_that_can(name: str, ball: Ball, share: float) -> None:
    network, x, labels, _ = apart(ball, share)
    begun = attacked(CLIMBERS[name], course(network, x, labels, ball))
    assert begun.fooled(torch.arange(len(x))).tolist() == [share < 1] * len(x)


def test_one_step_is_exact_where_two_classes_are_linear() -> None:
    network, x, labels, reach = apart(BALLS[0], 1.5)
    begun = attacked(EVERY["fgsm"], course(network, x, labels, BALLS[0]))
    assert torch.allclose((begun.margins - losses.margin(network(x), labels)).double(), reach, rtol=1e-4, atol=0)
    assert (begun.forward == 3).all()  # as it is, with a gradient, and what came of it
    assert (begun.backward == 1).all()


def many() -> tuple[Linear, Tensor, Tensor]:
    """Six classes, and 200 items that the network gets right."""
    network, x = Linear(6), grey(200)
    network.bias = -network(x).mean(0)
    return network, x, network(x).argmax(1)


@pytest.mark.parametrize("ball", [Ball("linf", 0.004), Ball("l2", 0.03)], ids=of_ball)
def test_of_many_classes_exactly_those_items_fall_that_can(ball: Ball) -> None:
    network, x, labels = many()
    worst = network.worst(x, labels, ball)
    sure = worst.abs() > 1e-3
    fooled = attacked(EVERY["apgd-t"], course(network, x, labels, ball)).fooled(torch.arange(len(x)))
    assert torch.equal(fooled[sure], worst[sure] > 0)
    assert 20 < int((worst > 0).sum()) < 180


@pytest.mark.parametrize("ball", [Ball("linf", 0.004), Ball("l2", 0.03)], ids=of_ball)
@pytest.mark.parametrize("name", EVERY)
def test_no_item_falls_that_cannot(name: str, ball: Ball) -> None:
    network, x, labels = many()
    worst = network.worst(x, labels, ball)
    begun = attacked(EVERY[name], course(network, x, labels, ball))
    assert (begun.margins <= worst + 1e-5).all()
    falls, can = begun.fooled(torch.arange(len(x))), worst > 1e-3
    # A climb may lead to another class than the one within reach, and 60 random squares do not go far.
    least = {"square": 0.15, "apgd-t": 1.0}.get(name, 0.8)
    assert int((falls & can).sum()) >= least * int(can.sum())


def test_squares_come_to_the_worst_case() -> None:
    """In 2,000 queries single pixels are turned one by one, and a linear network has no place to get stuck."""
    network, x, labels, reach = apart(BALLS[0], 1.5)
    begun = attacked(Square(2000), course(network, x[:10], labels[:10], BALLS[0]))
    gained = (begun.margins - losses.margin(network(x), labels)[:10]).double() / reach[:10]
    assert gained.min() > 0.99
    assert gained.max() <= 1 + 1e-5


@settings(max_examples=60, deadline=None)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    radius=st.sampled_from([1e-4, 0.5 / 255, 8 / 255, 0.3, 1.0, 5.0]),
    pixels=st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32)), min_size=27, max_size=27),
    name=st.sampled_from(["fgsm", "pgd", "apgd", "apgd-t", "square"]),
)
def test_nothing_that_is_found_leaves_the_ball_or_the_pixels(
    norm: Norm, radius: float, pixels: list[float], name: str
) -> None:
    method: Method = {
        "fgsm": Pgd(losses.margin, 1), "pgd": Pgd(losses.margin, 4, stay=True), "apgd-t": TargetedApgd(4),
        "apgd": Apgd(losses.margin, 6, stay=True), "square": Square(12),
    }[name]  # fmt: skip
    network, x = Linear(4, (3, 3, 3)), torch.tensor(pixels).view(1, 3, 3, 3)
    begun = attacked(method, course(network, x, network(x).argmax(1), Ball(norm, radius), slack=1e9))
    assert 0 <= begun.best.min() <= begun.best.max() <= 1
    assert float(distance(begun)) <= radius + {"linf": 1e-6, "l2": 2e-5}[norm]
