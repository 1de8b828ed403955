"""What an installation holds, and documents that are generated from the code."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from audit import catalogue, policy, resources

ROOT = resources.HOME


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from this checkout."""
    target = tmp_path_factory.mktemp("wheel")
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(target)!r}))"
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout: what belongs to the project cannot be told")
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("folder", ["audit", "checks", "templates", "sample_models"])
def test_the_wheel_holds_every_file_of_the_four_folders(wheel: set[str], folder: str) -> None:
    kinds = {".py", ".j2", ".css", ".toml", ".onnx", ".ttf", ".typed"}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds or path.name == "py.typed"
    }
    assert files
    assert files <= wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"audit", "checks", "templates", "sample_models"}


def test_the_catalogue_in_the_documentation_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "claims.md").read_text() == catalogue.markdown() + "\n"


@pytest.mark.parametrize("name", sorted(policy.available()))
def test_built_in_policies_are_valid_and_comment_every_limit(name: str) -> None:
    source = policy.read(name, Path())
    assert name in {source.file.id, source.file.id.split("/")[0]}
    for entry in re.split(r"\n(?=\[\[criterion\]\])", source.text)[1:]:
        before = source.text[: source.text.index(entry)].rstrip().splitlines()[-1]
        assert before.startswith("# "), entry


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
