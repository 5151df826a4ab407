"""Plain text as a stream of lines, from .txt, .jsonl (either may be .gz) and .parquet files, and from data sets.

A data set of the hub, or a local folder that ``datasets`` reads, is named ``hf:NAME:COLUMN`` or
``hf:NAME:CONFIGURATION:COLUMN``; its train split is streamed. Needs no torch.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from edgecompress.errors import CorpusError, MissingExtraError
from edgecompress.extras import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HUB = "hf:"  # begins the name of a data set
SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
_BOM = b"\xef\xbb\xbf"
_LONE = re.compile("[\ud800-\udfff]")
_ROWS = 1024
_FIRST = 200  # lines


@dataclass(frozen=True)
class Corpus:
    """Text of one language: a name for messages, what to read in reading order, its share when languages are mixed.

    ``datasets`` are named as the module says, and read after the ``files``.
    """

    name: str
    files: tuple[Path, ...]
    weight: float = 1.0
    datasets: tuple[str, ...] = ()


def check(corpus: Corpus) -> None:
    """Raise CorpusError when a file is missing or of an unknown kind, or the weight is not positive; reads no text."""
    if not corpus.files and not corpus.datasets:
        raise CorpusError(f"corpus {corpus.name}: no files are named; give at least one of {', '.join(SUFFIXES)}")
    for name in corpus.datasets:
        dataset_parts(name)
    if not corpus.weight > 0:
        raise CorpusError(f"corpus {corpus.name}: weight {corpus.weight} must be above 0")
    for path in corpus.files:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise CorpusError(f"corpus {corpus.name}: {path} {what}; check the path")
        if not path.name.endswith(SUFFIXES):
            raise CorpusError(f"corpus {corpus.name}: {path} is of an unknown kind; known: {', '.join(SUFFIXES)}")


def check_text(corpus: Corpus) -> None:
    """Raise CorpusError for what :func:`check` finds, and for what the first lines of its files show: another encoding,
    no gzip, no such column, no text at all. Data sets are not asked.
    """
    check(corpus)
    for path in corpus.files:
        for _ in islice(_texts(path), _FIRST):
            pass
    if not corpus.datasets:
        next(_stream(corpus))


def lines(corpus: Corpus) -> Iterator[str]:
    """Return the stripped, non-empty lines of every file, one at a time (memory does not grow with the file).

    .jsonl rows give their ``text``, or their ``tokens`` joined by a space; .parquet files give the column ``text``.
    A byte-order mark is dropped. Raises CorpusError at once for what :func:`check` finds, and while reading for text
    that is not UTF-8, a damaged file, or a corpus without a single non-blank line.
    """
    check(corpus)
    return _stream(corpus)


def _stream(corpus: Corpus) -> Iterator[str]:
    """Yield the lines; raise CorpusError at the end when there was none."""
    empty = True
    streams = [*map(_texts, corpus.files), *map(_rows, corpus.datasets)]
    for text in chain.from_iterable(streams):
        line = " ".join(text.splitlines()).strip()
        if line:
            empty = False
            yield line
    if empty:
        files = ", ".join([*map(str, corpus.files), *corpus.datasets])
        raise CorpusError(f"corpus {corpus.name} is empty: no non-blank line in {files}")


def _texts(path: Path) -> Iterator[str]:
    """Yield the raw texts of one file by its kind, with every reading error turned into one CorpusError line."""
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet(path)
        elif path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from (_row(path, number, line) for number, line in _decoded(path) if line.strip())
        else:
            yield from (line for _, line in _decoded(path))
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{path} is not a valid gzip file ({error}): compress it again") from error
    except EOFError as error:
        raise CorpusError(f"{path} is cut short (the gzip stream has no end): copy or compress it again") from error
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror or error}") from error


def _decoded(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of a possibly gzipped UTF-8 file."""
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as handle:
        start = 0
        for number, raw in enumerate(handle, 1):
            yield number, _decode(path, number, start, raw.removeprefix(_BOM) if number == 1 else raw)
            start += len(raw)


def _decode(path: Path, number: int, start: int, raw: bytes) -> str:
    """Decode one line that begins at byte ``start`` of the text."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{raw[error.start]:02x} at offset {start + error.start}"
        hint = f"iconv -f ITS-ENCODING -t UTF-8 {path.name}"
        raise CorpusError(f"{path}, line {number}: not UTF-8 ({where}); convert it with `{hint}`") from error


def _row(path: Path, number: int, line: str) -> str:
    """Return the text of one JSON row."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno})") from error
    text, tokens = (row.get(key) if isinstance(row, dict) else None for key in ("text", "tokens"))
    if not isinstance(text, str) and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        text = " ".join(tokens)
    if isinstance(text, str):  # half of a pair, which JSON can escape and no tokenizer reads
        return _LONE.sub("\ufffd", text) if "\\u" in line else text
    raise CorpusError(f'{path}, line {number}: a row needs "text" (a string) or "tokens" (a list of strings)')


def _parquet(path: Path) -> Iterator[str]:
    """Yield the column ``text``, a thousand rows at a time; nulls are skipped."""
    try:
        pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs pyarrow: {install('compress')}") from error
    try:
        with parquet.ParquetFile(path) as table:
            _check_column(path, table.schema_arrow)
            for batch in table.iter_batches(batch_size=_ROWS, columns=["text"]):
                yield from (text for text in batch.column(0).to_pylist() if text is not None)
    except pa.ArrowInvalid as error:
        raise CorpusError(f"{path} is not a valid parquet file: {str(error).splitlines()[0]}") from error


def _check_column(path: Path, schema: Any) -> None:
    """Raise CorpusError unless the table has a column ``text`` of strings."""
    if "text" not in schema.names:
        raise CorpusError(f'{path} has no column "text"; its columns are {", ".join(schema.names)}')
    kind = str(schema.field("text").type)
    if kind not in {"string", "large_string", "string_view"}:
        raise CorpusError(f'{path}: column "text" holds {kind}, not strings')


def dataset_parts(name: str) -> tuple[str, str | None, str]:
    """Return (name, configuration, column) of ``hf:NAME[:CONFIGURATION]:COLUMN``. Raises CorpusError."""
    parts = name.removeprefix(HUB).split(":")
    if not name.startswith(HUB) or not 2 <= len(parts) <= 3 or not all(parts):  # noqa: PLR2004 - the form itself
        raise CorpusError(f"{name!r} is no data set: write hf:NAME:COLUMN or hf:NAME:CONFIGURATION:COLUMN")
    return parts[0], parts[1] if len(parts) > 2 else None, parts[-1]  # noqa: PLR2004


def _rows(name: str) -> Iterator[str]:
    """Yield the strings of one column of a data set's train split as they arrive; nulls are skipped."""
    path, configuration, column = dataset_parts(name)
    try:
        library: Any = import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(f"reading {name} needs datasets: {install('compress')}") from error
    try:
        for row in library.load_dataset(path, configuration, split="train", streaming=True):
            text = row.get(column, "")
            if column not in row or not isinstance(text, str | None):
                columns = ", ".join(key for key, value in row.items() if isinstance(value, str))
                raise CorpusError(f"{name}: no column {column!r} of strings; those of the data set: {columns}")
            if text is not None:
                yield text
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(f"{name} cannot be read ({reason}): check the name, the configuration and the network") from (
            error
        )
