"""The rows of models/DATA.md, and what README.md says of them: what it takes to make a student."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath

import click
from students import HEADLINE, ROOT, name_of, shipped

RESULTS = ROOT / "benchmarks" / "results"
LANGUAGES = ("mlt", "slk", "swh")
BYTES = 2 * (2 + 3) * 384  # of a token: two layers' hidden states, three relations, as wide as the teacher, in bfloat16


@dataclass(frozen=True)
class Source:
    """Files whose path holds ``part``, the data set's ``name``, its ``licence``, and how many lines or examples there
    are to learn from.
    """

    part: str
    name: str
    licence: str
    count: int


@cache
def sources() -> tuple[Source, ...]:
    """Return the rows of models/DATA.md; raw text is called by its path."""
    found, columns = [], list[str]()
    for line in (ROOT / "models" / "DATA.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| file"):
            columns = cells
        elif line.startswith("| `"):
            row = dict(zip(columns, cells, strict=True))
            part = cells[0].strip("`")
            learnt = row.get("lines") or row["examples"].partition("/")[0]
            count = sum(int(number) for number in re.findall(r"\d+", learnt.replace(",", "")))
            found.append(Source(part, row.get("data set", part), row["licence"], count))
    return tuple(found)


def source_of(path: PurePath) -> Source:
    """Return whose file this is. Raises ClickException where models/DATA.md does not say."""
    within = f"/{path.as_posix()}"
    named = [one for one in sources() if f"/{one.part}/" in within or f"/{one.part}." in within]
    if len(named) != 1:
        raise click.ClickException(f"models/DATA.md has {len(named)} rows for {path}: one is needed")
    return named[0]


def pieces_of_slovak(teacher: str) -> int:
    """Return how many pieces of the vocabulary of ``teacher`` (xlmr, mbert) all Slovak text in models/DATA.md uses."""
    found = json.loads((RESULTS / "tokenizer" / f"quality-{teacher}-slk_Latn.json").read_text(encoding="utf-8"))
    return next(int(row["kept"]) for row in found["rows"] if row["fill"] == "none")


def needs() -> str:
    """Return what the shipped recipes took: text, examples, time and disk."""
    lines, examples, disk = list[int](), list[int](), list[int]()
    for language in LANGUAGES:
        recipe = shipped(f"e5-small-{language}")
        lines.append(sum(source_of(PurePath(file)).count for file in recipe["corpora"][language]["files"]))
        for task in HEADLINE:
            learnt = {source_of(PurePath(file)) for file in recipe["tasks"][task]["train"]}
            examples.append(sum(one.count for one in learnt))
        (training,) = (stage["training"] for stage in recipe["stages"] if name_of(stage) == "distill")
        disk.append(training["examples"] * training["max_length"] * BYTES)
    hours = _hours()
    return (
        "No ready-made student is published: [models/](models) holds recipes and measured scores. Making one takes raw "
        f"text in your language ({min(lines):,} to {max(lines):,} lines there), labelled examples of each task "
        f"({min(examples):,} to {max(examples):,} there), {min(hours):.1f} to {max(hours):.1f} hours on one core, and "
        f"up to {max(disk) / 1e9:.0f} GB of disk while it distils."
    )


def _hours() -> list[float]:
    """Return the hours of one core that each run of the shipped recipes took, its fine-tuned teachers included."""
    paths = (RESULTS / "retention").glob("*-default-m*-test.json")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)]
    return [run["minutes"] * run["threads"] / 60 for run in runs if set(HEADLINE) <= set(run["tasks"])]
