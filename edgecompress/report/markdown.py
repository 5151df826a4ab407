"""Results as GitHub-flavoured Markdown, for model cards: the sentence, two tables, the machine, what failed."""

from __future__ import annotations

from collections.abc import Iterator

from edgecompress.bench.results import Results
from edgecompress.report import machine, summary, tables
from edgecompress.report.tables import Cell, Table
from edgecompress.report.terminal import describe


def markdown(results: Results) -> str:
    """Return the Markdown, its headings from level 2 on; it ends with a line break."""
    return "\n".join(_lines(results)).rstrip() + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield f"## {_text(results.name or 'Benchmark')}"
    yield ""
    yield _text(summary.sentence(results))
    yield ""
    yield from _table(tables.quality_table(results))
    for timed in filter(None, (tables.headline_table(results), tables.latency_table(results))):
        yield from _table(timed)
    yield _text(f"{machine.noise(results)} Measured on {describe(results.host)}, {results.created}.")
    yield ""
    if results.failures:
        yield "### Failures"
        yield ""
        for row in results.failures:
            yield "- " + _text(", ".join(filter(None, (row.subject, row.task, row.where))) + f": {row.reason}")


def _table(table: Table) -> Iterator[str]:
    yield f"### {_text(table.caption)}"
    yield ""
    yield _row(["", *(head.replace("\n", ", ") for head in table.columns)])
    yield f"|---|{'---:|' * len(table.columns)}"
    for name, cells in table.rows.items():
        yield _row([name, *map(_cell, cells)])
    yield ""
    for note in table.notes:
        yield _text(note)
    yield ""


def _cell(cell: Cell) -> str:
    return f"{cell.text} [{cell.detail}]" if cell.detail else cell.text


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """Return ``text`` in one line that Markdown shows as it is: no tag, no table border, no emphasis."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|*_`[]":
        plain = plain.replace(mark, f"\\{mark}")
    return plain
