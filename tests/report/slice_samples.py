"""Audits that look at slices of the items: by value, by pair of values, and under conditions."""

from collections.abc import Mapping, Sequence
from itertools import product

from class_samples import added, finding, limited
from report_samples import WITHIN, build

from audit import evidence as ev
from audit import records
from audit.types import scope_value

Values = Mapping[str, Sequence[str]]
SITES, WEATHERS = ("depot", "north", "south"), ("dry", "rain", "snow, heavy")
ATTRIBUTES: Values = {"site": SITES, "weather": WEATHERS}


def scope(**values: str) -> dict[str, str]:
    """The scope of the items that have all of these values."""
    return scope_of(values)


def scope_of(values: Mapping[str, str]) -> dict[str, str]:
    """The same for attributes whatever they are called."""
    return {"attribute": "+".join(map(scope_value, values)), "value": "+".join(map(scope_value, values.values()))}


def of_slice(values: Mapping[str, str], before: float | None, now: float, n: int = 1000) -> list[ev.FindingRecord]:
    """Everything that is found of a slice on clean data; without an accuracy before, that it has no item."""
    own = {**scope_of(values), "n": n}
    if before is None:
        why = f"no item of these has {','.join(f'{key}={value}' for key, value in scope_of(values).items())}"
        gone = {**scope_of(values), "why": why, "reason": "empty-slice"}
        each = [finding("slices", metric, None, **gone) for metric in ("accuracy_drop", "negative_flips")]
        return each + [finding("slices", "accuracy", None, role=role, **gone) for role in ("reference", "candidate")]
    changes = {"accuracy_drop": before - now, "negative_flips": max(before - now, 0.0), "positive_flips": 0.5}
    return [
        *(finding("slices", metric, value, **own) for metric, value in changes.items()),
        *(finding("slices", "accuracy", value, role=role, **own)
          for role, value in (("reference", before), ("candidate", now))),
    ]  # fmt: skip


def under(values: Mapping[str, str], loss: float | None, why: str = "", **condition: str) -> ev.FindingRecord:
    """What is found of a slice under a condition."""
    return finding("slices", "accuracy_drop", loss, why=why, **scope_of(values), **condition)


def described(evidence: ev.Evidence, attributes: Values) -> ev.Evidence:
    """The evidence of test items of which this is said; not sealed."""
    said = tuple(
        records.AttributeRecord(name=name, values=tuple(values), items=(1000,) * len(values), sha256="5e" * 32)
        for name, values in attributes.items()
    )
    data = (evidence.body.data[0].model_copy(update={"attributes": said}),)
    return evidence.model_copy(update={"body": evidence.body.model_copy(update={"data": data})})


def of_slices() -> ev.Evidence:
    """Two attributes: a value that fails, one that is empty, pairs of which one is not evaluated, conditions."""
    rain, north_rain = {"weather": "rain"}, {"site": "north", "weather": "rain"}
    limits = (
        limited("slices", "accuracy_drop", 3.0, 8.5, **scope(weather="rain")),
        limited("slices", "accuracy_drop", 3.0, 0.5, **scope(weather="dry")),
        limited("slices", "accuracy_drop", 3.0, None, reason="reference-floor", why="the reference does not work there",
                **scope(**north_rain)),
        limited("slices", "accuracy_drop", 5.0, 12.0, corruption="fog", severity="3", **scope(**rain)),
        limited("slices", "small_crossings", 1.0, 2.0, 0.0, attribute="site+weather"),
    )  # fmt: skip
    found = [each for value, (before, now) in {"dry": (95.0, 94.5), "rain": (94.0, 85.5)}.items()
             for each in of_slice({"weather": value}, before, now)]  # fmt: skip
    found += of_slice({"weather": WEATHERS[2]}, None, 0.0)
    found += [each for place, site in enumerate(SITES) for each in of_slice({"site": site}, 93.0, 92.0 - place)]
    pairs = [pair for pair in product(SITES, WEATHERS[:2]) if pair != ("south", "rain")]
    found += [each for place, (site, weather) in enumerate(pairs)
              for each in of_slice({"site": site, "weather": weather}, 92.0, 92.5 - place, n=300)]  # fmt: skip
    singles = [*({"site": site} for site in SITES), *({"weather": weather} for weather in WEATHERS[:2])]
    found += [under(values, place / 2 + level / 8, level=f"{level}/255", noise="uniform")
              for place, values in enumerate(singles) for level in (4, 8)]  # fmt: skip
    found += [under(values, place / 3, corruption="fog", severity=str(severity))
              for place, values in enumerate(singles) for severity in (3, 5)]  # fmt: skip
    found += [finding("slices", "worst_drop", 8.5, 0.0)]
    return added(described(build((*WITHIN[:2], *limits), others=0), ATTRIBUTES), found)
