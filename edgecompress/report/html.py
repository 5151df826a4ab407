"""One page that holds everything: figures as tables and as plots, with no request to anywhere."""

from __future__ import annotations

import re
from typing import Any

from edgecompress.bench.results import Results
from edgecompress.extras import require
from edgecompress.report import bars, machine, plots, steps, summary, svg, tables, training
from edgecompress.report.memory import memory_tables
from edgecompress.report.plots import Plot
from edgecompress.report.tables import Table


def page(results: Results) -> str:
    """Return the page. The same results give the same bytes. Raises MissingExtraError without the extra ``report``."""
    require("jinja2", "matplotlib", extra="report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("edgecompress.report", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["glue"] = _glue
    return environment.get_template("page.html.j2").render(_contents(results)) + "\n"


def _glue(text: str) -> str:
    """Keep a figure and its unit in one line."""
    return re.sub(r"(?<=\d) (?=(?:%|MB|ms|GB)\b|%)", "\N{NO-BREAK SPACE}", text)


def _contents(results: Results) -> dict[str, Any]:
    return {
        "results": results,
        "sentence": summary.sentence(results),
        "subjects": {s.name: {"role": s.role, "colour": at % svg.COLOURS} for at, s in enumerate(results.subjects)},
        "quality": tables.quality_table(results),
        "tradeoffs": _there(plots.by_size(results), plots.by_latency(results)),
        "lengths": _there(plots.by_length(results)),
        "latencies": [
            *_there(tables.headline_table(results), tables.latency_table(results)),
            *tables.split_tables(results),
        ],
        "sizes": bars.size_plots(results),
        "ledger": _there(tables.ledger_table(results)),
        "memory": memory_tables(results),
        "curves": training.curve_plots(results),
        "history": {subject.name: steps.rows(subject) for subject in results.subjects},
        "facts": machine.facts(results),
        "settings": machine.settings(results),
        "noise": machine.noise(results),
    }


def _there(*found: Plot | Table | None) -> list[Plot | Table]:
    return [one for one in found if one is not None]
