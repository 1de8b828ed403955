"""`policy show`, `diff` and `check`, and the policies that come with the program."""

import itertools
import json
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from audit import asking, policy, preparation, registry
from audit.asking import Asked
from audit.contracts import Context
from audit.errors import AuditError
from audit.policy import PolicyFile, Source
from audit.policy.checking import check
from audit.policy.comparing import diff
from audit.policy.explaining import GENERIC, Preview, generic, preview, show
from audit.preparation import Agreed
from audit.types import PAIR, TaskKind
from tests.policies import HEAD, NOISE, Plan, criterion, noisy, waiver, written
from tests.test_policy_binding import VARIANTS

DROP = criterion("accuracy.drop")
NAMES = ("screening", "standard", "strict")
WILD = "accuracy.drop@noise=*,level=*"


def ask(source: Source) -> Asked:
    return Plan(roles=GENERIC.roles).asked()


def real(source: Source) -> Asked:
    return asking.ask(registry.load_all(source.file.checks, source.file.settings), generic(source))


def told(folder: Path, *parts: str, head: str = HEAD) -> Preview:
    return preview(written(folder, *parts, head=head), ask)


def row(text: str, claim: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"{claim} ")]
    return " ".join(found.split())


def test_show_has_every_limit_in_force(tmp_path: Path) -> None:
    more = 'required = false\nonly_where_reference_holds = true\nwhy = "house rule"\n'
    parts = [DROP, criterion(WILD, 3.25, more), waiver(), "\n[settings.noise]\ndraws = 4\n"]
    text = show(told(tmp_path, *parts, head=HEAD + 'title = "House"\nchecks = ["integrity", "accuracy", "noise"]\n'))
    assert text.startswith("house/1: House\n")
    assert row(text, "accuracy.drop") == "accuracy.drop ≤ 2 points waived"
    for cell in NOISE:
        expected = f"{noisy(*cell)} ≤ 3.25 points advisory where the reference holds house rule"
        assert row(text, noisy(*cell)) == expected
    assert "every policy" in row(text, "integrity.near_ties@role=candidate")
    assert row(text, "reference.accuracy").startswith("reference.accuracy ≥ 70 % every policy")
    for words in (
        "0.05",
        "accepts   PASS",
        "integrity, accuracy, noise",
        "noise.draws = 4",
        "on clean data at least 70",
    ):
        assert words in text
    assert "W-1: accuracy.drop until 2030-12-31, by Release Board: known, and mitigated" in text
    assert "as written" not in text
    assert "0 % of what an earlier audit lends" in text


def test_what_is_measured_again_is_shown_and_compared(tmp_path: Path) -> None:
    never, often = (told(tmp_path, DROP, head=HEAD + f"recheck_reused = {share}\n") for share in (0.0, 2.5))
    assert "2.5 % of what an earlier audit lends is measured again" in show(often)
    assert diff(never, often) == ("tighter  recheck_reused: 0 % → 2.5 %",)
    assert diff(often, never) == ("looser   recheck_reused: 2.5 % → 0 %",)


def test_show_says_why_it_cannot_expand(tmp_path: Path) -> None:
    text = show(told(tmp_path, criterion(WILD), criterion("recall.drop@class=stop sign", 5.0)))
    assert "accuracy.drop@level=*,noise=*" in text
    assert "recall.drop@class=stop sign" in text
    assert "Criteria stand as written: policy.toml:11: criterion 'recall.drop@class=stop sign'" in text


def test_show_of_an_expired_waiver_still_shows_the_limits(tmp_path: Path) -> None:
    text = show(told(tmp_path, criterion(WILD), DROP, waiver(expires="2020-01-01")))
    assert noisy("uniform", "2/255") in text
    assert "2020-01-01" in text


def test_show_prints_no_control_characters(tmp_path: Path) -> None:
    text = show(told(tmp_path, DROP + 'why = "\\u001b[2Jhidden\\u202e\\nnext"\n'))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "hidden" in row(text, "accuracy.drop")
    assert "next" in row(text, "accuracy.drop")


def test_equal_policies_differ_in_nothing(tmp_path: Path) -> None:
    wild = told(tmp_path, criterion(WILD, 3.0), head=HEAD.replace("house/1", "house/2") + 'title = "New"\n')
    plain = told(tmp_path, *(criterion(noisy(*cell), 3.0, 'why = "w"\n') for cell in NOISE))
    assert diff(wild, plain) == diff(plain, wild) == diff(wild, wild) == ()


def changed(folder: Path, old: str, new: str) -> tuple[str, ...]:
    (before_head, before), (after_head, after) = VARIANTS[old], VARIANTS[new]
    return diff(told(folder, *before, head=before_head), told(folder, *after, head=after_head))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("base", "alpha", "tighter  alpha: 0.05 → 0.04"),
        ("alpha", "base", "looser   alpha: 0.04 → 0.05"),
        ("base", "accept", "looser   accept: PASS → CONDITIONAL PASS, PASS"),
        ("base", "limit", "looser   accuracy.drop: ≤ 2 points, required → ≤ 2.5 points, required"),
        ("limit", "base", "tighter  accuracy.drop: ≤ 2.5 points, required → ≤ 2 points, required"),
        ("no waiver", "advisory", "looser   accuracy.drop: ≤ 2 points, required → ≤ 2 points, advisory"),
        (
            "holds",
            "base",
            "tighter  accuracy.drop: ≤ 2 points, required where the reference holds → ≤ 2 points, required",
        ),
        ("holds", "limit", "changed  accuracy.drop: "),
        ("base", "one more", "added    accuracy.drop@level=2/255,noise=uniform: ≤ 2 points, required"),
        ("one more", "base", "removed  accuracy.drop@level=2/255,noise=uniform: ≤ 2 points, required"),
        ("base", "floor", "tighter  reference_floor.clean: 70 → 71"),
        ("elsewhere", "base", "looser   reference_floor.elsewhere: 51 → 50"),
        ("base", "checks", "changed  checks: all → accuracy, integrity, noise"),
        ("settings", "other settings", "changed  settings.noise.draws: 1 → 2"),
        ("base", "settings", "changed  settings.noise.uniform: not set → [2,4]"),
        ("base", "no waiver", "removed  waiver W-1: accuracy.drop until 2030-12-31"),
        ("base", "waiver's end", "added    waiver W-1: accuracy.drop until 2031-12-31"),
    ],
)
def test_diff_names_what_changes_in_meaning(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert any(found.startswith(line) for found in changed(tmp_path, old, new))


@pytest.mark.parametrize("old", VARIANTS)
def test_policies_of_different_meaning_always_differ(tmp_path: Path, old: str) -> None:
    assert [new for new in VARIANTS if not changed(tmp_path, old, new)] == [old]


def test_a_stricter_declared_accuracy_is_tighter(tmp_path: Path) -> None:
    floors = [told(tmp_path, DROP, f"\n[reference_floor]\nbelow_declared = {value}\n") for value in (1, 0.5)]
    assert diff(*floors) == ("tighter  reference_floor.below_declared: 1 → 0.5",)


def test_a_limit_on_the_other_side_moves_the_other_way(tmp_path: Path) -> None:
    own = criterion("reference.accuracy@noise=uniform").replace("at_most", "at_least").replace("points", "%")
    loose, tight = (told(tmp_path, own.replace("2.0", limit)) for limit in ("40.0", "40.00000001"))
    assert diff(loose, tight)[0].startswith("tighter  reference.accuracy@noise=uniform: ≥ 40 %")
    assert diff(tight, loose)[0].startswith("looser   reference.accuracy@noise=uniform: ≥ 40.00000001 %")


def test_where_one_cannot_be_expanded_both_are_compared_as_written(tmp_path: Path) -> None:
    unknown = criterion("recall.drop@class=stop sign", 5.0)
    lines = diff(told(tmp_path, criterion(WILD)), told(tmp_path, criterion(WILD), unknown))
    assert lines == ("added    recall.drop@class=stop sign: ≤ 5 points, required",)


@pytest.mark.parametrize(
    ("claim", "sound"),
    [
        ("accuracy.drop@shift=night", True),
        ("ood.miss_increase@score=max_softmax,set=svhn", True),
        ("ood.miss_increase@score=max_softmix,set=svhn", False),
        ("accuracy.drop@corruption=fgo,severity=1", False),
    ],
)
def test_names_of_data_are_the_users_and_others_are_known(tmp_path: Path, claim: str, sound: bool) -> None:
    head = 'format = "prune-audit/policy/1"\nid = "house/1"\nalpha = 0.05\n'
    source = written(tmp_path, DROP, criterion(claim, 5.0, "where_possible = true\n"), head=head)
    found = [problem.what for problem in check(source, real)]
    assert (found, sound) == ([], True) or (not sound and "names no claim" in found[0])


def problems(folder: Path, *parts: str, head: str = HEAD) -> list[str]:
    return [found.what for found in check(written(folder, *parts, head=head), ask, date(2030, 6, 1))]


def test_check_finds_nothing_in_a_valid_policy(tmp_path: Path) -> None:
    assert problems(tmp_path, criterion(WILD), DROP, waiver(), head=HEAD) == []


def test_check_finds_every_problem_at_once(tmp_path: Path) -> None:
    parts = [
        criterion("accuracy.drop", 100.0), criterion("accuracy.drop@noise=salt,level=*"),
        criterion(noisy("uniform", "2/255"), -100.0), '\n[lists]\nmild = ["2/255"]\n',
        waiver(expires="2030-05-31"), "\n[settings.nose]\ndraws = 1\n",
    ]  # fmt: skip
    found = problems(tmp_path, *parts, head=HEAD + 'checks = ["integrity", "accuracy", "noise", "nois"]\n')
    words = ("'nois'", "'nose'", "salt", "'mild'", "cannot fail", "cannot pass", "expired")
    assert [word for word in words if sum(word in problem for problem in found) != 1] == []
    assert len(found) == len(words)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "no criterion about the candidate is required"),
        ([criterion("accuracy.drop", more="required = false\n")], "no criterion about the candidate is required"),
        ([DROP, waiver()], "every required criterion is waived"),
    ],
)
def test_check_finds_a_policy_by_which_nothing_passes(tmp_path: Path, parts: list[str], words: str) -> None:
    (problem,) = problems(tmp_path, *parts)
    assert words in problem


def test_check_hands_on_what_the_checks_refuse(tmp_path: Path) -> None:
    source = written(tmp_path, DROP, '\n[settings.noise]\nno_such = "setting"\n')
    (problem,) = check(source, real)
    assert "no_such" in problem.what
    shown = show(preview(source, real))
    assert problem.what in shown
    assert row(shown, "accuracy.drop") == "accuracy.drop ≤ 2 points required"


def test_a_bare_name_is_the_newest_version() -> None:
    found = policy.available()
    for name in NAMES:
        assert found[name] == found[f"{name}/6"]
        assert len({found[f"{name}/{version}"] for version in (1, 2, 3, 4, 5)}) == 5


def plain(value: object) -> object:
    """TOML as JSON, which writes a date as a text."""
    return json.loads(json.dumps(value, default=date.isoformat))


@pytest.mark.parametrize("name", sorted(policy.available()))
def test_the_schema_accepts_the_built_in_policies(name: str) -> None:
    schema = PolicyFile.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(plain(tomllib.loads(policy.available()[name].read_text())), schema)


def test_the_schema_knows_dates_lists_and_waivers() -> None:
    schema = PolicyFile.model_json_schema()
    text = HEAD + DROP + waiver() + '\n[lists]\nmild = ["2/255"]\n'
    content = plain(tomllib.loads(text))
    strict = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    strict.validate(content)
    for wrong in ("2030-13-31", "soon", ""):
        with pytest.raises(jsonschema.ValidationError):
            strict.validate(json.loads(json.dumps(content).replace("2030-12-31", wrong)))


@pytest.mark.parametrize(
    ("name", "task", "meant"),
    [
        ("standard", TaskKind.SEGMENTATION, True),
        ("standard", TaskKind.REGRESSION, False),
        ("values", TaskKind.CONTROL, True),
        ("values", TaskKind.CLASSIFICATION, False),
    ],
)
def test_a_policy_is_for_its_tasks(name: str, task: TaskKind, meant: bool) -> None:
    source = policy.read(name, Path())
    checks = registry.load_all(source.file.checks, source.file.settings)
    asked = asking.ask(checks, Context(() if task is TaskKind.REGRESSION else GENERIC.classes, PAIR, task=task))
    if meant:
        possible = preparation.possible(Agreed(source, checks), asked.context)
        assert policy.bind(source, asked, None, possible=possible).id == source.file.id
        return
    with pytest.raises(AuditError, match=rf"{name}/\d' is for .*, not for {task}"):
        policy.bind(source, asked, None)


@pytest.mark.parametrize("name", sorted(policy.available()))
@pytest.mark.parametrize("roles", [PAIR, GENERIC.roles])
def test_built_in_policies_are_valid(name: str, roles: tuple[str, ...]) -> None:
    source = policy.read(name, Path())
    assert check(source, real) == ()
    checks = registry.load_all(source.file.checks, source.file.settings)
    for task in source.file.tasks or (TaskKind.CLASSIFICATION, TaskKind.SEGMENTATION):
        for classes in [()] if task is TaskKind.REGRESSION else [GENERIC.classes, ("stop", "go")]:
            asked = asking.ask(checks, Context(classes, roles, task=task))
            possible = preparation.possible(Agreed(source, checks), asked.context)
            record = policy.bind(source, asked, None, possible=possible)
            assert record.source == "built-in"


@pytest.mark.parametrize("name", NAMES)
def test_version_1_asks_what_it_asked(name: str) -> None:
    source = policy.read(f"{name}/1", Path())
    assert source.file.checks == ("integrity", "accuracy", "functional")
    claims = [entry.claim for entry in source.file.criterion]
    assert claims == ["accuracy.drop", "functional.excess_disagreement", "functional.softmax_l2"]
    assert all(probe.name == "clean" for probe in real(source).probes)


@pytest.mark.parametrize(("name", "limit"), [("screening", 3.0), ("standard", 2.0), ("strict", 1.0)])
def test_version_2_adds_noise_and_measures_again(name: str, limit: float) -> None:
    first, second = (preview(policy.read(f"{name}/{version}", Path()), real) for version in (1, 2))
    added = {line for line in diff(first, second) if not line.startswith("changed ")}
    required = f"≤ {limit:g} points, required where the reference holds"
    advisory = required.replace("required", "advisory")
    again = {"tighter  recheck_reused: 0 % → 2 %"} if name == "strict" else set()
    assert added == again | {
        f"added    accuracy.drop@level={level}/255,noise={noise}: {advisory if level == 16 else required}"
        for noise in ("uniform", "gaussian")
        for level in (2, 4, 8, 16)
    }
    assert {line.split(":")[0] for line in diff(first, second) if line.startswith("changed ")} == {
        "changed  checks", "changed  settings.noise.draws", "changed  settings.noise.gaussian",
        "changed  settings.noise.uniform",
    }  # fmt: skip


def test_a_stricter_built_in_policy_is_tighter_everywhere() -> None:
    order = [preview(policy.read(name, Path()), real) for name in NAMES]
    for loose, tight in itertools.pairwise(order):
        lines = diff(loose, tight)
        assert lines
        wider = (
            "changed  settings.corruption.severities", "added    accuracy.drop@corruption=",
            "changed  settings.adversarial.",
        )  # fmt: skip
        others = [line for line in lines if "times_chance" not in line and not line.startswith(wider)]
        assert all(line.startswith("tighter ") for line in others)


def test_a_file_cannot_take_the_name_of_a_built_in_policy(tmp_path: Path) -> None:
    for name in ("strict", "strict/1", "strict/2", "strict/3", "strict/4", "strict/5"):
        with pytest.raises(AuditError, match="name of a built-in policy"):
            written(tmp_path, DROP, head=HEAD.replace("house/1", name))
