"""Pictures of figures as SVG: no script, nothing fetched, colours from the page's own style.

They are made of numbers and of our own short words alone, so the page takes them as they are. Beside each stands
a table with the same numbers, so they say nothing to a screen reader.
"""

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

_WIDE, _HIGH = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 16, 24
_MOST_LABELS = 7
_HIDDEN = 'aria-hidden="true" focusable="false"'


def columns(values: Sequence[tuple[str, int]]) -> Markup:
    """One column for each (label, count), in order; some of the labels stand below."""
    top = _ceiling(max((count for _, count in values), default=0))
    every = -(-len(values) // _MOST_LABELS) or 1
    width = (_WIDE - _LEFT - _RIGHT) / max(len(values), 1)
    drawn = [_scale(top)]
    for place, (label, count) in enumerate(values):
        x = _LEFT + place * width
        drawn.append(_column(x, width, count / top, "fill"))
        if place % every == 0:
            drawn.append(_text(x + width / 2, _HIGH - 6, label, "middle"))
    return _picture("".join(drawn))


def spread(days: Mapping[int, int], limit: int, limit_words: str, *, longest: int) -> Markup:
    """Answers by days, with a line at ``limit``; columns behind it are hatched, the last takes all that is later."""
    counts = [days.get(day, 0) for day in range(longest)] + [sum(n for day, n in days.items() if day >= longest)]
    top = _ceiling(max(counts))
    width = (_WIDE - _LEFT - _RIGHT) / len(counts)
    drawn = [_scale(top)]
    for day, count in enumerate(counts):
        x = _LEFT + day * width
        drawn.append(_column(x, width, count / top, "late" if day > limit else "fill"))
        if day % 7 == 0:
            later = "+" if day == longest else ""
            drawn.append(_text(x + width / 2, _HIGH - 6, f"{day}{later}", "middle"))
    x = _LEFT + (limit + 1) * width
    drawn.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 14}" y2="{_HIGH - _BOTTOM}"/>')
    drawn.append(_text(x - 5, _TOP - 4, limit_words, "end"))
    return _picture("".join(drawn))


def bar(count: int, late: int, most: int) -> Markup:
    """A bar as long as ``count`` is to ``most``; ``late`` of it is hatched."""
    whole, behind = (100 * min(value / most, 1.0) if most else 0.0 for value in (count, late))
    return _drawn(
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" {_HIDDEN}>'
        f'<rect class="rail" width="100" height="10"/><rect class="fill" width="{whole:.2f}" height="10"/>'
        f'<rect class="late" width="{behind:.2f}" height="10"/></svg>'
    )


def patterns() -> Markup:
    """What hatches columns and bars: once on a page that has any."""
    return _drawn(
        f'<svg class="patterns" width="0" height="0" {_HIDDEN}><defs>'
        '<pattern id="snett" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="hatch-ground" width="6" height="6"/><rect class="hatch" width="3" height="6"/>'
        "</pattern></defs></svg>"
    )


def _ceiling(most: int) -> int:
    """The smallest round number that is not below ``most``: 1, 2, 4, 5 or 8 and zeros."""
    power = 1
    while True:
        for first in (1, 2, 4, 5, 8):
            if first * power >= most:
                return first * power
        power *= 10


def _scale(top: int) -> str:
    """Three lines across, with their numbers."""
    drawn = []
    for share in (0.0, 0.5, 1.0):
        y = _HIGH - _BOTTOM - share * (_HIGH - _TOP - _BOTTOM)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if top * share == int(top * share):
            drawn.append(_text(_LEFT - 6, y + 4, f"{int(top * share):,}".replace(",", "\u00a0"), "end"))
    return "".join(drawn)


def _column(x: float, width: float, share: float, look: str) -> str:
    height = share * (_HIGH - _TOP - _BOTTOM)
    gap = min(width * 0.2, 4)
    y = _HIGH - _BOTTOM - height
    return f'<rect class="{look}" x="{x + gap / 2:.1f}" y="{y:.1f}" width="{width - gap:.1f}" height="{height:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _picture(drawn: str) -> Markup:
    return _drawn(f'<svg class="picture" viewBox="0 0 {_WIDE} {_HIGH}" {_HIDDEN}>{drawn}</svg>')


def _drawn(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 (made of numbers and escaped words, above)
