"""`edgecompress quantize`, `tune`, `verify` and `inspect`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecompress.commands.numbers import SHARE, Finite
from edgecompress.commands.show import megabytes, progress, some_lines, terminal
from edgecompress.errors import InputError
from edgecompress.export.schemes import SCHEMES
from edgecompress.extras import require

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact
    from edgecompress.export.compare import Comparison
    from edgecompress.export.ladder import Judge
    from edgecompress.export.verify import Side
    from edgecompress.tasks import Task
    from edgecompress.tasks.examples import Example

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUTPUT = click.option("-o", "--output", required=True, type=_FOLDER, help="Folder to write.")
_TEXT = click.option("--text", "text_file", type=_FILE, help="Lines of text like those that will be served.")
_LABELLED = click.option("--validation", multiple=True, type=_FILE, help="Labelled examples (.jsonl).")
_JSON = click.option(
    "--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there."
)
_MOST_TEXTS = 200


def command(name: str) -> click.Command:
    """Return the command called ``name``."""
    return {"quantize": quantize, "tune": tune, "verify": verify, "inspect": inspect}[name]


@click.command()
@click.argument("artifact", type=_FOLDER)
@_OUTPUT
@click.option("--scheme", default="int8-tables4", show_default=True, type=click.Choice(list(SCHEMES)), metavar="NAME",
              help="One of those above.")  # fmt: skip
@click.option(
    "--min-agreement", default=0.9, show_default=True, type=SHARE, help="Share of decisions on --text that must stay."
)
@_TEXT
@click.option("--ladder", is_flag=True, help="Try every scheme and keep the best by --validation (or --text).")
@click.option("--max-drop", default=0.5, show_default=True, type=Finite(0), help="Points a rung may lose.")
@click.option("--prefer", default="small", show_default=True, type=click.Choice(["small", "fast"]),
              help="Which of the rungs that pass is kept.")  # fmt: skip
@_LABELLED
@_JSON
def quantize(artifact: Path, output: Path, **options: Any) -> None:
    """Write ARTIFACT (fp32) with smaller numbers, if it still says the same.

    One --scheme, or with --ladder all of them, of which the smallest (or fastest) is kept that scores at most
    --max-drop points below fp32; every rung is printed.
    """
    require("onnx", "onnx_ir", extra="compress")
    from edgecompress.artifact import open_artifact

    _refuse_unused(options["ladder"])
    plain, texts = open_artifact(artifact), some_lines(options["text_file"], _MOST_TEXTS)
    if options["ladder"]:
        _climb(plain, output, options, texts)
        return
    from edgecompress.export.quantize import quantize as write

    console = terminal()
    with progress(console):
        made = write(plain, output, scheme=options["scheme"], texts=texts, min_agreement=options["min_agreement"])
    agreement = made.history[-1].details.get("agreement")
    proof = (
        "decisions not compared (give --text FILE)" if agreement is None else f"{agreement:.1%} of decisions unchanged"
    )
    sizes = " → ".join(megabytes(one.model_bytes) for one in (plain, made))
    console.print(f"{output}: {sizes}, {proof}")


_ROWS = "\n".join(f"  {name:22}{row.does}" for name, row in SCHEMES.items())
quantize.help = f"{cleandoc(quantize.help or '')}\n\n\b\nSchemes:\n{_ROWS}"


def _refuse_unused(ladder: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Raise InputError for an option that would be ignored."""
    given = click.get_current_context().get_parameter_source
    unused = ("scheme", "min_agreement") if ladder else ("max_drop", "prefer", "validation", "target")
    for name in unused:
        if given(name) is ParameterSource.COMMANDLINE:
            option = "--json" if name == "target" else f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} {'has no use with' if ladder else 'belongs to'} --ladder: leave one of them out"
            )


def _climb(plain: Artifact, output: Path, options: dict[str, Any], texts: Sequence[str]) -> None:
    from edgecompress.export.ladder import Judge, climb
    from edgecompress.files import write_json
    from edgecompress.report.graph import ladder_table, refusals

    console = terminal()
    judged = Judge(_examples(options["validation"], plain.task), tuple(texts))
    with progress(console):
        found = climb(plain, output, judged, max_drop=options["max_drop"], prefer=options["prefer"])
    console.print(ladder_table(found))
    for line in refusals(found):
        console.print(line)
    console.print(f"{output}: {found.chosen}, {megabytes(found.artifact.model_bytes)}")
    if options["target"]:
        rungs = [dataclasses.asdict(rung) for rung in found.rungs]
        write_json(options["target"], {"rungs": rungs, "chosen": found.chosen, "metric": found.metric})


def _examples(files: Sequence[Path], task: Task) -> tuple[Example, ...]:
    from edgecompress.tasks.examples import read_examples

    return tuple(read_examples(files, task)) if files else ()


@click.command()
@click.argument("artifact", type=_FOLDER)
@_OUTPUT
@click.option("--scheme", default="int8-tables4", show_default=True, type=click.Choice(list(SCHEMES)), metavar="NAME",
              help="One of those of `quantize`.")  # fmt: skip
@click.option("--length", "lengths", multiple=True, type=click.IntRange(1), default=(32, 128), show_default=True,
              help="Tokens of a text that is timed; repeat.")  # fmt: skip
@click.option("--threads", default=1, type=click.IntRange(0), show_default=True,
              help="Cores to time on; 0: all that this process may use.")  # fmt: skip
@_TEXT
def tune(
    artifact: Path, output: Path, scheme: str, lengths: Sequence[int], threads: int, text_file: Path | None
) -> None:
    """Write ARTIFACT (fp32) in --scheme, in the graph variant that is fastest on this machine.

    The gain depends on the CPU, so run it on one like those that will serve; which one it was is noted in the artifact.
    """
    require("onnx", "onnx_ir", extra="compress")
    from edgecompress.artifact import open_artifact
    from edgecompress.export.tune import tune as write
    from edgecompress.report.graph import tuning_table
    from edgecompress.runtime.session import usable_cores

    if threads > usable_cores():  # said before every variant is made
        raise InputError(f"--threads {threads}: this process may use {usable_cores()} cores, choose at most so many")

    console, texts = terminal(), some_lines(text_file, _MOST_TEXTS)
    shapes = [(1, length) for length in lengths]
    with progress(console):
        found = write(open_artifact(artifact), output, scheme=scheme, texts=texts, shapes=shapes, threads=threads)
    console.print(tuning_table(found, scheme))
    console.print(f"{output}: {found.chosen}")


@click.command()
@click.argument("first", type=_FOLDER)
@click.argument("second", type=_FOLDER)
@_TEXT
@_LABELLED
@click.option("--tolerance", type=Finite(0), help="Largest difference allowed, of the largest logit. "
              "[default: 0.001 between float32 models]")  # fmt: skip
@click.option(
    "--min-agreement",
    default=0.9,
    show_default=True,
    type=SHARE,
    help="Share of equal decisions that is needed, on --text, without it on random ids.",
)
@_JSON
def verify(first: Path, second: Path, text_file: Path | None, validation: Sequence[Path], **options: Any) -> None:
    """Compare FIRST and SECOND, each a fine-tuned model folder, an artifact or a pack; exit 1 past the tolerance.

    Shapes 1×1, 1×3, 1×the longest input, an odd batch and mixed padding, then --text; with --validation the scores.
    Of two packs all heads are compared, of one pack the head with the labels of the other.
    """
    from edgecompress.export.verify import judge, open_pairs
    from edgecompress.export.verify import verify as measure
    from edgecompress.report.graph import verify_table

    if not all(folder.is_dir() for folder in (first, second)):
        raise InputError(f"{first if second.is_dir() else second} is not a folder: give a model folder or an artifact")
    console = terminal()
    with progress(console):
        pairs = open_pairs(first, second)
        if validation and len(pairs) > 1:
            raise InputError("--validation is for one task: compare a pack with an artifact, or leave it out")
        texts = some_lines(text_file, _MOST_TEXTS)
        compared = [measure(*pair, texts=texts) for pair in pairs]
        scores = _scores([side.artifact for side in pairs[0]], validation)
    for (left, right), found in zip(pairs, compared, strict=True):
        console.print(verify_table(found, (left.title, right.title), scores))
    if options["target"]:
        _write_comparisons(options["target"], pairs, compared, scores)
    for pair, found in zip(pairs, compared, strict=True):
        console.print(judge(*pair, found, options["tolerance"], options["min_agreement"]))


def _scores(artifacts: Sequence[Artifact | None], files: Sequence[Path]) -> list[float]:
    from edgecompress.export.ladder import Judge

    if not files:
        return []
    found = []
    for artifact in artifacts:
        if artifact is None:
            raise InputError("--validation scores artifacts: export the model folder first, or leave it out")
        judged: Judge = Judge(_examples(files, artifact.task))
        found.append(judged.score(artifact, 1.0))
    return found


def _write_comparisons(
    target: Path, pairs: Sequence[tuple[Side, Side]], compared: Sequence[Comparison], scores: Sequence[float]
) -> None:
    """Write the figures of the one pair, or those of several by head."""
    from edgecompress.files import write_json

    rows = {left.head: _comparison(found) for (left, _), found in zip(pairs, compared, strict=True)}
    write_json(target, {"heads": rows} if len(rows) > 1 else {**_comparison(compared[0]), "scores": list(scores)})


def _comparison(found: Comparison) -> dict[str, Any]:
    rows = {"rows": [dataclasses.asdict(row) for row in found.rows], "padding": list(found.padding)}
    return {**rows, "largest": found.largest, "agreement": found.agreement, "error": found.error}


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def inspect(path: Path, *, as_json: bool) -> None:
    """Show the size ledger of PATH (artifact, pack, or ONNX file): parts, stored types, float operators, history."""
    require("onnx", "onnx_ir", extra="compress")
    import json

    from edgecompress.export.ledger import ledger
    from edgecompress.pack import Pack, heads_of, open_any
    from edgecompress.report.graph import ledger_tables

    if not path.exists():
        raise InputError(f"{path} does not exist: give an artifact's folder, or an ONNX file")
    opened = open_any(path) if path.is_dir() else None
    found = ledger(opened.model_path if opened else path)
    heads = heads_of(opened) if opened else {}
    if as_json:
        about = {name: {"task": head.task.name, "labels": head.labels, "scheme": head.scheme}
                 for name, head in heads.items()}  # fmt: skip
        more = {"heads": about} if isinstance(opened, Pack) else next(iter(about.values()), {})
        click.echo(json.dumps({**more, **dataclasses.asdict(found)}, ensure_ascii=False))
        return
    console = terminal()
    for table in ledger_tables(found, heads, opened.history if isinstance(opened, Pack) else ()):
        console.print(table)
