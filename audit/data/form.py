"""What an audit file says of the form of its data, whatever holds them."""

from dataclasses import dataclass, field

from audit.data.targets import Targets

Ends = float | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Form:
    """What belongs to the items, and the bounds of their features where they are no images; None where not said."""

    targets: Targets = field(default_factory=Targets)
    low: Ends = None
    high: Ends = None


IMAGES = Form()
"""Labelled images."""
