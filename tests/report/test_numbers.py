import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.report import numbers


@given(
    limit=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.9000000000000004, 98.5]),
    value=st.floats(-100, 100),
    unit=st.sampled_from(["%", "points", "distance", "items"]),
)
def test_printed_value_stays_on_its_side_of_the_limit(limit: float, value: float, unit: str) -> None:
    digits = numbers.decimals(unit, limit, [value])
    printed, printed_limit = round(value, digits), round(limit, digits)
    if abs(value - limit) > 1e-7:
        assert math.copysign(1, printed - printed_limit) == math.copysign(1, value - limit)
        assert printed != printed_limit
    assert math.isclose(printed_limit, limit, abs_tol=1e-8)


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (0.0, 2, True, "0.00"),
        (-0.0001, 2, True, "0.00"),
        (1234567.891, 1, False, "1,234,567.9"),
        (-3.0, 0, False, "−3"),
        (2.5, 2, True, "+2.50"),
    ],
)
def test_decimal(value: float, digits: int, signed: bool, text: str) -> None:
    assert numbers.decimal(value, digits, signed=signed) == text


@given(st.floats(min_value=1e-300, max_value=1))
def test_p_value_never_prints_as_zero(p: float) -> None:
    assert float(numbers.p_value(p).removeprefix("< ")) > 0


@given(st.integers(1, 10**9), st.data())
def test_share_says_none_or_all_only_where_true(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    text = numbers.share(part, whole)
    assert (text == "0 %") == (part == 0)
    assert (text == "100 %") == (part == whole)


def test_examples_in_the_docstrings() -> None:
    tried = doctest.testmod(numbers)
    assert tried.attempted >= 7
    assert tried.failed == 0
