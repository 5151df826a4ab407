"""How well a model reads texts that are longer than those it learnt from: all at once, or in windows.

    python benchmarks/long_texts.py NAME --test FILE.jsonl teacher=ARTIFACT student=ARTIFACT

Neighbouring sentences of a token task's test file are joined to texts; each artifact tags them with windows of several
lengths (its `max_length`), from which `export` takes the one of fine-tuning. The result is
benchmarks/results/long_texts/NAME.json. What the scores of one file have in common is its sentences: they compare
along a row, and down a column only as far as joining leaves the task what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import click
from students import ROOT

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.bench.host import host
from edgecompress.files import named_path, write_json
from edgecompress.runtime.encoding import encode, open_tokenizer
from edgecompress.runtime.predictor import from_artifact
from edgecompress.tasks.examples import Example, read_examples
from edgecompress.tasks.scores import score

RESULTS = ROOT / "benchmarks" / "results" / "long_texts"
JOINED = (1, 6, 15)  # sentences a text
WINDOWS = (64, 128, 256, 512)  # tokens
UNCUT = 1 << 20


@click.command()
@click.argument("name")
@click.argument("artifacts", nargs=-1, required=True)
@click.option("--test", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(name: str, artifacts: tuple[str, ...], test: Path) -> None:
    """Score ARTIFACTS (each NAME=FOLDER) on the sentences of a file, alone and joined."""
    rows: list[dict[str, Any]] = []
    for given in artifacts:
        called, folder = named_path(given)
        artifact = open_artifact(folder)
        examples = read_examples([test], artifact.task)
        for joined in JOINED:
            texts = joined_texts(examples, joined)
            rows.append({"model": called or Path(folder).name, **_row(artifact, texts), "joined": joined})
            click.echo(f"{called} {joined}: {rows[-1]['scores']}")
    about = {"name": name, "task": artifact.task.name, "metric": artifact.task.metrics[0], "file": test.name}
    write_json(RESULTS / f"{name}.json", {**about, "rows": rows, "host": asdict(host())})


def joined_texts(examples: Sequence[Example], count: int) -> list[Example]:
    """Return texts of ``count`` neighbouring sentences each; what is left of fewer is left out."""
    whole = [examples[at : at + count] for at in range(0, len(examples) - count + 1, count)]
    return [
        Example(tuple(w for e in part for w in e.words), tuple(x for e in part for x in e.labels)) for part in whole
    ]


def _row(artifact: Artifact, texts: Sequence[Example]) -> dict[str, Any]:
    words, gold = [text.words for text in texts], [text.labels for text in texts]
    lengths = [len(one.ids) for one in encode(open_tokenizer(artifact.tokenizer_path), words, UNCUT)]
    scores = {}
    for window in WINDOWS:
        said = from_artifact(replace(artifact, max_length=window), threads=1).tag_words(words)
        scores[str(window)] = round(score(artifact.task, gold, said)[artifact.task.metrics[0]], 2)
    return {"texts": len(texts), "median_tokens": median(lengths), "trained": artifact.max_length, "scores": scores}


if __name__ == "__main__":
    main()
