"""What a policy is bound to: standing criteria, waivers, checks and settings, and the digest of its meaning."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import policy
from audit.errors import AuditError
from audit.evidence import PolicyRecord
from audit.types import PAIR, Claim, Role, Unit
from tests.policies import HEAD, INTEGRITY, Plan, criterion, noisy, waiver, written

DROP = criterion("accuracy.drop")
TODAY = date(2030, 6, 1)


def bound(folder: Path, *parts: str, plan: Plan | None = None, head: str = HEAD, today: date = TODAY) -> PolicyRecord:
    return policy.bind(written(folder, *parts, head=head), (plan or Plan()).asked(), None, today)


def refusal(folder: Path, *parts: str, plan: Plan | None = None, head: str = HEAD) -> str:
    with pytest.raises(AuditError) as caught:
        bound(folder, *parts, plan=plan, head=head)
    return str(caught.value)


def test_standing_criteria_are_in_every_policy(tmp_path: Path) -> None:
    standing = {found.claim: found for found in bound(tmp_path, DROP).criteria if found.standing}
    assert set(standing) == {
        "integrity.nonfinite@role=reference", "integrity.nonfinite@role=candidate", "integrity.empty_classes",
        "integrity.duplicates", "integrity.near_ties@role=reference", "integrity.near_ties@role=candidate",
        "reference.accuracy",
    }  # fmt: skip
    assert all(found.required for found in standing.values())
    ties = standing["integrity.near_ties@role=candidate"]
    assert (ties.sense, ties.limit, ties.unit) == ("at_most", 1.0, Unit.PERCENT)


def test_a_baseline_is_held_to_numbers_too(tmp_path: Path) -> None:
    three = Plan(roles=tuple(Role))
    claim = "integrity.nonfinite@role=baseline"
    assert claim in {found.claim for found in bound(tmp_path, DROP, plan=three).criteria if found.standing}
    assert claim in refusal(tmp_path, DROP, plan=replace(three, without=frozenset({claim})))


@pytest.mark.parametrize(
    "claim",
    ["integrity.duplicates", "integrity.nonfinite@role=reference", "integrity.near_ties@role=candidate"],
)
def test_without_a_standing_claim_nothing_is_bound(tmp_path: Path, claim: str) -> None:
    message = refusal(tmp_path, DROP, plan=Plan(without=frozenset({claim})))
    assert f"measures {claim}, which every policy limits" in message


def test_a_check_that_measures_a_standing_claim_otherwise_is_refused(tmp_path: Path) -> None:
    other = tuple(replace(m, unit=Unit.ITEMS) if m.name == "integrity.near_ties" else m for m in INTEGRITY)
    assert "is measured in items by a check" in refusal(tmp_path, DROP, plan=Plan(integrity=other))


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ('reference.accuracy"\nat_least = 99.0\nunit = "%"\n#', "it is set by [reference_floor]"),
        ('integrity.duplicates"\nat_most = 50.0\nunit = "%"\n#', "it is limited by every policy already"),
        ('integrity.nonfinite@role=*"\nat_most = 50.0\nunit = "items"\n#', "it is limited by every policy already"),
    ],
)
def test_no_file_sets_a_standing_limit(tmp_path: Path, claim: str, words: str) -> None:
    own = f'\n[[criterion]]\nclaim = "{claim}"\n'
    assert words in refusal(tmp_path, DROP, own)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([criterion("accuracy.drop", 100.0)], ("policy.toml:7", "cannot fail")),
        ([criterion("accuracy.drop", -100.0)], ("policy.toml:7", "cannot pass")),
        ([DROP.replace("points", "%")], ("policy.toml:8", "is in points, not in %")),
        ([DROP.replace("at_most", "at_least")], ("policy.toml:6", "Write at_most")),
        ([DROP, DROP.replace("at_most", "at_mots")], ("policy.toml:12", "'criterion.1.at_mots'", "'at_most'")),
        ([DROP, DROP.replace("at_most = 2.0", "")], ("policy.toml:10", "exactly one of at_most and at_least")),
        ([criterion("accuracy.drop@level")], ("policy.toml:6", "key=value")),
        ([DROP, "\n[reference_floor]\nelsewhere = 0\n"], ("policy.toml:11", "elsewhere")),
        ([DROP, "\n[reference_floor]\nelsewhere = 101\n"], ("policy.toml:11", "elsewhere")),
    ],
)
def test_a_limit_that_means_nothing_is_refused_with_its_line(
    tmp_path: Path, parts: list[str], words: tuple[str, ...]
) -> None:
    message = refusal(tmp_path, *parts)
    for word in words:
        assert word in message


def test_a_limit_is_in_its_unit(tmp_path: Path) -> None:
    record = bound(tmp_path, criterion("accuracy.drop", -50.0))
    assert next(found for found in policy.rules(record).criteria if not found.standing).limit == -0.5


def test_an_entry_without_a_table_of_its_own_has_no_line(tmp_path: Path) -> None:
    inline = 'criterion = [{claim = "accuracy.dorp", at_most = 1, unit = "points"}]\n'
    assert refusal(tmp_path, inline).startswith("policy.toml: criterion 'accuracy.dorp' names no claim")


def test_a_policy_without_the_checks_that_every_policy_needs_is_refused(tmp_path: Path) -> None:
    absent = frozenset({"integrity.duplicates", "integrity.empty_classes"})
    message = refusal(tmp_path, DROP, plan=Plan(without=absent), head=HEAD + CHECKS)
    assert "policy.toml:4: no check that runs measures integrity.empty_classes, integrity.duplicates, which" in message


def test_rules_are_fractions(tmp_path: Path) -> None:
    floor = "\n[reference_floor]\nclean = 60.0\nelsewhere = 40.0\n"
    more = "only_where_reference_holds = true\nrequired = false\n"
    record = bound(tmp_path, DROP, criterion(noisy("uniform", "2/255"), 3.0, more), floor, waiver())
    rules = policy.rules(record)
    assert (rules.floor, rules.floor_share) == (0.6, 0.4)
    own = {found.claim.id: found for found in rules.criteria if not found.standing}
    drop, noise = own["accuracy.drop"], own[noisy("uniform", "2/255")]
    assert (drop.limit, drop.required, drop.only_where_reference_holds, drop.waived) == (0.02, True, False, True)
    assert (noise.limit, noise.required, noise.only_where_reference_holds, noise.waived) == (0.03, False, True, False)
    assert not any(found.waived for found in rules.criteria if found.standing)


def test_a_waiver_is_for_one_claim_of_a_wildcard(tmp_path: Path) -> None:
    claim = "accuracy.drop@noise=gaussian,level=2/255"
    record = bound(tmp_path, criterion("accuracy.drop@noise=*,level=*"), waiver(claim))
    assert [found.claim.id for found in policy.rules(record).criteria if found.waived] == [Claim.parse(claim).id]
    (found,) = record.waivers
    assert (found.id, found.by, found.expires) == ("W-1", "Release Board", "2030-12-31")


ADVISORY = criterion("accuracy.drop", more="required = false\n")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([DROP, waiver("accuracy.dorp")], ("policy.toml:11", "names no criterion", "Did you mean 'accuracy.drop'")),
        ([DROP, waiver(noisy("uniform", "2/255"))], ("policy.toml:11", "names no criterion")),
        ([DROP, waiver("accuracy.drop@noise=*")], ("policy.toml:11", "write its claim out")),
        ([DROP, waiver("accuracy.drop@noise=$mild")], ("policy.toml:11", "write its claim out")),
        ([DROP, waiver("integrity.duplicates")], ("policy.toml:11", "cannot be waived")),
        ([DROP, waiver("integrity.nonfinite@role=candidate")], ("policy.toml:11", "cannot be waived")),
        ([DROP, waiver("integrity.near_ties@role=reference")], ("policy.toml:11", "cannot be waived")),
        ([DROP, waiver("reference.accuracy")], ("policy.toml:11", "cannot be waived")),
        ([ADVISORY, waiver()], ("policy.toml:12", "is advisory")),
        ([DROP, waiver(), waiver(id='"W-2"')], ("two waivers have the claim 'accuracy.drop'",)),
        (
            [DROP, criterion(noisy("uniform", "2/255")), waiver(), waiver(noisy("uniform", "2/255"))],
            ("two waivers have the id 'W-1'",),
        ),
        ([DROP, waiver(expires="2030-05-31")], ("policy.toml:11", "'W-1' expired on 2030-05-31", "Renew it")),
        ([DROP, waiver(reason='" "')], ("policy.toml:13", "reason")),
        ([DROP, waiver(by='""')], ("policy.toml:14", "by")),
        ([DROP, waiver(id='""')], ("policy.toml:12", "id")),
        ([DROP, waiver(expires='"tomorrow"')], ("policy.toml:15", "expires")),
        ([DROP, waiver(expires="2030-12-31T12:00:00")], ("2030-12-31 12:00:00 is a datetime",)),
        ([DROP, waiver(expires="20301231")], ("policy.toml:15", "expires")),
        ([DROP, waiver(reason="2030-12-31")], ("2030-12-31 is a date",)),
    ],
)
def test_a_waiver_that_cannot_count_is_refused(tmp_path: Path, parts: list[str], words: tuple[str, ...]) -> None:
    message = refusal(tmp_path, *parts)
    for word in words:
        assert word in message


def test_an_integrity_claim_of_the_file_s_own_cannot_be_waived_either(tmp_path: Path) -> None:
    three = Plan(roles=tuple(Role))
    claim = "integrity.near_ties@role=baseline"
    own = criterion(claim).replace("points", "%")
    assert claim in {found.claim for found in bound(tmp_path, DROP, own, plan=three).criteria}
    assert "cannot be waived" in refusal(tmp_path, DROP, own, waiver(claim), plan=three)


def test_a_waiver_counts_on_its_last_day(tmp_path: Path) -> None:
    source = written(tmp_path, DROP, waiver(expires="2030-05-31"))
    asked = Plan().asked()
    assert policy.bind(source, asked, None, date(2030, 5, 31)).waivers
    with pytest.raises(AuditError, match="expired"):
        policy.bind(source, asked, None, date(2030, 6, 1))


def test_today_is_today(tmp_path: Path) -> None:
    asked = Plan().asked()
    now = datetime.now(UTC).date()
    later, earlier = (now + timedelta(days=days) for days in (3, -3))
    assert policy.bind(written(tmp_path, DROP, waiver(expires=str(later))), asked, None).waivers
    with pytest.raises(AuditError, match="expired"):
        policy.bind(written(tmp_path, DROP, waiver(expires=str(earlier))), asked, None)


CHECKS = 'checks = ["integrity", "accuracy", "noise"]\n'
SETTINGS = '\n[settings.noise]\nuniform = [2, 4]\ndraws = 1\nname = "a"\nflag = true\n'


def test_checks_and_settings_are_carried(tmp_path: Path) -> None:
    record = bound(tmp_path, DROP, SETTINGS, head=HEAD + CHECKS)
    assert record.checks == ("integrity", "accuracy", "noise")
    assert record.settings == {"noise": {"uniform": [2, 4], "draws": 1, "name": "a", "flag": True}}
    assert (bound(tmp_path, DROP).checks, bound(tmp_path, DROP).settings) == (None, {})
    again = PolicyRecord.model_validate_json(record.model_dump_json())
    assert again == record


@pytest.mark.parametrize(
    ("head", "parts", "words"),
    [
        ('checks = ["nois", "integrity"]\n', [DROP], ("policy.toml:4", "named 'nois'", "Did you mean 'noise'")),
        ("checks = []\n", [DROP], ("policy.toml:4", "checks")),
        ('checks = ["noise", "noise"]\n', [DROP], ("policy.toml:4", "names a check twice")),
        ("", [DROP, "\n[settings.nois]\ndraws = 1\n"], ("policy.toml:10", "'nois'", "Did you mean 'noise'")),
        (
            'checks = ["integrity", "accuracy"]\n',
            [DROP, SETTINGS],
            ("policy.toml:11", "settings for 'noise', which is no check that runs"),
        ),
        ("", [DROP, "\n[settings.noise]\nsince = 2030-01-01\n"], ("2030-01-01 is a date",)),
        ("", [DROP, f"\n[settings.noise]\ndraws = {2**60}\n"], ("settings",)),
        ("", [DROP, "\n[settings.noise]\nlevel = nan\n"], ("settings",)),
        ("", [DROP, "\n[settings.noise]\nlevel = [inf]\n"], ("settings",)),
        ("settings = 3\n", [DROP], ("policy.toml:4", "settings")),
    ],
)
def test_checks_and_settings_that_nobody_knows_are_refused(
    tmp_path: Path, head: str, parts: list[str], words: tuple[str, ...]
) -> None:
    message = refusal(tmp_path, *parts, head=HEAD + head)
    for word in words:
        assert word in message


VARIANTS = {
    "base": (HEAD, (DROP, waiver())),
    "alpha": (HEAD.replace("0.05", "0.04"), (DROP, waiver())),
    "accept": (HEAD + 'accept = ["PASS", "CONDITIONAL PASS"]\n', (DROP, waiver())),
    "limit": (HEAD, (criterion("accuracy.drop", 2.5), waiver())),
    "advisory": (HEAD, (criterion("accuracy.drop", more="required = false\n"),)),
    "holds": (HEAD, (criterion("accuracy.drop", more="only_where_reference_holds = true\n"), waiver())),
    "one more": (HEAD, (DROP, criterion(noisy("uniform", "2/255")), waiver())),
    "floor": (HEAD, (DROP, waiver(), "\n[reference_floor]\nclean = 71\n")),
    "elsewhere": (HEAD, (DROP, waiver(), "\n[reference_floor]\nelsewhere = 51\n")),
    "checks": (HEAD + CHECKS, (DROP, waiver())),
    "settings": (HEAD, (DROP, waiver(), SETTINGS)),
    "other settings": (HEAD, (DROP, waiver(), SETTINGS.replace("draws = 1", "draws = 2"))),
    "no waiver": (HEAD, (DROP,)),
    "waiver's id": (HEAD, (DROP, waiver(id='"W-2"'))),
    "waiver's end": (HEAD, (DROP, waiver(expires="2031-12-31"))),
}


def test_whatever_changes_a_verdict_changes_the_digest(tmp_path: Path) -> None:
    digests = {name: bound(tmp_path, *parts, head=head).sha256 for name, (head, parts) in VARIANTS.items()}
    assert len(set(digests.values())) == len(VARIANTS)


@pytest.mark.parametrize(
    "parts",
    [
        (DROP + 'why = "house rule"\n', waiver()),
        ("# a comment\n", DROP, waiver()),
        (waiver(), DROP),
        (DROP, waiver(reason='"for another reason"', by='"somebody else"')),
        (DROP, waiver(), "\n[reference_floor]\nclean = 70\nelsewhere = 50\n"),
    ],
    ids=["why", "comment", "order", "waiver's reason", "defaults written out"],
)
def test_what_changes_no_verdict_changes_no_digest(tmp_path: Path, parts: tuple[str, ...]) -> None:
    assert bound(tmp_path, *parts).sha256 == bound(tmp_path, DROP, waiver()).sha256


@given(st.permutations(["integrity", "accuracy", "noise"]))
def test_the_order_of_the_checks_means_nothing(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("policy")
    listed = "checks = [" + ", ".join(f'"{name}"' for name in names) + "]\n"
    assert bound(folder, DROP, head=HEAD + listed).sha256 == bound(folder, DROP, head=HEAD + CHECKS).sha256


def test_the_two_roles_of_every_audit_are_enough(tmp_path: Path) -> None:
    assert {c.claim for c in bound(tmp_path, DROP, plan=Plan(roles=PAIR)).criteria} == {
        c.claim for c in bound(tmp_path, DROP, plan=Plan(roles=tuple(Role))).criteria
    } - {"integrity.nonfinite@role=baseline"}
