# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG. Matplotlib draws them in marker colours; `_finish` turns those into CSS variables of the page,
so that one drawing serves light and dark, makes the ids unique, and hangs the values on the points."""

import io
import re
import xml.etree.ElementTree as xml

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullLocator,
)  # noqa: E402

from . import names, units  # noqa: E402

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
xml.register_namespace("", SVG)
xml.register_namespace("xlink", XLINK)

# Colours that no one would choose stand for variables until _finish.
INK, GRID, PAPER = "#010203", "#010204", "#010205"
NAMED = {name: f"#0102{0x10 + i:02x}" for i, name in enumerate(names.LIGHT)}
VARIABLES = {
    INK: "currentColor",
    GRID: "var(--grid)",
    PAPER: "var(--card)",
    **{code: f"var(--{name})" for name, code in NAMED.items()},
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "smx",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.axisbelow": True,
}
matplotlib.rcParams.update(STYLE)


class _Chart:
    def __init__(self, key, width, height):
        self.key, self.tips = key, {}
        self.figure, self.axes = plt.subplots(figsize=(width, height), dpi=72)

    def tip_id(self, text, series=None):
        gid = f"tip{len(self.tips)}"
        self.tips[gid] = (text, series)
        return gid

    def tip(self, x, y, text, series=None, size=12):
        """An invisible disc that answers the pointer."""
        gid = self.tip_id(text, series)
        self.axes.plot(
            [x],
            [y],
            linestyle="none",
            marker="o",
            markersize=size,
            markeredgewidth=0,
            color=INK,
            alpha=0,
            gid=gid,
            zorder=9,
            clip_on=False,
        )

    def finish(self, label):
        out = io.StringIO()
        self.figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        plt.close(self.figure)
        return _finish(out.getvalue(), self.key, label, self.tips)


def _finish(text, key, label, tips):
    root = xml.fromstring(text)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata") or (child.tag == f"{{{SVG}}}style"):
                parent.remove(child)
    for node in root.iter():
        gid = node.get("id")
        if gid in tips:
            node.set("class", "tip")
            title = xml.Element(f"{{{SVG}}}title")
            title.text, series = tips[gid]
            node.insert(0, title)
            if series is not None:
                node.set("data-series", str(series))
        elif gid and gid.startswith("series"):
            node.set("class", "series")
            node.set("data-series", gid.split()[1])
        if gid:
            node.set("id", f"{key}-{gid}".replace(" ", "-"))
        for name, value in node.attrib.items():
            if name == f"{{{XLINK}}}href":
                node.set(name, value.replace("#", f"#{key}-", 1))
            elif "url(#" in value:
                node.set(name, value.replace("url(#", f"url(#{key}-"))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    text = xml.tostring(root, encoding="unicode")
    for code, variable in VARIABLES.items():
        text = text.replace(code, variable)
    return re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)


def _lengths_axis(axes, lengths):
    axes.set_xscale("log", base=2)
    first, last = min(lengths), max(lengths)
    ticks = [2**e for e in range(0, 40) if first * 0.99 <= 2**e <= last * 1.01] or [first]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    label = units.power if last > 65536 else "{:,}".format  # there is no room for ten numbers of six digits
    axes.xaxis.set_major_formatter(FixedFormatter([label(t) for t in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(first / 1.12, last * 1.12)
    axes.set_xlabel("sequence length L, tokens")


def _spread_labels(wanted, gap):
    """Moves label heights apart by at least `gap`, keeping their order, as little as possible from below."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for before, here in zip(order, order[1:]):
        placed[here] = max(placed[here], placed[before] + gap)
    overshoot = max(placed, default=0) - 1.0
    if overshoot > 0:
        for n, here in enumerate(reversed(order)):
            placed[here] = min(placed[here], 1.0 - n * gap)
    return placed


def lines(
    key,
    series,
    ylabel,
    describe,
    label,
    log=True,
    height=4.3,
    yformat=units.tick,
    reference=None,
    bytes_axis=False,
):
    """One curve a series. series: list of (title, style, [(x, y, low, high, row)]); describe(title, row) is what
    the point says under the pointer. Every point is measured; lines join the powers of two to guide the eye, the other
    lengths stand beside them, hollow."""
    series = [s for s in series if s[2]]
    if not series:
        return None
    chart = _Chart(key, 9.4, height)
    axes = chart.axes
    chart.figure.subplots_adjust(left=0.085, right=0.735, top=0.97, bottom=0.58 / height)
    _lengths_axis(axes, [p[0] for _, _, points in series for p in points])
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(base=2 if bytes_axis else 10, numticks=9))
    values = [v for _, _, points in series for p in points for v in p[1:4]]
    if log:
        axes.set_ylim(min(values) / 1.35, max(values) * 1.35)
        if not bytes_axis and max(values) / min(values) < 30:
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    else:
        axes.set_ylim(0, max(values) * 1.06)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: yformat(v)))
    axes.set_ylabel(ylabel)
    if reference is not None:
        axes.axhline(reference, color=INK, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6)
    for n, (_, style, points) in enumerate(series):
        colour = NAMED[style["colour"]]
        axes.vlines(
            [p[0] for p in points],
            [p[2] for p in points],
            [p[3] for p in points],
            color=colour,
            linewidth=3.5,
            alpha=0.35,
            gid=f"series {n} spread",
        )
        for power, face in ((True, colour), (False, PAPER)):
            part = [p for p in points if (p[0] & (p[0] - 1) == 0) == power]
            axes.plot(
                [p[0] for p in part],
                [p[1] for p in part],
                color=colour,
                linewidth=2 if power else 0,
                linestyle=style["dash"] if power else "none",
                marker=style["marker"],
                markersize=5,
                markerfacecolor=face,
                markeredgewidth=0.8 if power else 1.2,
                markeredgecolor=PAPER if power else colour,
                gid=f"series {n} {'line' if power else 'others'}",
                zorder=3,
            )
    to_axes = axes.transScale + axes.transLimits
    ends = [to_axes.transform((points[-1][0], points[-1][1])) for _, _, points in series]
    heights = _spread_labels([e[1] for e in ends], 0.058 * 4.3 / height)
    for n, ((title, style, _), end, y) in enumerate(zip(series, ends, heights)):
        colour = NAMED[style["colour"]]
        axes.plot(
            [end[0] + 0.008, 1.0, 1.018],
            [end[1], y, y],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.7,
            linestyle=(0, (1, 1.5)),
            clip_on=False,
            zorder=1,
            gid=f"series {n} leader",
        )
        axes.plot(
            [1.035],
            [y],
            transform=axes.transAxes,
            color=colour,
            marker=style["marker"],
            markersize=5,
            clip_on=False,
            gid=f"series {n} key",
        )
        axes.text(
            1.052,
            y,
            title,
            transform=axes.transAxes,
            color=colour,
            va="center",
            fontsize=10,
            gid=f"series {n} label",
        )
    for n, (title, _, points) in enumerate(series):
        for p in points:
            chart.tip(p[0], p[1], describe(title, p[4]), n)
    return chart.finish(label)


def ranges(key, rows, lengths, label):
    """Crossovers: one line a mixer, one marker a rival. rows: (title, colour, [(rival, marker, crossover, text)])."""
    rows = [r for r in rows if r[2]]
    if not rows or not lengths:
        return None
    chart = _Chart(key, 9.4, 0.9 + 0.34 * sum(len(r[2]) for r in rows) + 0.12 * len(rows))
    axes = chart.axes
    height = chart.figure.get_size_inches()[1]
    chart.figure.subplots_adjust(left=0.43, right=0.95, top=1 - 0.1 / height, bottom=0.62 / height)
    _lengths_axis(axes, lengths)
    axes.yaxis.grid(False)
    y, ticks, labels = 0.0, [], []
    for title, colour, rivals in rows:
        for rival, marker, c, text in rivals:
            ticks.append(y)
            labels.append(f"{title} against {rival}")
            if c["state"] == "crosses":
                low, high = c["low"] or c["first"], c["high"] or c["last"]
                axes.plot(
                    [low, high], [y, y], color=NAMED[colour], linewidth=7, alpha=0.35, solid_capstyle="butt"
                )
                axes.plot(
                    [c["L"]], [y], color=NAMED[colour], marker=marker, markersize=7, markeredgecolor=PAPER
                )
                axes.annotate(
                    f"{c['L']:,.0f}",
                    (high, y),
                    xytext=(8, 0),
                    textcoords="offset points",
                    va="center",
                    color=NAMED[colour],
                )
                chart.tip(c["L"], y, text)
            else:
                axes.text(
                    0.01,
                    y,
                    text,
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    color=INK,
                    alpha=0.75,
                    fontsize=9,
                )
            y += 1
        y += 0.35
    axes.set_ylim(y - 0.65, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(labels))
    axes.set_xlabel("crossover length L, tokens")
    return chart.finish(label)


def bars(key, rows, xlabel, label):
    """Horizontal bars of ratios on a log axis that starts at 1. rows: (title, colour, ratio, low, high, text)."""
    if not rows:
        return None
    chart = _Chart(key, 9.4, 0.8 + 0.3 * len(rows))
    axes = chart.axes
    height = chart.figure.get_size_inches()[1]
    chart.figure.subplots_adjust(left=0.36, right=0.93, top=1 - 0.08 / height, bottom=0.6 / height)
    axes.set_xscale("log")
    values = [v for r in rows for v in r[2:5]]
    axes.set_xlim(min(0.7, min(values) / 1.2), max(2.0, max(values) * 1.25))
    ticks = [
        t
        for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)
        if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter([f"{t:g}×" for t in ticks]))
    axes.yaxis.grid(False)
    axes.axvline(1, color=INK, linewidth=1)
    for y, (_, colour, ratio, low, high, text) in enumerate(rows):
        bar = axes.barh(y, ratio - 1, left=1, height=0.62, color=NAMED[colour], alpha=0.85)
        bar[0].set_gid(chart.tip_id(text))
        axes.plot([low, high], [y, y], color=INK, linewidth=1.2, alpha=0.7)
        axes.annotate(
            units.times(ratio),
            (max(high, ratio, 1), y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.yaxis.set_major_locator(FixedLocator(range(len(rows))))
    axes.yaxis.set_major_formatter(FixedFormatter([r[0] for r in rows]))
    axes.set_xlabel(xlabel)
    return chart.finish(label)
