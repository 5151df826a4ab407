"""Labelled examples: JSON lines, read strictly, so that a wrong line is named before any training starts."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgecompress.errors import TaskDataError
from edgecompress.files import DAMAGED_GZIP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgecompress.tasks import Task

OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Example:
    """``labels[i]`` belongs to ``words[i]``. For a text task the whole text is the one "word"."""

    words: tuple[str, ...]
    labels: tuple[str, ...]


def read_examples(paths: Sequence[Path], task: Task) -> tuple[Example, ...]:
    """Read ``.jsonl`` or ``.jsonl.gz`` files: ``{"text", "label"}`` for a text task, else ``{"tokens", "tags"}``.

    Other keys and blank lines are ignored, and so are blanks around a label. A tag I-type that continues no span of its
    type begins one (IOB1, and slips of BIO): it is read as B-type, as conlleval and seqeval read it. Raises
    TaskDataError, one line naming file and line, for anything else that does not fit, and for a file without examples.
    """
    return tuple(example for path in paths for example in _read_file(Path(path), task))


def labels_of(train: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels of ``train``, sorted, with "O" (outside of any span) first where it occurs."""
    return tuple(sorted(_counts(train), key=lambda label: (label != OUTSIDE, label)))


def check_labels(labels: Sequence[str], examples: Sequence[Example], where: str) -> None:
    """Raise TaskDataError when ``examples`` (named ``where``) hold labels that are not in ``labels``, with counts."""
    unknown = {label: count for label, count in sorted(_counts(examples).items()) if label not in set(labels)}
    if unknown:
        named = ", ".join(f"{label!r} ({count}×)" for label, count in unknown.items())
        raise TaskDataError(
            f"{where} has labels that training lacks: {named}; known are {', '.join(labels)}: "
            f"add such examples to the training data, or correct them in {where}"
        )


def check_several(labels: Sequence[str], where: Path) -> None:
    """Raise TaskDataError where the training examples (of ``where``) hold one label alone."""
    if len(labels) == 1:
        raise TaskDataError(f"{where}: only the label {labels[0]!r} occurs, at least two are needed")


def _counts(examples: Iterable[Example]) -> Counter[str]:
    return Counter(label for example in examples for label in example.labels)


def _read_file(path: Path, task: Task) -> Iterator[Example]:
    empty = True
    for place, line in _lines(path):
        empty = False
        yield _example(place, line, task)
    if empty:
        raise TaskDataError(f"{path} holds no examples: give a file with one JSON object a line")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield "file:line" and the text of each line that is not blank."""
    try:
        with _open(path) as handle:
            for number, raw in enumerate(handle, 1):
                place = f"{path}:{number}"
                line = decode(place, raw)
                if line.strip():
                    yield place, line
    except FileNotFoundError as error:
        raise TaskDataError(f"{path} does not exist: check the path") from error
    except DAMAGED_GZIP as error:
        raise TaskDataError(f"{path} is not a whole gzip file ({error}): copy it again, or unpack it") from error
    except OSError as error:
        raise TaskDataError(f"{path} cannot be read ({error.strerror}): give a readable file") from error


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    if path.name.endswith(".jsonl.gz"):
        return gzip.open(path, "rb")
    if path.suffix == ".jsonl":
        return path.open("rb")
    raise TaskDataError(f"{path} is not a .jsonl or .jsonl.gz file: convert it to one JSON object a line")


def decode(place: str, raw: bytes) -> str:
    """Return a line of a file as text, without a byte-order mark. Raises TaskDataError, naming ``place``."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = raw[error.start : error.end]
        raise TaskDataError(f"{place}: byte {bad!r} at {error.start} is not UTF-8: save the file as UTF-8") from error


def _example(place: str, line: str, task: Task) -> Example:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        shown = _short(line.strip())
        raise TaskDataError(f"{place}: {shown} is not JSON ({error}): write one JSON object a line") from error
    if not isinstance(row, dict):
        raise TaskDataError(f"{place}: {_short(row)} is not a JSON object: write {_shape(task)}")
    return _text_example(place, row, task) if task.kind == "text" else _token_example(place, row, task)


def _text_example(place: str, row: dict[str, Any], task: Task) -> Example:
    values = {key: _value(place, row, key, task) for key in ("text", "label")}
    for key, value in values.items():
        _check_text(place, f"{key!r}", value)
    return Example((values["text"],), (values["label"].strip(),))


def _token_example(place: str, row: dict[str, Any], task: Task) -> Example:
    words, tags = (_value(place, row, key, task) for key in ("tokens", "tags"))
    for key, values in (("tokens", words), ("tags", tags)):
        if not isinstance(values, list) or not values:
            raise TaskDataError(f"{place}: {key!r} is {_short(values)}, not a list with at least one text: correct it")
        for index, value in enumerate(values):
            _check_text(place, f"{key}[{index}]", value)
    if len(words) != len(tags):
        raise TaskDataError(f"{place}: {len(words)} tokens and {len(tags)} tags: give exactly one tag a token")
    tags = [tag.strip() for tag in tags]
    return Example(tuple(words), tuple(_bio(place, tags) if task.spans else tags))


def _value(place: str, row: dict[str, Any], key: str, task: Task) -> Any:
    if key not in row:
        raise TaskDataError(
            f"{place}: no key {key!r} among {', '.join(map(repr, row)) or 'none'}: write {_shape(task)}"
        )
    return row[key]


def _check_text(place: str, name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise TaskDataError(f"{place}: {name} is {_short(value)}, not a text with visible characters: correct the line")


def _bio(place: str, tags: Sequence[str]) -> Iterator[str]:
    """Yield the tags, B-type where an I-type begins a span. Raises TaskDataError for one that is neither, nor "O"."""
    previous = OUTSIDE
    for index, tag in enumerate(tags):
        prefix, dash, kind = tag.partition("-")
        if tag != OUTSIDE and not (prefix in ("B", "I") and dash and kind):
            raise TaskDataError(f"{place}: tags[{index}] is {tag!r}, not O, B-type or I-type: write BIO tags")
        begins = prefix == "I" and previous not in (f"B-{kind}", f"I-{kind}")
        yield f"B-{kind}" if begins else tag
        previous = tag


def _shape(task: Task) -> str:
    return '{"text": …, "label": …}' if task.kind == "text" else '{"tokens": […], "tags": […]}'


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
