"""Code of the user's own: what runs is what lies beside the audit file, and the digest is of what ran."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit import userland
from audit.errors import AuditError
from audit.userland import Factory


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Every test begins and ends without the modules of another."""
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def write(folder: Path, **sources: str) -> Path:
    """A folder with these sources; `_of_` stands for the step into a package, whose own source is called `init`."""
    for name, text in sources.items():
        *packages, last = name.split("_of_")
        path = folder.joinpath(*packages, "__init__.py" if last == "init" else f"{last}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def net(folder: Path, target: str = "netz:make") -> Factory:
    return Factory(target, {}, folder)


def giving(value: int) -> str:
    return f"def make():\n    return {value}\n"


def test_every_folder_runs_its_own_module(tmp_path: Path) -> None:
    one, other = (net(write(tmp_path / f"f{value}", netz=giving(value))) for value in (1, 2))
    assert (one.make(), other.make()) == (1, 2)
    assert one.identity() != other.identity()
    assert one.make() == 1


def test_every_folder_runs_its_own_helpers(tmp_path: Path) -> None:
    user = "from helfer.teil import VALUE\ndef make():\n    return VALUE\n"
    for value in (1, 2):
        folder = write(tmp_path / f"f{value}", netz=user, helfer_of_teil=f"VALUE = {value}\n")
        assert net(folder).make() == value


def test_a_helper_of_another_folder_is_not_borrowed(tmp_path: Path) -> None:
    user = "import helfer\ndef make():\n    return helfer.VALUE\n"
    assert net(write(tmp_path / "a", netz=user, helfer="VALUE = 1\n")).make() == 1
    with pytest.raises(AuditError, match="netz:make: ModuleNotFoundError: No module named 'helfer'"):
        net(write(tmp_path / "b", netz=user)).make()


def test_a_module_that_the_process_imported_before_does_not_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(write(tmp_path / "a", netz=giving(1))))
    assert importlib.import_module("netz").make() == 1
    assert net(write(tmp_path / "b", netz=giving(2))).make() == 2


@pytest.mark.parametrize("name", ["netz", "helfer"])
def test_an_edit_of_the_same_size_and_time_is_seen(tmp_path: Path, name: str) -> None:
    user = "from helfer import make\n" if name == "helfer" else giving(1)
    folder = write(tmp_path, netz=user, helfer=giving(1))
    os.utime(folder / f"{name}.py", (1e9, 1e9))
    importlib.import_module("py_compile").compile(str(folder / f"{name}.py"))
    before = net(folder)
    assert (before.make(), sorted(path.name for path in folder.iterdir())) == (
        1,
        ["__pycache__", "helfer.py", "netz.py"],
    )
    known = before.identity()
    write(folder, **{name: giving(2)})
    os.utime(folder / f"{name}.py", (1e9, 1e9))
    after = net(folder)
    assert after.make() == 2
    assert after.identity() != known


def test_an_edit_during_an_audit_changes_the_identity_and_nothing_that_runs(tmp_path: Path) -> None:
    factory = net(write(tmp_path, netz=giving(1)))
    before = factory.identity()
    write(tmp_path, netz=giving(2))
    assert factory.make() == 1
    assert factory.identity() not in (before, net(tmp_path).identity())


def test_code_that_ran_before_an_edit_never_has_the_identity_of_the_edited(tmp_path: Path) -> None:
    factory = net(write(tmp_path, netz=giving(1)))
    assert factory.make() == 1
    write(tmp_path, netz=giving(2))
    assert factory.identity() != net(tmp_path).identity()


def test_equal_code_has_one_identity_wherever_it_lies(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, netz="from helfer import make\n", helfer=giving(1)) for name in "ab"]
    first, second = map(net, folders)
    known = first.identity()
    assert second.identity() == first.identity() == known
    write(folders[1], helfer=giving(3))
    assert net(folders[1]).identity() != known


def test_what_a_function_imports_counts_before_it_is_called(tmp_path: Path) -> None:
    lazy = "def make():\n    from teile.eins import VALUE\n    return VALUE\n"
    folder = write(tmp_path, netz=lazy, teile_of_init="", teile_of_eins="VALUE = 1\n")
    factory = net(folder)
    before = factory.identity()
    assert factory.make() == 1
    assert factory.identity() == before
    write(folder, teile_of_init="import teile.eins\n")
    assert factory.identity() != before


def test_one_factory_imports_once(tmp_path: Path) -> None:
    factory = net(write(tmp_path, netz="MADE = []\ndef make():\n    MADE.append(1)\n    return len(MADE)\n"))
    assert [factory.make(), factory.make()] == [1, 2]
    assert net(tmp_path).make() == 1


def test_installed_code_is_imported_once_and_refused_after_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = write(tmp_path / "site-packages", netzpaket_of_init="", netzpaket_of_netz=giving(1))
    monkeypatch.syspath_prepend(str(home))
    factory = net(tmp_path, "netzpaket.netz:make")
    known = factory.identity()
    module = sys.modules["netzpaket.netz"]
    assert (factory.make(), net(tmp_path, "netzpaket.netz:make").identity()) == (1, known)
    assert sys.modules["netzpaket.netz"] is module
    write(home, netzpaket_of_netz=giving(2))
    for stale in (factory.identity, net(tmp_path, "netzpaket.netz:make").make):
        with pytest.raises(AuditError, match=r"netz\.py: changed after this process imported it"):
            stale()


def test_the_program_itself_is_never_imported_again() -> None:
    ours = sys.modules["audit.userland"]
    root = Path(userland.__file__).parents[1]
    with pytest.raises(AuditError, match="AttributeError"):
        net(root, "audit.userland:absent").make()
    assert sys.modules["audit.userland"] is ours


def test_the_process_looks_as_before(tmp_path: Path) -> None:
    before = (list(sys.path), list(sys.meta_path))
    with pytest.raises(AuditError, match=r"netz:make: SystemExit: 3"):
        net(write(tmp_path, netz="raise SystemExit(3)\n")).make()
    assert (list(sys.path), list(sys.meta_path)) == before
