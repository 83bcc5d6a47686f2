"""SVG plots by hand: bars of ratios, and curves. They follow the reader's light or dark colours."""

import math
from html import escape

STYLE = """<style>
  svg { --ink: #1f2328; --faint: #d1d9e0; --good: #1a7f37; --bad: #bc4c00; --none: #818b98; --back: #ffffff;
        --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --faint: #3d444d; --good: #3fb950; --bad: #f0883e; --none: #9198a1; --back: #0d1117;
          --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff; }
  }
  rect.back { fill: var(--back); } text { fill: var(--ink); font: 12px system-ui, sans-serif; }
  text.title { font-size: 15px; font-weight: 600; } text.end { text-anchor: end; } text.mid { text-anchor: middle; }
  line.grid { stroke: var(--faint); } line.limit { stroke: var(--ink); stroke-width: 2; }
  .good { fill: var(--good); } .bad { fill: var(--bad); } .none { fill: var(--none); }
  polyline { fill: none; stroke-width: 2; }
  polyline.c0 { stroke: var(--c0); } polyline.c1 { stroke: var(--c1); } polyline.c2 { stroke: var(--c2); } polyline.c3 { stroke: var(--c3); }
  circle.c0, text.c0 { fill: var(--c0); } circle.c1, text.c1 { fill: var(--c1); }
  circle.c2, text.c2 { fill: var(--c2); } circle.c3, text.c3 { fill: var(--c3); }
</style>"""


def svg(width, height, title, body):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    back = f'<rect class="back" width="{width}" height="{height}" rx="6"/>'
    return "\n".join([head, STYLE, back, f'<text class="title" x="16" y="26">{escape(title)}</text>', *body, "</svg>\n"])


def text(x, y, words, kind=""):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def ratios(title, bars, figure):
    """Bars of (label, ratio, limit, met) on a logarithmic scale; the mark on each is its target."""
    left, right, top, step = 400, 70, 66, 24
    width, height = 960, top + step * len(bars) + 20
    values = [value for _, value, _, _ in bars if value] + [limit for _, _, limit, _ in bars]
    low, high = _decades(min(values), max(values))
    scale = lambda value: left + (math.log10(value) - low) / (high - low) * (width - left - right)
    body = [text(left, 46, "phpws divided by the other, logarithmic; the mark is the target")]
    for decade in range(low, high + 1):
        body += [line(scale(10**decade), top - 6, scale(10**decade), height - 14, "grid")]
        body += [text(scale(10**decade), height - 3, f"{10**decade:g}×", "mid")]
    for number, (label, value, limit, met) in enumerate(bars):
        y = top + number * step
        body.append(text(left - 8, y + 13, label, "end"))
        if value:
            begin, end = sorted((scale(1), scale(value)))
            kind = {True: "good", False: "bad", None: "none"}[met]
            body.append(f'<rect class="{kind}" x="{begin:.1f}" y="{y + 2}" width="{max(end - begin, 2):.1f}" height="{step - 9}"/>')
        body.append(line(scale(limit), y, scale(limit), y + step - 5, "limit"))
        body.append(text(max(scale(value or 1), scale(limit), scale(1)) + 6, y + 13, f"{figure(value)}×" if value else "not measured"))
    return svg(width, height, title, body)


def curves(title, across, up, lines):
    """Curves of (name, [(x, y), …]); both axes are logarithmic."""
    left, right, top, bottom, width, height = 80, 190, 56, 44, 960, 340
    points = [point for _, curve in lines for point in curve]
    if not points:
        return svg(width, height, title, [text(left, 80, "not measured")])
    (x0, x1), (y0, y1) = _decades(*_ends(points, 0)), _decades(*_ends(points, 1))
    sx = lambda x: left + (math.log10(x) - x0) / (x1 - x0) * (width - left - right)
    sy = lambda y: height - bottom - (math.log10(y) - y0) / (y1 - y0) * (height - top - bottom)
    body = [text(16, 46, up), text((left + width - right) / 2, height - 6, across, "mid")]
    for decade in range(x0, x1 + 1):
        body += [line(sx(10**decade), top, sx(10**decade), height - bottom, "grid")]
        body += [text(sx(10**decade), height - bottom + 16, tick(10**decade), "mid")]
    for decade in range(y0, y1 + 1):
        body += [line(left, sy(10**decade), width - right, sy(10**decade), "grid")]
        body += [text(left - 6, sy(10**decade) + 4, tick(10**decade), "end")]
    for number, (name, curve) in enumerate(lines):
        kind = f"c{number % 4}"
        body.append(f'<polyline class="{kind}" points="{" ".join(f"{sx(x):.1f},{sy(y):.1f}" for x, y in curve)}"/>')
        body += [f'<circle class="{kind}" cx="{sx(x):.1f}" cy="{sy(y):.1f}" r="3"/>' for x, y in curve]
        body.append(text(width - right + 10, top + 16 + 20 * number, name, kind))
    return svg(width, height, title, body)


def tick(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _ends(points, axis):
    values = [point[axis] for point in points]
    return min(values), max(values)


def _decades(low, high):
    """Whole powers of ten around both, and at least one apart."""
    begin = math.floor(math.log10(low) + 1e-9)
    return begin, max(math.ceil(math.log10(high) - 1e-9), begin + 1)


def stack(*plots):
    """Plots of one width below each other, as one file."""
    height = 0
    inner = []
    for plotted in plots:
        tall = int(plotted.split('viewBox="0 0 960 ')[1].split('"')[0])
        inner.append(plotted.replace("<svg ", f'<svg y="{height}" width="960" height="{tall}" ', 1).replace(STYLE, ""))
        height += tall + 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height}" role="img">'
    return "\n".join([head, STYLE, *inner, "</svg>\n"])
