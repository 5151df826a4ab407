"""Tables of `quantize --ladder`, `tune`, `verify` and `inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact
    from edgecompress.export.compare import Comparison
    from edgecompress.export.ladder import Ladder, Rung
    from edgecompress.export.ledger import Ledger
    from edgecompress.export.tune import Tuned
    from edgecompress.records import Step

_MILLION = 1e6


def new_table(title: str, columns: Sequence[str], caption: str = "") -> Table:
    """Return an empty table in the style of these reports; its first column names the rows."""
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold", no_wrap=not place)
    return table


def ladder_table(found: Ladder) -> Table:
    """Return every rung: size, difference, agreement, score, time; the chosen one is marked."""
    caption = (
        f"* chosen, at most {found.max_drop:g} points below fp32. error: of the logits' spread, root mean square, "
        f"random ids included. equal: decisions as fp32's. Times on one thread, rungs in turns."
    )
    lengths = ["ms 1×32", "ms 1×128"][: len(found.rungs[0].latency)]
    table = new_table("Ladder", ["", "MB", "error", "equal %", found.metric, *lengths], caption)
    for rung in found.rungs:
        mark = "* " if rung.scheme == found.chosen else "  "
        table.add_row(mark + rung.scheme, *_figures(rung))
    return table


def refusals(found: Ladder) -> list[str]:
    """Return why each rung that is not in the running was refused, one line each."""
    return [f"{rung.scheme}: {rung.refused}" for rung in found.rungs if rung.refused]


def _figures(rung: Rung) -> list[str]:
    if rung.refused:
        return ["refused"]
    figures = [f"{rung.bytes / _MILLION:.2f}", f"{rung.error:.3f}", f"{100 * rung.agreement:.1f}", f"{rung.score:.2f}"]
    return [*figures, *(f"{ms:.2f}" for ms in rung.latency)]


def tuning_table(found: Tuned, scheme: str) -> Table:
    """Return every variant's median times; the kept one is marked."""
    shapes = list(next(iter(found.times.values())))
    table = new_table(f"Variants of {scheme}, median ms", ["", *(f"{b}×{n}" for b, n in shapes)], "* kept")
    for name, times in found.times.items():
        table.add_row(("* " if name == found.chosen else "  ") + name, *(f"{times[shape]:.2f}" for shape in shapes))
    return table


def verify_table(found: Comparison, titles: tuple[str, str], scores: Sequence[float]) -> Table:
    """Return one row a shape, then padding and scores."""
    padding = " and ".join(f"{moved:.1e}" for moved in found.padding)
    caption = f"Differences are of the largest logit. Padding alone moves a text's logits by {padding}."
    if scores:
        caption += f" Scores: {scores[0]:.2f} and {scores[1]:.2f}."
    table = new_table(f"{titles[0]} and {titles[1]}", ["", "largest", "mean", "equal argmax", "of"], caption)
    for row in found.rows:
        equal = f"{100 * row.agreement:.1f} %"
        table.add_row(row.where, f"{row.largest:.1e}", f"{row.mean:.1e}", equal, str(row.decisions))
    return table


def ledger_tables(found: Ledger, heads: Mapping[str, Artifact], history: Sequence[Step] = ()) -> Iterator[Table]:
    """Yield the size ledger, how the graph computes, and of each head its task, labels, scheme and history.

    ``history`` is that of a pack.
    """
    table = new_table(f"{found.file_bytes / _MILLION:.2f} MB", ["", "numbers", "MB", "share", "stored as"])
    for entry in found.entries:
        types = ", ".join(f"{name} {size / _MILLION:.2f}" for name, size in entry.types.items())
        share = f"{entry.bytes / found.file_bytes:.0%}"
        table.add_row(entry.part, f"{entry.numbers:,}", f"{entry.bytes / _MILLION:.2f}", share, types)
    table.add_row("graph", "", f"{found.graph_bytes / _MILLION:.2f}", f"{found.graph_bytes / found.file_bytes:.0%}", "")
    yield table
    about = new_table("", ["", ""])
    about.columns[1].justify = "left"
    rows = {
        "inputs": ", ".join(found.inputs),
        "outputs": ", ".join(found.outputs),
        "opsets": _pairs(found.opsets),
        "operators": _pairs(found.operators),
        "in float": _pairs(found.floats) or "none",
    }
    for name, head in heads.items():
        of = f"{name}: " if len(heads) > 1 else ""
        rows |= {f"{of}task": head.task.name, f"{of}labels": ", ".join(head.labels), f"{of}scheme": head.scheme,
                 f"{of}history": " → ".join(step.stage for step in (*head.history, *history))}  # fmt: skip
    for name, value in rows.items():
        about.add_row(Text(name), Text(value))
    yield about


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
