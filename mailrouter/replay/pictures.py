"""The report's pictures, drawn as SVG by hand: no script, nothing fetched, colours from the page's own style.

They are made of numbers and of the words in here alone, so the page takes them as they are.
"""

from collections.abc import Sequence

_LEFT, _TOP, _SIDE = 44, 12, 280  # of the square that curves are drawn in
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_FLOORS = (0.96, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)
_CELL = 26


def bar(share: float, strong: float = 0.0) -> str:
    """A bar as long as its place allows; ``strong`` is the part of the whole that is drawn darker. The figure stands
    beside it, so it says nothing to a screen reader."""
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="rail" width="100" height="10"/><rect class="fill" width="{_percent(share)}" height="10"/>'
        f'<rect class="strong" width="{_percent(strong)}" height="10"/></svg>'
    )


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}"


def curve(points: Sequence[tuple[float, float]], promise: float, chosen: tuple[float, float] | None) -> str:
    """Precision over coverage from the most to the least certain mail; the line is the promise, the ring what is."""
    lowest = min([*(precision for _, precision in points), promise])
    floor = next(floor for floor in _FLOORS if floor <= lowest)  # so that the part that differs fills the picture

    def at(coverage: float, precision: float) -> tuple[float, float]:
        return _LEFT + _SIDE * coverage, _TOP + _SIDE * (1 - (precision - floor) / (1 - floor))

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in _thinned(points)))
    promised = at(0, promise)[1]
    ring = ""
    if chosen is not None:
        x, y = at(*chosen)
        ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
    levels = [floor + (1 - floor) * tick for tick in _TICKS]
    drawn = (
        _frame(levels)
        + f'<line class="promise" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{promised:.1f}" y2="{promised:.1f}"/>'
        + f'<polyline class="line" points="{line}"/>{ring}'
    )
    return _square(drawn, "Andel av mejlen som kallas säkra", "Rätt förvaltning")


def reliability(bins: Sequence[tuple[float, float, int]]) -> str:
    """Stated probability, true share and mails of each bin: dots on the diagonal keep their word."""
    most = max((count for _, _, count in bins), default=1)
    dots = "".join(
        f'<circle class="dot" cx="{_LEFT + _SIDE * stated:.1f}" cy="{_TOP + _SIDE * (1 - true):.1f}"'
        f' r="{3 + 9 * (count / most) ** 0.5:.1f}"/>'
        for stated, true, count in bins
        if count
    )
    diagonal = f'<line class="promise" x1="{_LEFT}" y1="{_TOP + _SIDE}" x2="{_LEFT + _SIDE}" y2="{_TOP}"/>'
    return _square(_frame(list(_TICKS)) + diagonal + dots, "Sannolikhet som angavs", "Andel som var rätt")


def _frame(levels: Sequence[float]) -> str:
    """A square with its ticks: shares along the bottom, ``levels`` up the side."""
    parts = []
    for tick, level in zip(_TICKS, levels, strict=True):
        x, y = _LEFT + _SIDE * tick, _TOP + _SIDE * (1 - tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{tick * 100:.0f}</text>'
        )
        shown = f"{level * 100:.1f}".rstrip("0").rstrip(".").replace(".", ",")
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    return "".join(parts)


def _square(drawn: str, along: str, up: str) -> str:
    width, height = _LEFT + _SIDE + 14, _TOP + _SIDE + 38
    middle = _TOP + _SIDE / 2
    return (
        f'<svg class="square" viewBox="0 0 {width} {height}" aria-hidden="true" focusable="false">{drawn}'
        f'<text class="axis" x="{_LEFT + _SIDE / 2}" y="{height - 4}" text-anchor="middle">{along}, %</text>'
        f'<text class="axis" x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{up}, %</text>"
        "</svg>"
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Few enough points to draw; the last one always."""
    step = max(1, len(points) // 200)
    return [*points[::step], *points[-1:]]


def matrix(counts: Sequence[Sequence[int]]) -> str:
    """Rows are what was right, columns what was suggested; the darker, the larger the share of its row.

    Rows and columns carry numbers that the table beside explains.
    """
    size = len(counts)
    cells = []
    for row, line in enumerate(counts):
        whole = sum(line) or 1
        y = _LEFT / 2 + 20 + row * _CELL
        cells.append(f'<text class="tick" x="{_LEFT / 2 + 12}" y="{y + 17:.0f}" text-anchor="end">{row + 1}</text>')
        for column, count in enumerate(line):
            x = _LEFT / 2 + 18 + column * _CELL
            share = count / whole
            kind = "hit" if row == column else "miss"
            cells.append(
                f'<rect class="cell" x="{x:.0f}" y="{y:.0f}" width="{_CELL - 2}" height="{_CELL - 2}"/>'
                f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{_CELL - 2}" height="{_CELL - 2}"'
                f' opacity="{_opacity(share):.2f}"/>'
            )
            if count:
                inked, place = "tick over" if share > 0.45 else "tick", f'x="{x + _CELL / 2 - 1:.0f}" y="{y + 16:.0f}"'
                cells.append(f'<text class="{inked}" {place} text-anchor="middle">{_short(count)}</text>')
    heads = "".join(
        f'<text class="tick" x="{_LEFT / 2 + 17 + column * _CELL + _CELL / 2:.0f}" y="{_LEFT / 2 + 14:.0f}"'
        f' text-anchor="middle">{column + 1}</text>'
        for column in range(size)
    )
    width = _LEFT / 2 + 22 + size * _CELL
    height = _LEFT / 2 + 24 + size * _CELL
    return (
        f'<svg class="matrix" viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width * 1.4:.0f}px"'
        ' aria-hidden="true" focusable="false">'
        f'<text class="axis" x="{width / 2:.0f}" y="12" text-anchor="middle">Förslag</text>'
        f'<text class="axis" x="10" y="{height / 2:.0f}" text-anchor="middle"'
        f' transform="rotate(-90 10 {height / 2:.0f})">Facit</text>{heads}{"".join(cells)}</svg>'
    )


def _opacity(share: float) -> float:
    return 0.0 if share == 0 else 0.12 + 0.88 * share


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{count // 1000}k"
