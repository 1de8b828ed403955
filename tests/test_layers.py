"""Who may import whom, and which commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import audit
from tests.world import World

ROOT = Path(audit.__file__).parent.parent
PURE = {"errors", "types"}
_WORDS = (
    "types",
    "findings",
    "contracts",
    "traces",
    "stats",
    "randomness",
    "digest",
    "structure",
    "parity",
    "gradients",
    "errors",
)
CHECKS_MAY_USE = {f"audit.{name}" for name in _WORDS}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "audit":
                found.update(f"audit.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] in {"audit", "checks", "templates", "sample_models"}}


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_words_import_nothing_of_ours(name: str) -> None:
    assert imported(ROOT / "audit" / f"{name}.py") == set()


def test_findings_are_told_in_the_words_alone() -> None:
    assert imported(ROOT / "audit" / "findings.py") == {"audit.types"}


@pytest.mark.parametrize("path", modules("checks"), ids=str)
def test_checks_know_no_engine(path: Path) -> None:
    outside = {name for name in imported(path) if name.startswith("audit")}
    assert {".".join(name.split(".")[:2]) for name in outside} <= CHECKS_MAY_USE


@pytest.mark.parametrize("path", modules("audit"), ids=str)
def test_engine_knows_no_particular_check(path: Path) -> None:
    names = {name for name in imported(path) if name.split(".")[0] == "checks"}
    assert names <= ({"checks"} if path.name == "registry.py" else set())


@pytest.mark.parametrize("path", modules("audit/stats"), ids=str)
def test_statistics_are_pure(path: Path) -> None:
    assert all(name.startswith("audit.stats") for name in imported(path))


def loaded_by(*arguments: str) -> set[str]:
    """Top-level modules in memory when a command has ended."""
    code = (
        "import sys; from audit import cli; sys.argv = ['prune-audit', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(result.stdout.split("LOADED")[1].split())


@pytest.mark.parametrize("arguments", [("checks",), ("checks", "accuracy"), ("schema", "evidence"), ("--version",)])
def test_reading_commands_load_no_runtime(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & {"torch", "onnxruntime", "onnx", "matplotlib", "weasyprint"}


def test_judge_and_render_load_no_runtime(world: World) -> None:
    audit.run(world.audit, pdf=False)
    judged = loaded_by("judge", str(world.out), "--no-pdf")
    rendered = loaded_by("render", str(world.out / "evidence.json"), "--no-pdf")
    assert not (judged | rendered) & {"torch", "onnxruntime", "onnx", "weasyprint"}


def test_import_of_the_package_is_lazy() -> None:
    code = "import audit, sys; print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "pydantic"} & set(result.stdout.split())


def test_a_checks_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "__init__.py").write_text("CHECKS = {}\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from audit import cli; sys.argv = ['prune-audit', 'checks']; cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "not from this installation" in result.stderr


def test_no_two_conftests_are_one_module() -> None:
    """Without an `__init__.py` beside it each is the module `conftest`, and pytest collects only one of a name."""
    alike = [path for path in (ROOT / "tests").rglob("conftest.py") if not (path.parent / "__init__.py").exists()]
    assert len(alike) <= 1
