"""What the README says is what the program does."""

import os
import re
import subprocess
from pathlib import Path

from tests.conftest import COMMAND

README = Path(__file__).parent.parent / "README.md"
MARKED = re.compile(r"<!-- help: begin .*?-->\n```\n(.*?)```\n<!-- help: end -->", re.DOTALL)
WIDTH = 100


def printed() -> str:
    """The help as on a terminal of 100 columns, without the blanks at the ends of lines."""
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"}
    result = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, env=environment, check=True)
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines()) + "\n"


def words(text: str) -> list[str]:
    """Without frames and line breaks, which libraries draw differently from version to version."""
    return re.sub(r"[─│╭╮╰╯]", " ", text).split()


def test_the_help_in_the_readme_is_the_real_one() -> None:
    text = README.read_text(encoding="utf-8")
    marked = MARKED.search(text)
    assert marked is not None
    if os.environ.get("UPDATE_GOLDENS"):
        README.write_text(text[: marked.start(1)] + printed() + text[marked.end(1) :], encoding="utf-8")
        return
    assert words(marked[1]) == words(printed())


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
