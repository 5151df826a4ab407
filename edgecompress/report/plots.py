"""The plots of accuracy beside size or time, and of time by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from edgecompress.bench.results import Results, Role, Subject
from edgecompress.report import digest, speed, svg
from edgecompress.report.labels import place
from edgecompress.report.words import counted, digits, listed, megabytes, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS: dict[Role, str] = {"teacher": "s", "student": "o", "baseline": "^"}
_DASHES: dict[Role, str] = {"teacher": "-", "student": "-", "baseline": "--"}
_CYCLES = (":", "-.")  # of the lines whose colours come a second and a third time
_LABEL_WIDTH = 22  # characters
_TWO_COLUMNS = 20  # characters
_NAMED = 8  # with more points than this, numbers stand beside them and the caption holds the names


@dataclass(frozen=True)
class Plot:
    """One figure of the page."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Point:
    """One subject in a plane: smaller x is better, larger y is better. ``at`` is its number among the subjects."""

    name: str
    role: Role
    at: int
    x: float
    y: float


def by_size(results: Results) -> Plot | None:
    """Return accuracy beside file size in MB; None where no subject has both."""
    sizes = {s.name: digest.largest(results, s.name, "model_bytes") for s in results.subjects}
    found = {name: size / 1e6 for name, size in sizes.items() if size}
    return _tradeoff(results, "by-size", found, "file size (MB, logarithmic)")


def by_latency(results: Results) -> Plot | None:
    """Return accuracy beside the median ms of the usual shape; None where no subject has both."""
    spot = speed.usual_spot(results)
    if spot is None:
        return None
    found = {subject: row.value for (subject, of), row in speed.times(results).items() if of == spot}
    label = f"latency {speed.shape_in_words(spot)}, {speed.place(spot)} (median ms, logarithmic)"
    return _tradeoff(results, "by-latency", found, label)


def frontier(points: Sequence[Point]) -> Sequence[Point]:
    """Return the points that no other one beats: none has at most their x and more than their y."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    return best


def by_length(results: Results) -> Plot | None:
    """Return ms by tokens, a band from the median to the 99th percentile; None below two lengths."""
    spots = speed.by_length(results)
    medians, tails = speed.times(results), speed.times(results, "latency_p99")
    lines: dict[int, list[tuple[int, float, float | None]]] = {}
    for at, subject in enumerate(results.subjects):
        for spot in spots:
            if row := medians.get((subject.name, spot)):
                tail = tails.get((subject.name, spot))
                lines.setdefault(at, []).append((int(spot.length), row.value, tail.value if tail else None))
    if len(spots) < 2:  # noqa: PLR2004
        return None
    names = [results.subjects[at].name for at in lines]
    where = speed.place(spots[0])
    caption = f"Time by length: the line is the median, the band reaches to the 99th percentile (one text, {where})."
    label = f"Latency of {listed(names)} from {spots[0].length} to {spots[-1].length} tokens"
    height = 2.9 + 0.19 * len(_legend_rows(names))
    return Plot(svg.draw("by-length", label, height, lambda figure: _lengths(figure, lines, results.subjects)), caption)


def _tradeoff(results: Results, key: str, found: dict[str, float], xlabel: str) -> Plot | None:
    means = {s.name: digest.mean_score(results, s.name) for s in results.subjects}
    points = [
        Point(s.name, s.role, at, found[s.name], mean)
        for at, s in enumerate(results.subjects)
        if s.name in found and (mean := means[s.name]) is not None
    ]
    if not points:
        return None
    unit = "MB" if key == "by-size" else "ms"
    said = listed([f"{p.name} {p.y:.1f} % at {_amount(p.x, unit)} {unit}" for p in points])
    left_out = [s.name for s in results.subjects if s.name not in {p.name for p in points}]
    note = f" Not drawn, as a figure is missing: {listed(left_out)}." if left_out else ""
    ylabel = f"mean score, {counted(len(digest.tasks(results)), 'task')} (%)"
    caption = f"Accuracy beside {'size' if key == 'by-size' else 'time'}: up and to the left is better. The line joins"
    caption += f" the subjects that no other one beats.{_numbers(points)}{note}"
    return Plot(svg.draw(key, said, 3.5, lambda figure: _plane(figure, points, xlabel, ylabel)), caption)


def _numbers(points: Sequence[Point]) -> str:
    """Return what the numbers beside the points stand for; empty where names stand there."""
    names = [f"{p.at + 1}:\N{NO-BREAK SPACE}{p.name}" for p in points]
    return f" {', '.join(names)}." if len(points) > _NAMED else ""


def _amount(value: float, unit: str) -> str:
    return megabytes(value * 1e6) if unit == "MB" else digits(value)


def _plane(figure: Figure, points: Sequence[Point], xlabel: str, ylabel: str) -> None:
    axes = figure.subplots()
    low, high = min(p.x for p in points), max(p.x for p in points)
    bottom, top = min(p.y for p in points), max(p.y for p in points)
    room = max(0.16 * (top - bottom), 1.0)
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.set_ylim(bottom - room, top + room)
    svg.log_axis(axes, "x")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    best = frontier(points)
    axes.plot([p.x for p in best], [p.y for p in best], color=svg.SOFT, linewidth=1.2, dashes=(4, 3), zorder=1)
    for p in points:
        axes.plot(p.x, p.y, _MARKERS[p.role], color=svg.series(p.at), markersize=8, markeredgecolor=svg.PAPER)
    _label(figure, axes, points)


def _label(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed for the axes as they are now
    texts = [
        str(p.at + 1) if len(points) > _NAMED else "\n".join(wrap(shortened(p.name), _LABEL_WIDTH)) for p in points
    ]
    drawn = [figure.text(0, 0, text, fontsize=svg.SMALL) for text in texts]
    boxes = [one.get_window_extent() for one in drawn]
    for one in drawn:
        one.remove()
    middles = [tuple(axes.transData.transform((p.x, p.y))) for p in points]
    frame = axes.get_window_extent()
    corners = [tuple(axes.transData.transform((p.x, p.y))) for p in frontier(points)]
    placed = place(middles, [(b.width, b.height) for b in boxes], (frame.x0, frame.y0, frame.x1, frame.y1), corners)
    for p, text, middle, label in zip(points, texts, middles, placed, strict=True):
        line = {"arrowstyle": "-", "color": svg.SOFT, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            text,
            (p.x, p.y),
            (label.x - middle[0], label.y - middle[1]),
            textcoords="offset pixels",
            ha=label.align,
            va="bottom",
            fontsize=svg.SMALL,
            arrowprops=line if label.far else None,
        )


def _lengths(
    figure: Figure, lines: dict[int, list[tuple[int, float, float | None]]], subjects: Sequence[Subject]
) -> None:
    axes = figure.subplots()
    for at, points in lines.items():
        tokens, medians = [p[0] for p in points], [p[1] for p in points]
        name, role = svg.named(shortened(subjects[at].name)), subjects[at].role
        cycle = at // svg.COLOURS
        style = f"{_MARKERS[role]}{_CYCLES[(cycle - 1) % len(_CYCLES)] if cycle else _DASHES[role]}"
        axes.plot(tokens, medians, style, color=svg.series(at), markersize=5, linewidth=1.8, label=name)
        band = [(x, low, high) for x, low, high in points if high is not None]
        if band:
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=svg.series(at), alpha=min(0.16, 0.8 / len(lines)), linewidth=0)
    svg.log_axis(axes, "x", ticks=tuple(sorted({p[0] for points in lines.values() for p in points})))
    svg.log_axis(axes, "y")
    axes.set_xlabel("length (tokens, logarithmic)")
    axes.set_ylabel("latency (ms, logarithmic)")
    legend(figure, [subjects[at].name for at in lines])


def legend(figure: Figure, names: Sequence[str]) -> None:
    """Put the legend above the axes, in two columns where the names are short enough."""
    figure.legend(loc="outside upper center", ncols=max(len(row) for row in _legend_rows(names)), handlelength=1.6)


def _legend_rows(names: Sequence[str]) -> list[Sequence[str]]:
    columns = 2 if max(map(len, names)) <= _TWO_COLUMNS else 1
    return [names[at : at + columns] for at in range(0, len(names), columns)]
