"""`edgecompress report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from edgecompress.bench.results import Results, read_all
from edgecompress.errors import InputError, OutputError
from edgecompress.files import write_text

_FILE = click.Path(path_type=Path)


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"report": report}[name]


@click.command()
@click.argument("results", nargs=-1, required=True, type=_FILE)
@click.option("-o", "--output", required=True, type=_FILE, help="File to write: .html, .md or .csv says in which form.")
def report(results: Sequence[Path], output: Path) -> None:
    """Show RESULTS (files that `bench -o` or `run` wrote, of one machine) as an HTML page, Markdown or CSV.

    The page is one file that needs no network: tables, plots, history, the machine, and what failed.
    """
    render = _renderer(output)
    write_text(output, render(read_all(results)))
    click.echo(output)


def _renderer(output: Path) -> Callable[[Results], str]:
    """Return what makes the form that the suffix asks for. Raises InputError, OutputError before anything is read."""
    made = _RENDERERS.get(output.suffix.lower())
    if made is None:
        raise InputError(
            f"-o {output}: give a name that ends in {', '.join(_RENDERERS)}: it says in which form to write"
        )
    if output.is_dir():
        raise OutputError(f"cannot write {output}: it is a folder: choose another name with -o")
    return made


def _html(results: Results) -> str:
    from edgecompress.report.html import page

    return page(results)


def _markdown(results: Results) -> str:
    from edgecompress.report.markdown import markdown

    return markdown(results)


def _csv(results: Results) -> str:
    from edgecompress.report.tables_csv import table

    return table(results)


_RENDERERS: Mapping[str, Callable[[Results], str]] = {".html": _html, ".md": _markdown, ".csv": _csv}
