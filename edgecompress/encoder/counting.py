"""How often a language uses each token: exact counts of a text of any length, in memory that does not grow with it.

Where the tokenizer cuts each word by itself (see :mod:`edgecompress.encoder.isolation`), words are counted first and
every distinct one is tokenized once; the table of words is emptied into the counts whenever it is full. Other
tokenizers, and other lines, are tokenized whole. Both give the same counts. Tokenizing uses all cores.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecompress.encoder import closure, isolation
from edgecompress.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tokenizers import Encoding, Tokenizer

Ids = NDArray[np.int64]
_LINES = 512
_LONG_LINES = 4096  # where lines are only split at spaces
_FULL = 1 << 18  # distinct words: about 50 MB
_PART = 1 << 15  # words tokenized at once
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
    tokens = closure.layout(tokenizer)
    tally = _Tally(encoder, tokens.rows)
    words = None if documents else isolation.words(tokens)
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
    table: Counter[str] = Counter()  # every word
    firsts: Counter[str] = Counter()  # those that begin a line, where that makes a difference
    done = 0
    for batch in _batches(lines, _LONG_LINES):
        whole = [line for line in batch if words.whole(line)]
        for part in _batches(whole, _LINES):
            _add_lines(tally, part)
        simple = [line for line in batch if not words.whole(line)] if whole else batch
        if simple:
            table.update(" ".join(simple).split(" "))
        if words.bare_first:
            firsts.update(line.partition(" ")[0] for line in simple)
        if len(table) > _FULL:
            _empty(tally, table, firsts)
        done += len(batch)
        report(task, done, note=f"{int(tally.tokens.sum()):,} tokens of words that were looked up")
    _empty(tally, table, firsts)
    return done


def _empty(tally: _Tally, table: Counter[str], firsts: Counter[str]) -> None:
    """Move the words' counts into the tally, and clear the tables."""
    listed = list(table)
    times = np.fromiter(table.values(), np.int64, len(table))
    _add_characters(tally, listed, times)
    if firsts:
        bare = list(firsts)
        begin = np.fromiter(firsts.values(), np.int64, len(firsts))
        _add_words(tally, bare, begin)
        times = times - np.fromiter((firsts[word] for word in listed), np.int64, len(listed))
        listed = [f" {word}" for word in listed]
    _add_words(tally, listed, times)
    table.clear()
    firsts.clear()


def _add_words(tally: _Tally, words: Sequence[str], times: Ids) -> None:
    """Add the tokens of each word as often as it occurs."""
    for start in range(0, len(words), _PART):
        ids, word = _flat(tally.encoder.encode_batch_fast(list(words[start : start + _PART]), add_special_tokens=False))
        tally.tokens += _weighted(ids, times[start + word], tally.rows)


def _add_characters(tally: _Tally, words: Sequence[str], times: Ids) -> None:
    """Add the characters of each normalized word as often as it occurs; few words need the normalizer itself."""
    normalizer: Any = tally.encoder.normalizer
    if normalizer:
        new = set("".join(words)) - tally.looked_at
        tally.looked_at |= new
        tally.stable |= {char for char in new if _stands_alone(char) and normalizer.normalize_str(char) == char}
        words = [word if tally.stable.issuperset(word) else normalizer.normalize_str(word) for word in words]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    points = _codepoints("".join(words))
    found = _weighted(points, np.repeat(times, lengths), 1)
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
