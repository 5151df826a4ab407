"""Predictions for a file of any size: a part at a time, and from where it stopped when it is run again."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgecompress.errors import TaskDataError
from edgecompress.files import DAMAGED_GZIP, check_writable, output_error, refuse_existing, write_json
from edgecompress.pack import tags_words
from edgecompress.progress import report
from edgecompress.runtime.predictions import Tags, to_json
from edgecompress.tasks.examples import decode

if TYPE_CHECKING:
    from edgecompress.runtime.pack import AnyPredictor, Predictions
    from edgecompress.runtime.reading import Prediction

CHUNK = 256  # texts held in memory
Row = dict[str, Any]


def predict_file(predictor: AnyPredictor, source: Path, target: Path) -> int:
    """Write every line of ``source`` with its prediction to ``target``, JSON lines, and return how many.

    A line of ``source`` is a text (.txt), or a JSON object (.jsonl) with "text" or, for token tasks, "tokens", either
    also .gz; its other fields are kept, and "prediction" is added, of a pack with those of its "heads" by name. What is
    done lies in ``target``.part until all is: run again for the same file and artifact, it goes on from there. Raises
    TaskDataError for what cannot be read, OutputError when ``target`` exists or cannot be written.
    """
    refuse_existing(target, "--output")
    check_writable(target)
    part, note = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    about = _about(predictor, source)
    done = _done(part) if _read(note) == about and part.is_file() else 0
    size = source.stat().st_size
    try:
        if not done:
            part.unlink(missing_ok=True)
        write_json(note, about)
        with _opened(source) as raw, part.open("ab") as out:
            rows = islice(_rows(source, raw), done, None)
            while chunk := list(islice(rows, CHUNK)):
                for row, said in zip(chunk, _predicted(predictor, chunk, source), strict=True):
                    line = json.dumps({**row, "prediction": said}, ensure_ascii=False).encode("utf-8", "replace")
                    out.write(line + b"\n")
                out.flush()
                done += len(chunk)
                report("predict", raw.tell(), size, f"{done:,} texts")
        part.replace(target)
        note.unlink()
    except OSError as error:
        raise output_error(target, error) from error
    return done


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> TaskDataError:
    return TaskDataError(f"{source} cannot be read ({error.strerror}): check the file and its permissions")


def _about(predictor: AnyPredictor, source: Path) -> Row:
    """Return what tells whether a part may be gone on with."""
    if not source.is_file():
        raise TaskDataError(f"{source} does not exist: check the path")
    seen, artifact = source.stat(), predictor.artifact
    return {
        "input": [source.name.encode("utf-8", "backslashreplace").decode(), seen.st_size, seen.st_mtime_ns],
        "artifact": artifact.checksums[artifact.model_file],
        "tokenizer": artifact.checksums["tokenizer.json"],
    }


def _read(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or half of one: then the work begins anew
        return None


def _done(part: Path) -> int:
    """Return how many whole lines there are, and cut off what a stop left of one."""
    count, end = 0, 0
    with part.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
        file.truncate(end)
    return count


def _rows(source: Path, raw: BinaryIO) -> Iterator[Row]:
    lines: Any = gzip.GzipFile(fileobj=raw) if source.suffix == ".gz" else raw
    plain = source.name.removesuffix(".gz").endswith(".txt")
    try:
        for number, line in enumerate(lines, 1):
            text = decode(f"{source}:{number}", line).rstrip("\r\n")
            if plain or text.strip():
                yield {"text": text} if plain else _row(text, f"{source}:{number}")
    except DAMAGED_GZIP as error:
        raise TaskDataError(f"{source} is damaged or cut short ({error}): get it again") from error
    except OSError as error:
        raise _unreadable(source, error) from error


def _row(text: str, place: str) -> Row:
    finite = partial(_finite, place=place)
    try:
        row = json.loads(text, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError) as error:
        raise TaskDataError(f"{place} is not JSON ({error}): write one object a line") from error
    if not isinstance(row, dict):
        raise TaskDataError(f"{place} is {type(row).__name__}, not an object: write one object a line")
    return row


def _finite(number: str, place: str) -> float:
    """Return a number of a row, which is written again. Raises TaskDataError for one that JSON has no words for."""
    found = float(number)
    if not math.isfinite(found):
        raise TaskDataError(f"{place}: {number} is not a finite number, as JSON wants: write a finite one, or null")
    return found


def _predicted(predictor: AnyPredictor, rows: list[Row], source: Path) -> list[Row]:
    """Return one prediction a row; rows with tokens and rows with a text may stand side by side."""
    words = [row["tokens"] if "tokens" in row and "text" not in row else None for row in rows]
    for row, given in zip(rows, words, strict=True):
        _check(row, given, predictor, source)
    texts: Iterator[Prediction | Predictions] = iter(
        predictor([row["text"] for row, given in zip(rows, words, strict=True) if given is None])
    )
    tags: Iterator[Tags | Mapping[str, Tags]] = iter(
        predictor.tag([given for given in words if given is not None]) if any(w is not None for w in words) else ()
    )
    return [to_json(next(texts) if given is None else next(tags)) for given in words]


def _check(row: Row, words: object, predictor: AnyPredictor, source: Path) -> None:
    text = row.get("text")
    if words is None and isinstance(text, str):
        return
    token = tags_words(predictor.artifact)
    if token and isinstance(words, list) and all(isinstance(word, str) for word in words):
        return
    allowed = '"text", a string' + (', or "tokens", a list of strings' if token else "")
    raise TaskDataError(f"{source}: {json.dumps(row, ensure_ascii=False)[:80]} has no {allowed}")
