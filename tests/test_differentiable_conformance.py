"""The backend tests that onnx brings along, and the document that says how they end."""

import os
import re
from pathlib import Path

import onnx
import pytest
import torch

from benchmarks.differentiable import EXPORTERS, MARK, NETWORKS
from tests import conformance
from tests.conformance import Ending, Found

PAGE = Path(__file__).parent.parent / "docs" / "differentiable.md"


@pytest.fixture(scope="module")
def found() -> list[Found]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return conformance.run()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.long
def test_enough_pass(found: list[Found]) -> None:
    assert conformance.counts(found)[Ending.PASS] >= 1085


@pytest.mark.long
@pytest.mark.parametrize("ending", [Ending.WRONG, Ending.CRASH])
def test_none_computes_something_else(found: list[Found], ending: Ending) -> None:
    assert [(entry.name, entry.message) for entry in found if entry.ending is ending] == []


@pytest.mark.long
def test_few_are_refused(found: list[Found]) -> None:
    ended = conformance.counts(found)
    assert ended[Ending.REFUSED] <= 0.05 * sum(entry.applicable for entry in found)


def renewed(section: str, text: str) -> None:
    """Compare a section of the document with what it should be, or write it."""
    page = PAGE.read_text(encoding="utf-8")
    marked = re.search(rf"<!-- {section}: begin -->\n(.*?)<!-- {section}: end -->", page, re.DOTALL)
    assert marked is not None
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(page[: marked.start(1)] + text + page[marked.end(1) :], encoding="utf-8")
        return
    assert marked[1] == text


@pytest.mark.long
def test_the_table_of_the_document_is_what_happened(found: list[Found]) -> None:
    stated = re.search(r"^onnx (\S+): ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    if not os.environ.get("UPDATE_GOLDENS") and stated is not None and stated[1] != onnx.__version__:
        pytest.skip(f"the table is of onnx {stated[1]}, which brings other tests than {onnx.__version__}")
    renewed("conformance", conformance.table(found))


def test_the_operators_of_the_document_are_those_of_the_code() -> None:
    renewed("operators", conformance.operators())


def test_the_document_has_figures_of_every_network() -> None:
    marked = MARK.search(PAGE.read_text(encoding="utf-8"))
    assert marked is not None
    rows = [line.split(" | ") for line in marked[0].splitlines()[2:]]
    assert {(row[0].strip("| "), row[1]) for row in rows} == {(name, e) for name in NETWORKS for e in EXPORTERS}
    assert all(float(row[3]) >= 0.1 and float(row[4]) <= 1e-4 for row in rows)
