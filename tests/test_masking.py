"""Each sign of hidden gradients is seen where it is, and not where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.traces import Trace
from audit.types import Role
from checks import masking
from checks.masking import Evidence

N = 400
NONE = np.zeros(N, np.bool_)


def first(count: int) -> NDArray[np.bool_]:
    """The first items, and no others."""
    return np.arange(N) < count


def trace(right: int, **own: NDArray[np.bool_]) -> Trace:
    """The candidate gets the first `right` items right under an attack that it got all of right before."""
    columns = {"right_candidate": first(right), "right_reference": first(N)}
    marks = {"right": ~NONE, "dead": NONE, "stuck": NONE, "standing": NONE, "unsteady": NONE, "misled": NONE}
    return Trace(columns, own=marks | own)


HEALTHY = Evidence(
    Role.CANDIDATE,
    clean=trace(N),
    white_box=(trace(300), trace(200), trace(50)),
    black_box=(trace(380), trace(330), trace(200)),
    transfer=(trace(390), trace(350), trace(300)),
)


def with_last(**own: NDArray[np.bool_]) -> Evidence:
    return replace(HEALTHY, white_box=(*HEALTHY.white_box[:2], trace(50, **own)))


def test_a_healthy_network_shows_none() -> None:
    assert masking.flags(HEALTHY) == {}


SIGNS = {
    "dead_gradients": (with_last(dead=first(30)), with_last(dead=first(3))),
    "no_progress": (with_last(stuck=first(60)), with_last(stuck=first(15))),
    "unbounded": (with_last(standing=first(60)), with_last(standing=first(15))),
    "misleading_gradients": (with_last(misled=first(160)), with_last(misled=first(90))),
    "random_outputs": (with_last(unsteady=first(1)), with_last(unsteady=first(0))),
    "weaker_than_transfer": (
        replace(HEALTHY, transfer=(trace(240), trace(350), trace(300))),
        replace(HEALTHY, transfer=(trace(298), trace(350), trace(300))),
    ),
    "weaker_than_black_box": (
        replace(HEALTHY, black_box=(trace(380), trace(330), trace(20))),
        replace(HEALTHY, black_box=(trace(380), trace(330), trace(49))),
    ),
    "not_falling": (
        replace(HEALTHY, white_box=(trace(200), trace(300), trace(50)), transfer=(trace(390),) * 3),
        replace(HEALTHY, white_box=(trace(298), trace(300), trace(50)), transfer=(trace(390),) * 3),
    ),
}


@pytest.mark.parametrize("flag", SIGNS)
def test_a_sign_is_seen_beyond_what_chance_makes_and_single_items_may_be_odd(flag: str) -> None:
    there, not_there = SIGNS[flag]
    assert set(masking.flags(there)) == {flag} and masking.flags(there)[flag]
    assert masking.flags(not_there) == {}


def test_every_sign_is_tried() -> None:
    assert set(SIGNS) == set(masking.FLAGS)


def test_without_white_box_attacks_none_can_be_seen() -> None:
    assert masking.flags(replace(with_last(dead=first(N)), white_box=())) == {}


def test_a_control_must_break_nearly_every_item() -> None:
    assert masking.dead(trace(0, standing=first(20))) is None
    why = masking.dead(trace(0, standing=first(21)))
    assert why is not None and why.reason == "attack-dead" and "21 of 400" in why.detail
    none_right = trace(0)
    nothing = masking.dead(replace(none_right, own={**none_right.own, "right": NONE}))
    assert nothing is not None and nothing.reason == "attack-dead"
    assert masking.dead(None) is None
