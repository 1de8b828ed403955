"""Numbers as the certificate prints them."""

from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_DIGITS = {"%": 2, "points": 2, "items": 0, "layers": 0}
_MOST_DIGITS = 8
_SAME = 1e-9  # 0.029 × 100 is 2.9000000000000004, and 0.3 − 0.1 × 3 is not 0


def decimals(unit: str, limit: float, values: Iterable[float | None]) -> int:
    """Digits after the point that keep each value on its own side of the limit.

    A bound of 1.0004 against a limit of 1 must not print as 1.00: the verdict would look wrong.
    """
    apart = [value for value in values if value is not None and abs(value - limit) > _SAME]
    for digits in range(_DIGITS.get(unit, 4), _MOST_DIGITS):
        printed = round(limit, digits)
        if abs(printed - limit) <= _SAME and all(round(value, digits) != printed for value in apart):
            return digits
    return _MOST_DIGITS


def measured(value: float | None, unit: str) -> str:
    """A value that no limit is set on, in the digits of its unit; one that is not zero never prints as zero.

    >>> measured(0.0881, "distance"), measured(0.0004, "%"), measured(None, "%")
    ('0.0881', '0.0004', '–')
    """
    if value is None:
        return "–"
    digits = _DIGITS.get(unit, 4)
    while abs(value) > _SAME and round(value, digits) == 0 and digits < _MOST_DIGITS:
        digits += 1
    return decimal(value, digits)


def bounds(lower: float | None, upper: float | None, unit: str) -> str:
    """Both bounds in brackets, a dash for one that a method has not; empty where it has none.

    >>> bounds(0.25, None, "points"), bounds(None, None, "%")
    ('[0.25, –]', '')
    """
    return "" if lower is upper is None else f"[{measured(lower, unit)}, {measured(upper, unit)}]"


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """Fixed-point text with a true minus sign and grouped thousands; zero has no sign.

    >>> decimal(-1234.5, 2), decimal(0.5, 1, signed=True), decimal(-0.001, 2)
    ('−1,234.50', '+0.5', '0.00')
    """
    rounded = round(value, digits)
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"


def limit(value: float, unit: str) -> str:
    """A limit in as few digits as say it exactly, with its unit after a no-break space.

    >>> limit(1.0, "points").split(), limit(0.125, "distance"), limit(98.5, "%").split()
    (['1', 'point'], '0.125', ['98.5', '%'])
    """
    text = f"{abs(value):,.10f}".rstrip("0").rstrip(".")
    return with_unit(f"{MINUS if value < 0 else ''}{text}", unit)


def with_unit(text: str, unit: str) -> str:
    """A printed number and its unit; a distance has none."""
    if unit == "distance":
        return text
    plural = text.lstrip(f"+{MINUS}") != "1" or unit == "%"
    return f"{text}{_SPACE}{unit if plural else unit.removesuffix('s')}"


def count(number: int) -> str:
    """A whole number with grouped thousands."""
    return f"{number:,}"


def p_value(p: float | None) -> str:
    """Two significant digits, never rounded down to zero.

    >>> p_value(0.0312), p_value(3e-9), p_value(1.0), p_value(None)
    ('0.031', '< 0.0001', '1', '–')
    """
    if p is None:
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def rough(number: int) -> str:
    """A forecast in two digits, which is more than it knows.

    >>> rough(8123), rough(47), rough(1_250_000)
    ('8,100', '47', '1,200,000')
    """
    return f"{float(f'{number:.2g}'):,.0f}"


def percent(fraction: float) -> str:
    """A share as a percentage in as few digits as say it.

    >>> percent(0.05).split(), percent(1 - 0.025).split()
    (['5', '%'], ['97.5', '%'])
    """
    return with_unit(f"{round(100 * fraction, 10):g}", "%")


def share(part: int, whole: int) -> str:
    """`part` of `whole` as a percentage, without calling a remainder of a few 'none' or 'all'.

    >>> share(1, 3), share(0, 5), share(9_999_999, 10_000_000), share(0, 0)
    ('33.33 %', '0 %', '> 99.99 %', 'not applicable')
    """
    if whole == 0:
        return "not applicable"
    if part in (0, whole):
        return "0 %" if part == 0 else "100 %"
    hundredths = 10_000 * part / whole
    if hundredths < 1 or hundredths > 9_999:
        return "< 0.01 %" if hundredths < 1 else "> 99.99 %"
    return f"{hundredths / 100:.2f} %"


def size(number: int) -> str:
    """Bytes, exact and in the decimal prefix that reads best.

    >>> size(1_234_567), size(999)
    ('1.23 MB (1,234,567 bytes)', '999 bytes')
    """
    for prefix, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= factor:
            return f"{number / factor:.2f} {prefix}B ({number:,} bytes)"
    return f"{number:,} bytes"


def groups(hexadecimal: str, width: int = 4) -> str:
    """Hex digits in blocks, as a person reads them out."""
    return " ".join(hexadecimal[at : at + width] for at in range(0, len(hexadecimal), width))
