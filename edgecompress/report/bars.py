"""Where a file's bytes are: one bar a subject, cut into the parts of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgecompress.bench.results import Results
from edgecompress.report import digest, svg
from edgecompress.report.plots import Plot
from edgecompress.report.words import listed, megabytes, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.44  # inches
_BAR = 0.42  # of a row; above it stands the subject's name
_EDGE = 0.5  # points of paper between two parts


def size_plots(results: Results) -> list[Plot]:
    """Return bytes by part in MB, and as shares of each file (a small student's parts are not seen in MB)."""
    ledger = {s.name: sums for s in results.subjects if (sums := digest.part_bytes(results, s.name))}
    if not ledger:
        return []
    said = listed([f"{name} {megabytes(sum(sums.values()))} MB" for name, sums in ledger.items()])
    height = 1.25 + _ROW * len(ledger)
    shares = {n: {part: 100 * size / sum(sums.values()) for part, size in sums.items()} for n, sums in ledger.items()}
    amounts = {name: {part: size / 1e6 for part, size in sums.items()} for name, sums in ledger.items()}
    return [
        Plot(
            svg.draw("size", f"File size by part: {said}", height, lambda f: _bars(f, amounts, "size (MB)", " MB")),
            "Size by part of the network.",
        ),
        Plot(
            svg.draw("shares", f"Share of parts: {_largest(shares)}", height, lambda f: _bars(f, shares, _SHARE, "")),
            "The same as shares of each file.",
        ),
    ]


_SHARE = "share of the file (%)"


def _largest(shares: Mapping[str, Mapping[str, float]]) -> str:
    largest = {name: max(parts, key=lambda part: parts[part]) for name, parts in shares.items()}
    return listed([f"{name} mostly {part}, {shares[name][part]:.0f} %" for name, part in largest.items()])


def _bars(figure: Figure, rows: Mapping[str, Mapping[str, float]], xlabel: str, unit: str) -> None:
    axes = figure.subplots()
    parts = list(dict.fromkeys(part for sums in rows.values() for part in sums))
    for at, part in enumerate(parts):
        starts = [sum(sums.get(earlier, 0.0) for earlier in parts[:at]) for sums in rows.values()]
        widths = [sums.get(part, 0.0) for sums in rows.values()]
        axes.barh(
            range(len(rows)), widths, _BAR, starts, color=svg.series(at), label=part, edgecolor=svg.PAPER, lw=_EDGE
        )
    for at, (name, sums) in enumerate(rows.items()):
        total = f", {megabytes(1e6 * sum(sums.values()))}{unit}" if unit else ""
        axes.annotate(
            f"{shortened(name)}{total}",
            (0, at - _BAR / 2),
            (0, 2),
            textcoords="offset points",
            va="bottom",
            fontsize=svg.SMALL,
        )
    axes.set_ylim(len(rows) - 0.6, -0.85)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside upper left", ncols=5, handlelength=0.8, columnspacing=0.9, handletextpad=0.4)
