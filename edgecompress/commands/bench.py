"""`edgecompress bench`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
from rich.console import Console

from edgecompress.commands.show import progress
from edgecompress.errors import InputError
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact

_FOLDER = click.Path(file_okay=False, path_type=Path)


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"bench": bench}[name]


@click.command()
@click.argument("students", nargs=-1, required=True, type=_FOLDER)
@click.option("--teacher", type=_FOLDER, help="Artifact or model folder that ratios are taken to.")
@click.option("--task", type=click.Choice(list(TASKS)), help="The task; default: that of the first student.")
@click.option("--test", "tests", multiple=True, required=True, type=click.Path(path_type=Path), help="Test split.")
@click.option("--threads", default=1, type=click.IntRange(0), show_default=True)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def bench(
    students: Sequence[Path],
    teacher: Path | None,
    task: str | None,
    tests: Sequence[Path],
    threads: int,
    target: Path | None,
) -> None:
    """Measure STUDENTS (artifacts or model folders of one task) beside --teacher, all through onnxruntime.

    Score on the test split, file bytes, parameters, and p50/p90 latency at 1×32, 1×128 and 8×128.
    """
    from edgecompress import deliver
    from edgecompress.bench.host import host
    from edgecompress.report.terminal import bench_table
    from edgecompress.tasks.examples import read_examples

    console = Console()
    with progress(console), TemporaryDirectory(prefix="edgecompress-") as scratch:
        folders = ([teacher] if teacher else []) + list(students)
        found = {name: _artifact(path, Path(scratch), task) for name, path in _names(folders).items()}
        kind = task or next(reversed(found.values())).task.name
        if wrong := [name for name, artifact in found.items() if artifact.task.name != kind]:
            raise InputError(
                f"{wrong[0]} is made for {found[wrong[0]].task.name}, not {kind}: bench one task at a time"
            )
        examples = {kind: read_examples(tests, TASKS[kind])}
        subjects = {name: {kind: artifact} for name, artifact in found.items()}
        figures = deliver.bench(subjects, examples, threads=threads)
    machine = host()
    for table in bench_table(figures, machine):
        console.print(table)
    if target:
        deliver.write_results(target, figures, machine)


def _names(folders: Sequence[Path]) -> dict[str, Path]:
    """Name subjects by their folder, with as much of its parents as it takes to tell them apart."""
    short = [folder.resolve().name for folder in folders]
    return {
        (name if short.count(name) == 1 else "/".join(folder.resolve().parts[-2:])): folder
        for name, folder in zip(short, folders, strict=True)
    }


def _artifact(folder: Path, scratch: Path, task: str | None) -> Artifact:
    """Open an artifact, or export a model folder into ``scratch`` first, so that both sides run in onnxruntime."""
    from edgecompress.artifact import MANIFEST, open_artifact

    if (folder / MANIFEST).exists() or not (folder / "config.json").exists():
        return open_artifact(folder)
    from edgecompress.encoder import sources
    from edgecompress.export.onnx import export

    return export(sources.load(str(folder)), scratch / str(len(list(scratch.iterdir()))), task=task or "")
