"""From matplotlib to SVG that stands inside a page: its colours are the page's, its text is text, its bytes repeat."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.6  # inches of 72 units: about the width of a phone, so that text of 10 units is about 10 pixels there
SMALL = 10.0
COLOURS = 8
# matplotlib wants colours in hexadecimal: these stand for the page's variables, and no colour of the page is known here
INK, SOFT, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper"} | {f"#05050{n}": f"c{n}" for n in range(COLOURS)}
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same places on every machine
    "font.size": 10.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a subject may be called a$x^$b
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
}


def series(at: int) -> str:
    """Return the colour of the subject (or part) number ``at``."""
    return f"#05050{at % COLOURS}"


def named(name: str) -> str:
    """Return ``name`` as the label of a series: matplotlib leaves labels that begin with "_" out of the legend."""
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def draw(key: str, label: str, height: float, paint: Callable[[Figure], None]) -> str:
    """Return what ``paint`` draws on a figure ``height`` inches high, as one ``<svg>`` element.

    ``key`` names the plot on its page: ids begin with it, so that those of two plots never meet. ``label`` says what
    is seen, for who does not see it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # not what a user's matplotlibrc says
        mpl.rcParams.update({**_STYLE, "svg.hashsalt": key})
        figure = Figure(figsize=(WIDTH, height), dpi=72, layout="constrained")
        FigureCanvasAgg(figure)  # measures text while painting
        paint(figure)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _clean(target.getvalue(), key, label)


def log_axis(axes: Axes, which: str, *, ticks: tuple[float, ...] = ()) -> None:
    """Make an axis ("x" or "y") logarithmic, with plain numbers on it: 1, 2, 5, 10, or those of ``ticks``."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    many = high / low > 200  # noqa: PLR2004
    axis.set_major_locator(FixedLocator(ticks) if ticks else LogLocator(subs=(1,) if many else (1, 2, 5), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _clean(text: str, key: str, label: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)  # the style would be the whole page's
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = _own_ids(text.replace("xlink:href", "href"), key)
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {box.group() if box else ""} role="img" aria-label="{escape(label)}">'
    body = text[text.index(">") + 1 :]
    return re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", head + body)).replace("<defs></defs>", "").strip()


def _own_ids(text: str, key: str) -> str:
    """Begin every id that is pointed at with ``key``, and drop the others."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", text)
