"""Where the page's template, style and font lie: beside the package, in a checkout and when installed."""

import base64
from functools import cache
from pathlib import Path

import audit

FOLDER = Path(audit.__file__).parent.parent / "templates"
FONTS = {weight: FOLDER / "fonts" / f"AuditSans-{weight}.ttf" for weight in ("Regular", "Bold")}


@cache
def font_faces(*weights: str) -> str:
    """CSS that brings the font along, so that page and figure look the same on every machine."""
    return "".join(
        f'@font-face{{font-family:"Audit Sans";font-weight:{weight.lower().replace("regular", "normal")};'
        f"src:url(data:font/ttf;base64,{base64.b64encode(FONTS[weight].read_bytes()).decode()})}}"
        for weight in weights
    )
