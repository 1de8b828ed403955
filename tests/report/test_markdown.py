"""The step summary: whole at a glance, and inert."""

import re
from collections.abc import Callable

import pytest
from report_samples import HOSTILE, build, decision, many

from audit.evidence import Evidence
from audit.report import markdown
from audit.report.view import results


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\| \d", line)]


def test_verdict_first_then_failures_then_digests(failing: Evidence) -> None:
    text = markdown.render(failing)
    assert text.startswith("## ✕ FAIL: verification certificate ")
    lines = rows(text)
    assert "✕ FAIL" in lines[0]
    assert [int(line.split("|")[1]) for line in lines] == list(range(1, len(failing.body.decisions) + 1))
    for digest in (failing.id, failing.body.policy.sha256, *(model.sha256 for model in failing.body.models)):
        assert f"`{digest}`" in text


def test_every_table_line_has_the_cells_of_its_head(hostile: Evidence, forty: Evidence) -> None:
    for evidence in (hostile, forty):
        for block in markdown.render(evidence).split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(widths) <= 1


def test_long_tables_are_cut_and_say_so() -> None:
    failing = tuple(decision(f"a.b@class={number}", "t", 1.0, 9.0) for number in range(60))
    text = markdown.render(build(failing, others=0))
    assert len(rows(text)) == markdown.MOST_ROWS
    assert "… and 10 more in certificate.html." in text
    assert "more in" not in markdown.render(build(many(50), others=0))


def test_what_blocks_is_told_before_a_long_list_of_what_passed(corrupted: Evidence) -> None:
    text = markdown.render(corrupted)
    required = [line for line in rows(text) if "advisory" not in line]
    blocking = [row for row in results(corrupted).required if row.record.verdict != "PASS"]
    assert sum("PASS |" in line and "CONDITIONAL" not in line for line in required) == markdown.MOST_PASSED
    assert all(f"| {row.number} |" in text for row in blocking)
    more = len(results(corrupted).required) - len(blocking) - markdown.MOST_PASSED
    assert f"… and {more} more in certificate.html." in text
    assert len(text) < 12_000


def test_what_the_policy_left_out_is_counted(corrupted: Evidence, passing: Evidence) -> None:
    assert "Left out by the policy: 2 criteria, because no data were given that can have them." in markdown.render(
        corrupted
    )
    assert "Left out" not in markdown.render(passing)


def test_release_warning(exploratory: Evidence, passing: Evidence) -> None:
    assert "**NOT FOR RELEASE.** Exploratory. Only the first 2,000 items" in markdown.render(exploratory)
    assert "NOT FOR RELEASE" not in markdown.render(passing)


@pytest.mark.parametrize(
    "text",
    ["@org/team", "see @user", "mail me@evil.example", "#12", "https://evil.example", "www.evil.example", "(@a)"],
)
def test_nothing_links_or_notifies(text: str) -> None:
    escaped = markdown.escape(text)
    assert not re.search(r"(?<!\w)@\w|@[\w-]+\.|#\w|://|www\.", escaped)
    assert escaped.replace("\N{WORD JOINER}", "").replace("\\", "") == text


def test_a_claim_can_be_copied_from_the_summary() -> None:
    assert markdown.escape("accuracy.drop@corruption=fog,severity=5") == "accuracy.drop@corruption=fog,severity=5"


def test_markup_is_shown_not_obeyed(hostile: Evidence) -> None:
    text = markdown.render(hostile)
    assert not re.search(r"(?<!\\)<(?!br>)", text)
    assert "\n" not in markdown.escape(HOSTILE)
    for sign in "\\`*_[]<>|~&":
        assert markdown.escape(sign) == f"\\{sign}"


@pytest.mark.parametrize("kind", ["failing", "exploratory", "empty", "noisy"])
def test_golden(kind: str, request: pytest.FixtureRequest, golden: Callable[[str, str, Evidence], None]) -> None:
    evidence = request.getfixturevalue(kind)
    golden(f"{kind}.md", markdown.render(evidence), evidence)
