"""Traces of some of the items, near ties against the candidate, and what stays in memory."""

import numpy as np
import pytest

from audit.traces import Cache, Trace
from audit.types import PAIR

ROWS = 12
COLUMNS = {"label": np.arange(ROWS) % 3, "agree": np.arange(ROWS) % 2 == 0, "far": np.linspace(0.0, 1.0, ROWS)}


@pytest.mark.parametrize("draws", [1, 2])
def test_some_items_are_those_rows_of_the_named_columns(draws: int) -> None:
    rows = (np.arange(ROWS // draws) % 3 == 0).repeat(draws)
    some = Trace(COLUMNS, draws, 0.25).of_rows(rows, "label", "far")
    assert (len(some), some.draws, some.chance) == (rows.sum() // draws, draws, 0.25)
    assert {name: values.tolist() for name, values in some.columns.items()} == {
        "label": COLUMNS["label"][rows].tolist(), "far": COLUMNS["far"][rows].tolist(),
    }  # fmt: skip
    assert len(some.columns) == 2
    with pytest.raises(KeyError):
        some.columns["agree"]


def test_of_no_column_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        Trace(COLUMNS).of_rows(COLUMNS["agree"], "labels")


def test_one_draw_is_its_own_mean() -> None:
    means = Trace(COLUMNS).per_item(COLUMNS["agree"])
    assert means.dtype == np.float64 and means.tolist() == COLUMNS["agree"].tolist()
    assert Trace(COLUMNS, 2).per_item(COLUMNS["agree"]).tolist() == [0.5] * 6


def test_near_ties_replace_the_columns_that_they_turn() -> None:
    turned = {"agree": np.zeros(ROWS, np.bool_)}
    plain = Trace(COLUMNS, turned=turned)
    against = plain.against()
    assert not against.columns["agree"].any() and plain.columns["agree"].any()
    assert against.columns["far"] is COLUMNS["far"]
    assert Trace(COLUMNS).against().columns is COLUMNS


def test_what_near_ties_turn_counts_in_memory() -> None:
    plain = Trace(COLUMNS)
    both = Trace(COLUMNS, turned={"agree": COLUMNS["agree"]})
    assert both.bytes == plain.bytes + ROWS
    cache = Cache(both.bytes + plain.bytes)
    for name in ("one", "two"):
        cache.keep((name, PAIR), both)
    assert ("one", PAIR) not in cache and ("two", PAIR) in cache
