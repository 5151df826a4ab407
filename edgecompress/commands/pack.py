"""`edgecompress pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecompress.commands.numbers import SHARE
from edgecompress.commands.show import megabytes, progress, some_lines, terminal
from edgecompress.errors import InputError
from edgecompress.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecompress.artifact import Artifact

_MOST_TEXTS = 200


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"pack": pack}[name]


@click.command()
@click.argument("artifacts", nargs=-1, required=True, metavar="[NAME=]ARTIFACT...")
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write."
)
@click.option("--text", "text_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Lines of text like those that will be served; decisions are compared on them.")  # fmt: skip
@click.option("--one-pass", is_flag=True, help="Text tasks read the words that token tasks read.")
@click.option("--min-shared", default=0.25, show_default=True, type=SHARE,
              help="Share of a head's matrix products that another must need, too.")  # fmt: skip
@click.option("--min-agreement", default=0.95, show_default=True, type=SHARE,
              help="Share of a head's decisions on --text that must stay.")  # fmt: skip
def pack(artifacts: tuple[str, ...], output: Path, text_file: Path | None, **options: Any) -> None:
    """Write ARTIFACTS that share an encoder as one, which answers all their tasks from one pass.

    A head is called as its task, or NAME. What the graphs have in common is stored and computed once; every head's
    logits are compared with its artifact's before the folder appears. Token tasks read words joined by spaces, text
    tasks the text as it is: where a tokenizer tells these apart, a text passes twice, unless --one-pass lets text tasks
    read words, too.
    """
    require("onnx", "onnx_ir", extra="compress")
    from edgecompress.export.pack import Request
    from edgecompress.export.pack import pack as write
    from edgecompress.report.pack import pack_table

    console, texts = terminal(), tuple(some_lines(text_file, _MOST_TEXTS))
    given = _named(artifacts)
    with progress(console):
        made = write(given, output, Request(texts, **options))
    console.print(pack_table(made, given))
    before, after = (sum(map(_folder_bytes, those)) for those in (given.values(), [made.pack]))
    console.print(f"{output}: {megabytes(before)} → {megabytes(after)}, tokenizer included")


def _named(given: Sequence[str]) -> dict[str, Artifact]:
    """Open NAME=PATH and PATH; a plain path is named after its task. Raises InputError for two of one name."""
    from edgecompress.artifact import open_artifact
    from edgecompress.files import named_path

    found: dict[str, Artifact] = {}
    for text in given:
        name, path = named_path(text)
        artifact = open_artifact(path)
        name = artifact.task.name if name is None else name
        if name in found:
            raise InputError(f"two heads are called {name!r}: tell them apart with NAME={path}")
        found[name] = artifact
    return found


def _folder_bytes(one: Any) -> int:
    return sum((one.folder / name).stat().st_size for name in one.checksums)
