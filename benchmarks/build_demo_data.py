"""Build ``edgecompress/data/demo`` from the shared data: the same input gives the same bytes.

    EDGECOMPRESS_DATA=../shared/data python benchmarks/build_demo_data.py

Only sources whose licence allows redistribution are taken (edgecompress/data/demo/ATTRIBUTION.md names them). A line
of text that equals a validation or test item of a demo task (letters and digits compared, case ignored) is left out.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "edgecompress" / "data" / "demo"
SPLITS = ("train", "validation", "test")
TASKS = (("topic", "slk"), ("topic", "swh"), ("ner", "slk"), ("pos", "slk"), ("sentiment", "swh"))
TEXT = {
    "slk": (
        "text/slk_Latn/ud-snk-train",
        "text/slk_Latn/commonvoice",
        "text/slk_Latn/eforms",
        "text/slk_Latn/msdocs-human",
    ),
    "swh": ("text/swh_Latn/tico19", "text/swh_Latn/african-storybook"),
}
# The demo is short: every so many rows of these splits, and all with what is rare in them (a name, a tag, a label).
EVERY = {
    ("ner", "train"): 20,
    ("ner", "validation"): 2,
    ("pos", "train"): 5,
    ("pos", "validation"): 2,
    ("sentiment", "train"): 3,
}
ALWAYS = {
    ("ner", "train"): ('"B-',),
    ("pos", "train"): ('"SYM"',),
    ("sentiment", "train"): ('"label": "negative"', '"label": "positive"'),
}
TRAIN_TEXTS = {"slk": (), "swh": ("sentiment", "topic")}


def main() -> None:
    """Write every demo file and list their sizes."""
    source = Path(os.environ.get("EDGECOMPRESS_DATA", ROOT.parent / "shared" / "data"))
    for task, language in TASKS:
        for split in SPLITS:
            data = (source / task / f"{language}_Latn" / f"{split}.jsonl").read_text(encoding="utf-8")
            _write(TARGET / task / language / f"{split}.jsonl.gz", _some(data.splitlines(), task, split))
    for language in TEXT:
        _write(TARGET / "text" / f"{language}.txt.gz", _text(source, language))


def _some(rows: list[str], task: str, split: str) -> list[str]:
    every = EVERY.get((task, split), 1)
    always = ALWAYS.get((task, split), ())
    return [row for at, row in enumerate(rows) if at % every == 0 or any(mark in row for mark in always)]


def _text(source: Path, language: str) -> Iterator[str]:
    """Yield the language's text, each line once, without what the demo tasks are evaluated on."""
    held_out = {_letters(text) for split in SPLITS[1:] for text in _items(source, language, split)}
    seen: set[str] = set()
    for line in _lines(source, language):
        key = _letters(line)
        if key and key not in held_out and line not in seen:
            seen.add(line)
            yield line


def _lines(source: Path, language: str) -> Iterator[str]:
    """Yield the plain-text sources in the order of ``TEXT``, then the training texts of the named tasks."""
    for name in TEXT[language]:
        with gzip.open(source / f"{name}.txt.gz", "rt", encoding="utf-8") as handle:
            yield from (line.strip() for line in handle)
    for task in TRAIN_TEXTS[language]:
        yield from _texts(source / task / f"{language}_Latn" / "train.jsonl")


def _items(source: Path, language: str, split: str) -> Iterator[str]:
    """Yield the texts of one split of every demo task in the language."""
    for task, tongue in TASKS:
        if tongue == language:
            yield from _texts(source / task / f"{language}_Latn" / f"{split}.jsonl")


def _texts(path: Path) -> Iterator[str]:
    """Yield the text of every row, tokens joined by a blank."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield " ".join((row["text"] if "text" in row else " ".join(row["tokens"])).split())


def _letters(text: str) -> str:
    """Return the letters and digits alone, case folded."""
    return "".join(filter(str.isalnum, text.casefold()))


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write gzip without a time stamp or a name, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as handle:
        for line in lines:
            handle.write(f"{line}\n".encode())
            count += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    click.echo(f"{path.relative_to(ROOT)}  {count:,} lines  {len(buffer.getvalue()):,} bytes")


if __name__ == "__main__":
    main()
