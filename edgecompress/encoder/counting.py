"""How often a language uses each token: exact counts of a text of any length, in memory that does not grow with it.

Where the tokenizer cuts each word by itself (see :mod:`edgecompress.encoder.isolation`), words are counted first and
every distinct one is tokenized once; the table of words is emptied into the counts whenever it is full. Other
tokenizers, and other lines, are tokenized whole. Both give the same counts. Tokenizing uses all cores.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as arrow
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgecompress.encoder import closure, isolation
from edgecompress.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tokenizers import Encoding

Ids = NDArray[np.int64]
_LINES = 512
_TEXT = 1 << 22  # characters read at once where lines are only split at spaces
_FULL = 1 << 19  # distinct words: about 100 MB
_FULL_TEXT = 1 << 23  # characters of them: without spaces between words, a "word" is a line
_JOINED = 64  # words in one text
_CODEPOINTS = 0x110000
_JAMO = range(0x1100, 0x1200)


@dataclass(frozen=True)
class Counts:
    """What was seen in a text.

    ``tokens`` and ``documents`` (one entry per token id): occurrences, and lines with at least one (None: lines were
    not looked at); ``characters``: occurrences of each non-blank character after the tokenizer's normalizer;
    ``lines`` and ``total``: lines, tokens.
    """

    tokens: Ids
    documents: Ids | None
    characters: Mapping[str, int]
    lines: int
    total: int


def joined(one: Counts, other: Counts) -> Counts:
    """Return the counts of two texts that were counted apart, as if they were one."""
    documents = None if one.documents is None or other.documents is None else one.documents + other.documents
    characters = Counter(one.characters) + Counter(other.characters)
    return Counts(one.tokens + other.tokens, documents, characters, one.lines + other.lines, one.total + other.total)


@dataclass
class _Tally:
    """The counts so far: ``tokens`` and ``documents`` (rows,), ``points`` occurrences of each code point."""

    encoder: Tokenizer
    rows: int
    tokens: Ids = field(init=False)
    documents: Ids = field(init=False)
    points: Ids = field(default_factory=lambda: np.zeros(_CODEPOINTS, np.int64))
    looked_at: set[str] = field(default_factory=set)
    stable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tokens, self.documents = np.zeros(self.rows, np.int64), np.zeros(self.rows, np.int64)


def count(tokenizer: Tokenizer, lines: Iterable[str], *, documents: bool = True, task: str = "count tokens") -> Counts:
    """Count tokens and characters over ``lines`` in one pass, in memory that does not grow with the text.

    Special tokens, truncation and padding are left out. Without ``documents``, lines that hold a token are not
    counted, which allows to tokenize each distinct word once. Progress is reported as lines of ``task``.
    """
    encoder = closure.plain(tokenizer)
    tally = _Tally(encoder, closure.rows(encoder))
    words = None if documents else isolation.words(encoder)
    done = _whole_lines(tally, lines, task) if words is None else _by_word(tally, words, lines, task)
    points = tally.points
    characters = {chr(at): int(points[at]) for at in np.flatnonzero(points) if not chr(at).isspace()}
    seen = tally.documents if documents else None
    return Counts(tally.tokens, seen, characters, done, int(tally.tokens.sum()))


def _whole_lines(tally: _Tally, lines: Iterable[str], task: str) -> int:
    """Count line by line; return how many there were."""
    done = 0
    for batch in _batches(lines, _LINES):
        _add_lines(tally, batch)
        done += len(batch)
        report(task, done, note=f"{int(tally.tokens.sum()):,} tokens")
    return done


def _by_word(tally: _Tally, words: isolation.Words, lines: Iterable[str], task: str) -> int:
    """Count words first, in a table of bounded size; return how many lines there were."""
    table: dict[str, int] = {}  # every word
    firsts: Counter[str] = Counter()  # those that begin a line, where that makes a difference
    done, length = 0, 0
    for batch in _texts(lines):
        simple, found = _simple(tally, words, batch)
        for word, times in found.items():
            before = table.get(word, 0)
            table[word] = before + times
            length += 0 if before else len(word)
        if words.bare_first:
            firsts.update(line.partition(" ")[0] for line in simple)
        if len(table) > _FULL or length > _FULL_TEXT:
            _empty(tally, table, firsts)
            length = 0
        done += len(batch)
        report(task, done, note=f"{len(table):,} words to look up")
    _empty(tally, table, firsts)
    return done


def _simple(tally: _Tally, words: isolation.Words, batch: list[str]) -> tuple[list[str], dict[str, int]]:
    """Return the lines that may be counted by word, and their words; the other lines are added whole."""
    found = _distinct(batch)
    suspects = words.suspects(found)
    if not suspects:
        return batch, found
    simple: list[str] = []
    odd: list[str] = []
    for line in batch:
        (odd if isolation.whole(line, suspects) else simple).append(line)
    for part in _batches(odd, _LINES):
        _add_lines(tally, part)
    for word, times in _distinct(odd).items():
        found[word] -= times
    return simple, {word: times for word, times in found.items() if times}


def _distinct(lines: list[str]) -> dict[str, int]:
    """Return how often each word occurs, a word being what stands between two spaces."""
    words = arrow.split_pattern(pa.array([" ".join(lines)], pa.large_string()), " ").flatten()
    found = arrow.value_counts(words)
    return dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)) if lines else {}


def _empty(tally: _Tally, table: dict[str, int], firsts: Counter[str]) -> None:
    """Move the words' counts into the tally, and clear the tables."""
    if firsts:
        _add_texts(tally, tally.encoder, list(firsts), np.fromiter(firsts.values(), np.int64, len(firsts)))
    for words, encoder in _by_normalizer(tally, list(table)):
        times = np.fromiter((table[word] for word in words), np.int64, len(words))
        _add_characters(tally, encoder, words, times)
        if firsts:
            times = times - np.fromiter((firsts[word] for word in words), np.int64, len(words))
        _add_texts(tally, encoder, *_joined(words, times, " " if firsts else ""))
    table.clear()
    firsts.clear()


def _by_normalizer(tally: _Tally, words: list[str]) -> list[tuple[list[str], Tokenizer]]:
    """Return words with what tokenizes them: most are normal already, and the others alone need the normalizer."""
    normalizer: Any = tally.encoder.normalizer
    if not normalizer:
        return [(words, tally.encoder)]
    new = set("".join(words)) - tally.looked_at
    tally.looked_at |= new
    tally.stable |= {char for char in new if _stands_alone(char) and normalizer.normalize_str(char) == char}
    bare = Tokenizer(tally.encoder.model)
    bare.pre_tokenizer = tally.encoder.pre_tokenizer
    normal: list[str] = []
    others: list[str] = []
    for word in words:
        (normal if tally.stable.issuperset(word) else others).append(word)
    return [(normal, bare), (others, tally.encoder)]


def _joined(words: list[str], times: Ids, begin: str) -> tuple[list[str], Ids]:
    """Return lines of words that occur equally often, and how often: long lines are tokenized faster than words."""
    order = np.argsort(times, kind="stable")
    ranked = times[order]
    changes = np.flatnonzero(np.diff(ranked)) + 1
    borders = [0, *changes.tolist(), len(words)]
    texts, counts = [], []
    for first, last in pairwise(borders):
        for start in range(first, last, _JOINED):
            texts.append(begin + " ".join(words[at] for at in order[start : min(start + _JOINED, last)]))
            counts.append(ranked[start])
    return texts, np.array(counts, np.int64)


def _add_texts(tally: _Tally, encoder: Tokenizer, texts: list[str], times: Ids) -> None:
    """Add the tokens of each text as often as it occurs."""
    start = 0
    for part in _texts(texts, _LINES):
        ids, text = _flat(encoder.encode_batch_fast(part, add_special_tokens=False))
        tally.tokens += _weighted(ids, times[start + text], tally.rows)
        start += len(part)


def _add_characters(tally: _Tally, encoder: Tokenizer, words: list[str], times: Ids) -> None:
    """Add the characters of each word, after the encoder's normalizer, as often as it occurs."""
    normalizer: Any = encoder.normalizer
    if normalizer:
        words = [normalizer.normalize_str(word) for word in words]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    found = _weighted(_codepoints("".join(words)), np.repeat(times, lengths), 1)
    tally.points[: len(found)] += found


def _stands_alone(char: str) -> bool:
    """Whether a character never merges with the one before it under normalization."""
    return unicodedata.category(char)[0] != "M" and ord(char) not in _JAMO


def _weighted(values: NDArray[Any], times: Ids, least: int) -> Ids:
    """Return how often each value occurs, each occurrence counting ``times`` (exact below 2^53)."""
    return np.bincount(values, times, least).astype(np.int64)


def _add_lines(tally: _Tally, batch: list[str]) -> None:
    """Add tokens, lines holding them, and characters of whole lines."""
    ids, line = _flat(tally.encoder.encode_batch_fast(batch, add_special_tokens=False))
    tally.tokens += np.bincount(ids, minlength=tally.rows)
    tally.documents += np.bincount(np.unique(line * tally.rows + ids) % tally.rows, minlength=tally.rows)
    normalizer: Any = tally.encoder.normalizer
    seen = np.bincount(_codepoints("\n".join(map(normalizer.normalize_str, batch) if normalizer else batch)))
    tally.points[: len(seen)] += seen


def _texts(lines: Iterable[str], most: int = sys.maxsize) -> Iterator[list[str]]:
    """Yield lists of lines of about four million characters together, ``most`` lines at most."""
    batch: list[str] = []
    length = 0
    for line in lines:
        batch.append(line)
        length += len(line)
        if length >= _TEXT or len(batch) >= most:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of up to ``size`` lines."""
    rest = iter(lines)
    while batch := list(islice(rest, size)):
        yield batch


def _flat(encodings: Sequence[Encoding]) -> tuple[Ids, Ids]:
    """Return the ids of all encodings in one array, and for each the index of its text."""
    listed = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, listed), np.int64, len(listed))
    ids = np.fromiter(chain.from_iterable(listed), np.int64, int(lengths.sum()))
    return ids, np.repeat(np.arange(len(listed)), lengths)


def _codepoints(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
