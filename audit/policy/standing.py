"""The criteria of every policy: no file can remove, loosen or waive them."""

from typing import Literal

from audit.contracts import Context
from audit.evidence import CriterionRecord
from audit.types import PAIR, Claim, Role, TaskKind, Unit

FLOOR = Claim("reference.accuracy")
INTEGRITY = "integrity."
"""How the metrics begin that say whether the measurements can be trusted."""


def criteria(context: Context, floor: float) -> tuple[CriterionRecord, ...]:
    """The standing criteria of an audit; `floor` is a fraction. Where there are no classes, none can be empty.

    An origin is held to nothing: it neither ships nor is anybody's yard-stick, and only claims about it rest on it.
    """
    classes = [_standing(f"{INTEGRITY}empty_classes", 0, Unit.ITEMS, "nothing can be said about a class without items")]
    return (
        *(_standing(f"{INTEGRITY}nonfinite@role={role}", 0, Unit.ITEMS, "an output that is no number is no decision")
          for role in (*PAIR, *({Role.BASELINE} & {*context.roles}))),
        *(classes if context.classes else ()),
        _standing(f"{INTEGRITY}duplicates", 0.1, Unit.PERCENT, "copies of an item are no further evidence"),
        *(_standing(f"{INTEGRITY}near_ties@role={role}", 1.0, Unit.PERCENT,
                    "a decision closer than the rounding of the runtime is decided by the machine")
          for role in (() if context.task is TaskKind.REGRESSION else PAIR)),
        _standing(FLOOR.id, floor * 100, Unit.PERCENT,
                  "a drop from a reference that does not work itself proves nothing", sense="at_least"),
    )  # fmt: skip


def _standing(
    claim: str, limit: float, unit: Unit, why: str, *, sense: Literal["at_most", "at_least"] = "at_most"
) -> CriterionRecord:
    return CriterionRecord(claim=claim, sense=sense, limit=limit, unit=unit, required=True, standing=True, why=why)
