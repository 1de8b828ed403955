"""Make AuditSans-Regular.ttf and AuditSans-Bold.ttf from Inter 3.019: `python subset.py FOLDER_OF_INTER_OTF`.

Latin and the symbols of the certificate; outlines converted from cubic to quadratic; the verdict glyphs ✕ and
◐, which Inter lacks, drawn in; a name of its own, so that an installed Inter is never taken for it.
"""

import math
import sys
from pathlib import Path

from fontTools import subset
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._g_l_y_f import Glyph

Contour = list[tuple[float, float]]

LATIN = [*range(0x20, 0x7F), *range(0xA0, 0x100)]
OWN_WORDS = "–—‘’“”•…−≤≥αε●○▲\u2010\u2011"
ANY_WORDS = "".join(map(chr, [*range(0x100, 0x180), *range(0x3B1, 0x3CA)])) + (
    "ΓΔΘΛΠΣΦΨΩ‹›€×≈≠±∞√∑∅‖ℓ→←↑↓△■□◆◇†‡✓⚠▶◀⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉"
)
# Names from outside are never set in bold.
STYLES = {"Regular": ("Regular", 400, OWN_WORDS + ANY_WORDS), "SemiBold": ("Bold", 700, OWN_WORDS)}
NAMES = {1: "Audit Sans", 2: "{}", 3: "Audit Sans {}", 4: "Audit Sans {}", 6: "AuditSans-{}"}
KEPT_NAMES = (0, 5, 13, 14)


def build(source: Path, style: str, weight: int, symbols: str) -> TTFont:
    options = subset.Options(layout_features=["kern", "tnum", "zero", "mark", "ccmp"], hinting=False)
    options.desubroutinize = options.notdef_outline = True
    options.name_IDs = list(KEPT_NAMES)
    font = subset.load_font(str(source), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[*LATIN, *map(ord, symbols)])
    subsetter.subset(font)
    make_quadratic(font)
    add_verdict_glyphs(font)
    for number, text in NAMES.items():
        font["name"].setName(text.format(style), number, 3, 1, 0x409)
    font["OS/2"].usWeightClass = weight
    font.recalcBBoxes, font.recalcTimestamp = True, False
    return font


def make_quadratic(font: TTFont) -> None:
    """CFF outlines to TrueType ones, to 1/500 em: half the size, and every PDF writer takes them."""
    glyphs, order, drawn = font.getGlyphSet(), font.getGlyphOrder(), {}
    for name in order:
        pen = TTGlyphPen(None)
        glyphs[name].draw(Cu2QuPen(pen, font["head"].unitsPerEm / 500, reverse_direction=True))
        drawn[name] = pen.glyph()
        drawn[name].recalcBounds(None)
    font["loca"], font["glyf"] = newTable("loca"), newTable("glyf")
    font["glyf"].glyphOrder, font["glyf"].glyphs = order, drawn
    font["hmtx"].metrics = {name: (font["hmtx"][name][0], getattr(drawn[name], "xMin", 0)) for name in order}
    font["maxp"].tableVersion = 0x00010000
    zeros = "TwilightPoints Storage FunctionDefs InstructionDefs StackElements SizeOfInstructions ComponentElements"
    for field in zeros.split():
        setattr(font["maxp"], f"max{field}", 0)
    font["maxp"].maxZones = 1
    font["post"].formatType = 3.0
    for table in {"CFF ", "VORG"} & set(font.keys()):
        del font[table]
    font.sfntVersion = "\000\001\000\000"


def add_verdict_glyphs(font: TTFont) -> None:
    """✕ and ◐ in the box of the disc ●."""
    like = font.getBestCmap()[ord("●")]
    disc = font["glyf"][like]
    radius = (disc.xMax - disc.xMin) / 2
    arm, width = 0.92 * radius, 0.26 * radius
    corner = [(-arm, arm - width), (width - arm, arm), (0.0, width)]
    cross: Contour = []
    for _ in range(4):
        cross += corner
        corner = [(y, -x) for x, y in corner]
    half = arc(radius, 90, 270)[::-1]
    ring = [*arc(radius, -90, 90)[::-1], *arc(0.8 * radius, -90, 90)]
    for char, contours in (("✕", [cross]), ("◐", [half, ring])):
        pen = TTGlyphPen(None)
        for contour in contours:
            points = [
                (round((disc.xMin + disc.xMax) / 2 + x), round((disc.yMin + disc.yMax) / 2 + y)) for x, y in contour
            ]
            pen.moveTo(points[0])
            for point in points[1:]:
                pen.lineTo(point)
            pen.closePath()
        add(font, char, pen.glyph(), font["hmtx"][like][0])


def arc(radius: float, start: float, stop: float, steps: int = 48) -> Contour:
    """Points on a circle about the origin, angles in degrees."""
    angles = [math.radians(start + (stop - start) * step / steps) for step in range(steps + 1)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def add(font: TTFont, char: str, glyph: Glyph, advance: int) -> None:
    name = f"uni{ord(char):04X}"
    font.setGlyphOrder([*font.getGlyphOrder(), name])
    font["glyf"][name] = glyph
    glyph.recalcBounds(font["glyf"])
    font["hmtx"][name] = (advance, glyph.xMin)
    for table in font["cmap"].tables:
        if table.isUnicode():
            table.cmap[ord(char)] = name


if __name__ == "__main__":
    for inter, (style, weight, symbols) in STYLES.items():
        font = build(Path(sys.argv[1]) / f"Inter-{inter}.otf", style, weight, symbols)
        font.save(Path(__file__).with_name(f"AuditSans-{style}.ttf"))
