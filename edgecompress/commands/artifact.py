"""`edgecompress export` and `predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from edgecompress.commands.show import megabytes, progress, some_lines, terminal
from edgecompress.errors import InputError
from edgecompress.extras import require
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact
    from edgecompress.runtime.pack import Predictions
    from edgecompress.runtime.reading import Prediction

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_OUTPUT = click.option("-o", "--output", required=True, type=_FOLDER, help="Folder to write.")
_TEXT = click.option("--text", "text_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="Lines of text like those that will be served, to compare on.")  # fmt: skip


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"export": export, "convert": convert, "predict": predict}[name]


@click.command()
@click.argument("model")
@_OUTPUT
@click.option("--task", type=click.Choice(list(TASKS)), help="For a model fine-tuned elsewhere.")
@_TEXT
@click.option("--opset", default=20, show_default=True, type=click.IntRange(18), help="Version of ONNX's operators.")
@click.option("--backend", default="torch", show_default=True, type=click.Choice(["torch", "optimum"]),
              help="Whose exporter; optimum wants an environment that has it.")  # fmt: skip
@click.option("--max-length", default=0, type=click.IntRange(0), show_default="as many as it was fine-tuned on",
              help="Tokens that are read at once; longer texts are read in windows.")  # fmt: skip
def export(model: str, output: Path, *, task: str | None, text_file: Path | None, **form: Any) -> None:
    """Write MODEL (a fine-tuned model folder) as an ONNX artifact, proved equal to torch on several shapes."""
    require("torch", "transformers", "onnx", "onnxscript", extra="compress")
    from edgecompress.encoder import sources
    from edgecompress.export.onnx import Format
    from edgecompress.export.onnx import export as write

    console = terminal()
    with progress(console):
        made = write(sources.load(model), output, task=task or "", texts=some_lines(text_file, 32), form=Format(**form))
    difference = made.history[-1].details["difference"]
    console.print(
        f"{output}: {megabytes(made.model_bytes)}, differs from torch by {difference:.1e}",
        highlight=False,
    )


@click.command()
@click.argument("artifact", type=_FOLDER)
@_OUTPUT
@click.option("--to", "layout", required=True, type=click.Choice(["optimum", "transformers.js", "ort"]),
              help="Whose layout.")  # fmt: skip
def convert(artifact: Path, output: Path, layout: str) -> None:
    """Write ARTIFACT in the layout of another host, proved equal.

    optimum: model.onnx beside config.json, as `export` writes it. transformers.js: onnx/model.onnx, or
    onnx/model_quantized.onnx. ort: model.ort for small builds of onnxruntime, with the operators that they need.
    """
    require("onnx", extra="compress")
    from edgecompress.artifact import open_artifact
    from edgecompress.export.layouts import convert as write

    made = write(open_artifact(artifact), output, layout=layout)
    size = megabytes(made.model_bytes)
    terminal().print(f"{output}: {made.model_file}, {size}")


@click.command()
@click.argument("artifact", type=_FOLDER)
@click.argument("texts", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a text.")
@click.option("--input", "source", type=_FILE, help="JSON lines or .txt, also .gz, of any size; with --output.")
@click.option("--output", "target", type=_FILE, help="JSON lines: the input's fields, and the prediction.")
@click.option("--threads", default=0, type=click.IntRange(0), show_default="all cores", help="Cores to run on.")
@click.option("--batch-size", default=0, type=click.IntRange(0), show_default="what leaves answers the same",
              help="Texts at a time; above 1, int8 probabilities depend on the company a text is in.")  # fmt: skip
def predict(
    artifact: Path,
    texts: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Label TEXTS, the lines of standard input, or the file --input, with ARTIFACT (or a pack: with all its heads).

    A file is read a part at a time; the same command goes on where it was stopped.
    """
    from edgecompress.pack import heads_of
    from edgecompress.runtime.pack import load_any as load
    from edgecompress.runtime.predictions import to_json

    console = terminal()
    if (source is None) != (target is None) or (source and texts):
        raise click.UsageError("give --input and --output together, and no TEXTS then")
    if source and target:
        from edgecompress.runtime.streaming import predict_file

        with progress(console):
            done = predict_file(load(artifact, **options), source, target)
        console.print(f"{target}: {done:,} texts")
        return
    given = list(texts) or _standard_input()
    predictor = load(artifact, **options)
    for text, prediction in zip(given, predictor(given), strict=True):
        if as_json:
            click.echo(json.dumps({"text": text, **to_json(prediction)}, ensure_ascii=False))
        else:
            for table in _tables(text, prediction, heads_of(predictor.artifact)):
                console.print(table)


def _standard_input() -> list[str]:
    """Return its lines: of bytes, as Python's own reading of a terminal's encoding may let others through."""
    try:
        kinds = chain(["utf-8-sig"], repeat("utf-8"))  # editors of Windows write a mark before the first line
        return [line.decode(kind).rstrip("\r\n") for line, kind in zip(sys.stdin.buffer, kinds, strict=False)]
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 ({error}): convert it with iconv") from error


def _tables(text: str, prediction: Prediction | Predictions, heads: Mapping[str, Artifact]) -> Iterator[Table]:
    if isinstance(prediction, Mapping):
        for name, one in prediction.items():
            yield _table(f"{text} · {name}", one, spans=heads[name].task.spans)
    else:
        (only,) = heads.values()
        yield _table(text, prediction, spans=only.task.spans)


def _table(text: str, prediction: Prediction, *, spans: bool) -> Table:
    from edgecompress.runtime.predictions import Label

    long = f" (read in {prediction.windows} windows)" if prediction.windows > 1 else ""
    table = Table(title=f"{text}{long}", title_justify="left", show_edge=False)
    if isinstance(prediction, Label):
        rows = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        table.add_column("label")
        table.add_column("probability", justify="right")
        for label, probability in rows:
            table.add_row(label, f"{probability:.3f}")
        return table
    for title in ("text", "label" if spans else "tag", "place", "probability"):
        table.add_column(title)
    if spans and not prediction.spans:
        table.add_row("no names found")
    for span in prediction.spans if spans else ():
        table.add_row(span.text, span.label, f"{span.start}–{span.end}", f"{span.probability:.3f}")
    for word in () if spans else prediction.words:
        table.add_row(word.text, word.tag, f"{word.start}–{word.end}", f"{word.probability:.3f}")
    return table
