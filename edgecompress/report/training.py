"""Training curves: the loss, and the headline score on validation data, by optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompress.bench.results import Results
from edgecompress.report import svg
from edgecompress.report.plots import Plot, legend
from edgecompress.report.steps import Curve, curves
from edgecompress.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curve_plots(results: Results) -> list[Plot]:
    """Return one plot for each kind of stage that left a curve (fine-tuning: for each task); none without curves."""
    at = {subject.name: place for place, subject in enumerate(results.subjects)}
    found = sorted(curves(results).items(), key=lambda item: bool(item[0][1]))  # what is trained once comes first
    return [_plot(stage, task, of_kind, at) for (stage, task), of_kind in found]


def _plot(stage: str, task: str, found: Sequence[Curve], at: dict[str, int]) -> Plot:
    what = f"{stage}, {task}" if task else stage
    panels = [name for name in ("loss", "scores") if any(getattr(curve, name) for curve in found)]
    said = f"Training of {what}: " + "; ".join(_end(curve) for curve in found)
    height = 0.8 + 1.55 * len(panels) + 0.19 * ((len(found) + 1) // 2)
    key = "curve-" + "".join(letter if letter.isalnum() else "-" for letter in what)
    drawn = svg.draw(key, said, height, lambda figure: _panels(figure, panels, found, at))
    return Plot(drawn, f"Stage {what}.")


def _end(curve: Curve) -> str:
    loss = f" loss {curve.loss[-1][1]:.3g}" if curve.loss else ""
    score = f" best score {max(value for _, value in curve.scores):.1f} %" if curve.scores else ""
    return f"{curve.subject}{loss}{score}"


def _panels(figure: Figure, panels: Sequence[str], found: Sequence[Curve], at: dict[str, int]) -> None:
    rows: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(rows, panels, strict=True):
        for curve in found:
            if points := getattr(curve, name):
                label = svg.named(shortened(curve.subject)) if axes is rows[0] else "_"  # once in the legend
                line = "o-" if name == "scores" else "-"
                colour = svg.series(at[curve.subject])
                axes.plot(*zip(*points, strict=True), line, label=label, linewidth=1.6, color=colour, markersize=4)
        axes.set_ylabel("loss (no unit)" if name == "loss" else "score (%)")
    rows[-1].set_xlabel("optimizer steps")
    legend(figure, [curve.subject for curve in found])
