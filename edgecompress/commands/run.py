"""`edgecompress run` and `edgecompress demo`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from edgecompress.commands.show import megabytes, progress, terminal, validated
from edgecompress.errors import CheckError
from edgecompress.extras import install, is_there, require

if TYPE_CHECKING:
    from edgecompress.bench.results import Results
    from edgecompress.deliver import Artifacts
    from edgecompress.pipeline import Result
    from edgecompress.recipe import Recipe


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"run": run, "demo": demo}[name]


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1),
              help="Stages at a time, each with its share of the cores.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check the recipe and print the plan; load no weights.")
def run(recipe: Path, output: Path | None, *, jobs: int, dry_run: bool) -> None:
    """Run RECIPE (a TOML file) into the folder -o.

    Every stage is saved as an ordinary model folder in OUT/stages, every artifact in OUT/artifacts, every figure in
    OUT/bench.json and on the page OUT/report.html. What is done for the same inputs is not done again: stop it, change
    the recipe, run it again.
    """
    if output is None and not dry_run:
        raise click.UsageError("give -o FOLDER for the results, or --dry-run for the plan alone")
    _run(recipe, output, jobs, dry_run=dry_run)


@click.command()
@click.option("-o", "--output", default="demo-out", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the results.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan only.")
def demo(output: Path, *, dry_run: bool) -> None:
    """Make four students of multilingual-e5-small, one per task, and measure them.

    Topic is in Slovak and Swahili, sentiment in Swahili, names (ner) and parts of speech (pos) in Slovak. Everything
    needed is in the package and its extra `offline`: no model hub, no download. A quarter to half an hour on two cores.
    """
    recipe = Path(__file__).parents[1] / "data" / "demo" / "recipe.toml"
    _run(recipe, output, 1, dry_run=dry_run)
    if not dry_run:
        ner = output / "artifacts" / "student-ner-int8-tables4"
        terminal().print(f'\nNow type:  edgecompress predict {ner} "Peter Sagan sa narodil v Žiline."')


def _run(path: Path, output: Path | None, jobs: int, *, dry_run: bool) -> None:
    require("torch", "transformers", "datasets", "accelerate", "onnx", extra="compress")
    from edgecompress import recipe as recipes
    from edgecompress.pipeline import is_writer

    console = terminal(quiet=not is_writer())
    with progress(console):
        recipe = recipes.read(path)
        from edgecompress.plan import plan

        rows = plan(recipe)
    table = Table(title=f"Plan of {recipe.name}", title_justify="left")
    for title in ("stage", "does", "on"):
        table.add_column(title, overflow="fold")
    for title in ("parameters", "below teacher"):
        table.add_column(title, justify="right")
    for row in rows:
        most = "≤ " if row.at_most else ""
        less = f"{100 * (1 - row.parameters / rows[0].parameters):.1f} %"
        table.add_row(row.name, row.stage, row.source, f"{most}{row.parameters:,}", "" if row is rows[0] else less)
    console.print(table)
    if dry_run or output is None:
        return
    _work(console, recipe, output, jobs)


def _work(console: Console, recipe: Recipe, output: Path, jobs: int = 1) -> None:
    from edgecompress import deliver, pipeline
    from edgecompress.bench import results as files
    from edgecompress.report.terminal import bench_tables

    with progress(console), pipeline.exclusive(output):
        results = pipeline.run(recipe, output, jobs)
        if not pipeline.is_writer():
            return
        subjects, refused = deliver.artifacts(recipe, results, output)
        found = deliver.bench(recipe, subjects, deliver.tests_of(recipe)) if recipe.students and subjects else None
    reused = sum(result.reused for result in results.values())
    console.print(f"{len(results)} stages in {output / 'stages'} ({reused} were there already)")
    for table in _made(results, subjects):
        console.print(table)
    if not found:
        text = "not measured: name the finetune stages of teacher and students in [bench] of the recipe"
        console.print(text)
    else:
        figures = output / "bench.json"
        files.write(figures, found)
        for table in bench_tables(found):
            console.print(table)
        console.print(f"figures in {figures}{_page(found, output)}")
    if refused:  # told last, when all else is made and measured
        raise CheckError("; ".join(refused))


def _made(results: Mapping[str, Result], subjects: Artifacts) -> Iterator[Table]:
    """Yield what the fine-tuned stages scored on validation data, and which artifacts there are."""
    from edgecompress.encoder.bundle import read_history

    said = {name: validated(read_history(one.folder)[-1]) for name, one in results.items()}
    for title, rows in (
        ("Fine-tuned", [(name, text) for name, text in said.items() if text]),
        ("Artifacts", [(str(a.folder), megabytes(a.model_bytes)) for of in subjects.values() for a in of.values()]),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for row in rows:
            table.add_row(*row)
        if rows:
            yield table


def _page(found: Results, output: Path) -> str:
    """Write the page of the results where its extra is installed, and return what to say of it."""
    if not is_there("jinja2", "matplotlib"):
        return f", as a page by `edgecompress report` ({install('report')})"
    from edgecompress.files import write_text
    from edgecompress.report.html import page

    write_text(output / "report.html", page(found))
    return f", as a page in {output / 'report.html'}"
