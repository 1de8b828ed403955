"""The certificate as one HTML file: no script, no reference to anything outside it."""

import base64
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import JsonValue

from audit.evidence import Evidence, FindingRecord
from audit.records import DataRecord, RoleName
from audit.report import (
    attacks,
    cells,
    classes,
    curves,
    diagrams,
    exemplars,
    gradients,
    groups,
    heatmap,
    levels,
    losses,
    nearness,
    numbers,
    plots,
    printed,
    reliability,
    scopes,
    sentences,
    slices,
    templates,
    weights,
)
from audit.report.rows import MARKS, clean
from audit.report.view import certificate_number, grouped, issued, model, name, not_for_release, results
from audit.types import role_of

MOST_CLASSES = 200
MOST_WAIVED = 5
_ROLES: tuple[RoleName, ...] = ("candidate", "reference", "baseline", "origin")


def render(evidence: Evidence, pictures: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """The whole document; equal evidence gives equal text. `pictures` of listed items are PNG, by digest."""
    return _environment().get_template("certificate.html.j2").render(_context(evidence, pictures))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(templates.FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: clean(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _context(evidence: Evidence, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    found = results(evidence)
    total = len(found.drawn)
    panels = levels.panels(evidence)
    grids = cells.grids(evidence)
    overall = cells.overall(evidence) if grids else ()
    tabled = {point.finding.claim for panel in panels for _, points in panel.curves for point in points}
    under, calibration = attacks.told(evidence), reliability.told(evidence)
    by_class, by_slice = classes.told(evidence), slices.told(evidence)
    tabled |= {claim for part in (under, by_class, by_slice, calibration) if part for claim in part.claims}
    turned = exemplars.told(evidence, pictures)
    tabled |= turned.claims if turned else set()
    tabled |= {it.claim for it in overall} | {point.finding.claim for grid in grids for point in grid.points}
    told = tabled | {record.claim for record in evidence.body.decisions}
    return {
        "evidence": evidence,
        "body": evidence.body,
        "run": evidence.run,
        "number": certificate_number(evidence),
        "issued": issued(evidence),
        "results": found,
        "others": sorted((it for it in evidence.body.findings if it.claim not in told), key=_place),
        "metrics": _metrics(evidence),
        "models": [
            record for role in ("candidate", "reference", "baseline", "origin") if (record := model(evidence, role))
        ],
        "classes": _classes,
        "by_classes": _by_classes(evidence.body.data),
        "command": shlex.join(evidence.run.command),
        "confidence": numbers.percent(1 - evidence.body.policy.alpha),
        "not_for_release": not_for_release(evidence),
        "marks": MARKS,
        "name": name,
        "grouped": grouped,
        "json": _json,
        "numbers": numbers,
        "sentences": sentences,
        "style": (templates.FOLDER / "style.css").read_text(encoding="utf-8"),
        "font_faces": templates.font_faces(*templates.FONTS),
        "figure": _image(plots.forest(evidence)) if total else "",
        "curves": [_image(curves.draw(sheet)) for sheet in levels.sheets(panels)],
        "tabled": bool(tabled),
        "apart": " and of ".join(name for name, part in (("classes", by_class), ("slices", by_slice)) if part),
        "by_level": levels.heading(panels),
        "units": levels.units(panels),
        "nearer": nearness.told(evidence),
        "level_tables": levels.tables(panels),
        "grids": grids,
        "heatmap": _image(heatmap.draw(grids[0])) if grids else "",
        "most_lines": heatmap.MOST_LINES,
        "most_columns": heatmap.MOST_COLUMNS,
        "described": cells.described,
        "overall": overall,
        "cell_tables": cells.tables(grids),
        "weights": weights,
        "gradients": gradients,
        "layers": weights.layers(evidence),
        "losses": losses.steps(evidence),
        "under": under,
        "by_class": by_class,
        "class_map": _map(by_class, "class"),
        "by_slice": by_slice,
        "slice_map": _map(by_slice, "slice"),
        "most_notes": groups.MOST_NOTES,
        "calibration": calibration,
        "diagrams": _image(diagrams.draw(calibration.sides)) if calibration and calibration.sides else "",
        "printed": printed,
        "turned": turned,
        "most_waived": MOST_WAIVED,
        "drawn": min(total, plots.MOST_ROWS),
        "total": total,
    }


def _place(finding: FindingRecord) -> tuple[Any, ...]:
    """By metric, then by condition, levels by their value."""
    claim = scopes.parsed(finding.claim)
    return claim.metric, scopes.order(claim.scope)


def _map(section: classes.Classes | slices.Slices | None, group: str) -> str:
    if section is None or section.conditions is None:
        return ""
    return _image(heatmap.draw(section.conditions.grid, "condition", group))


def _image(svg: str) -> str:
    return base64.b64encode(svg.encode()).decode()


def _json(value: JsonValue) -> str:
    """A setting as one would write it; a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _metrics(evidence: Evidence) -> dict[str, FindingRecord]:
    """One finding for each metric, whatever its scopes, to tell its definition and its method."""
    named = {record.claim.partition("@")[0]: record for record in reversed(evidence.body.findings)}
    return dict(sorted(named.items()))


def _by_classes(data: Sequence[DataRecord]) -> list[tuple[str, DataRecord]]:
    """Data sets with classes; those with as many items in each of the same classes are named together, by role."""
    alike: dict[tuple[tuple[str, ...], tuple[int, ...]], list[DataRecord]] = {}
    for record in data:
        if record.classes:
            alike.setdefault((record.classes, record.per_class), []).append(record)
    return [
        (", ".join(dict.fromkeys(role_of(each.role) for each in same) if len(same) > 1 else [same[0].role]), same[0])
        for same in alike.values()
    ]


def _classes(data: DataRecord) -> Iterator[tuple[str, str]]:
    """Name and size of each class; of very many the first ones and how many more there are."""
    for label, size in list(zip(data.classes, data.per_class, strict=False))[:MOST_CLASSES]:
        yield label, numbers.count(size)
    if len(data.classes) > MOST_CLASSES:
        yield "and", f"{numbers.count(len(data.classes) - MOST_CLASSES)} more classes"
