"""Words to token ids, the same way in training and in serving.

Words are joined by one space, the tokenizer sees the text, and each word is found again by character offsets: its label
is read at its first sub-token.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from edgecompress.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

_CHUNK = 1024  # texts a call: enough to keep the tokenizer's threads busy, few enough to keep memory low
_UNLIMITED = 1 << 40
_BLANKS = {"ByteLevel": "Ġ", "▁": "▁"}  # what stands in a tokenizer's settings, and its space
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Encoded:
    """``ids`` with the specials at both ends, at most ``max_length`` of them.

    ``first[i]`` is the index in ``ids`` of word i's first sub-token, or None when the word has no token: it normalised
    to nothing, or was cut off. ``tokens_dropped`` counts the tokens that were cut off. Of a window, ``first`` holds the
    words that are read there, from word ``begin`` on.
    """

    ids: list[int]
    first: list[int | None]
    tokens_dropped: int
    begin: int = 0


def open_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``, without the truncation and padding settings it may hold. Raises ArtifactError."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself, whatever is wrong
        why = " ".join(str(error).split())
        raise ArtifactError(f"{path} is not a tokenizer.json ({why}): restore it, or export again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, examples_words: Sequence[Sequence[str]], max_length: int) -> list[Encoded]:
    """Encode each example's words, joined by single spaces, to at most ``max_length`` tokens, specials included.

    A lone surrogate, which no UTF-8 text can hold, is read as U+FFFD. The tokenizer is left as it is, and its own
    truncation and padding settings are not used. Raises ValueError when ``max_length`` leaves no room for a token.
    """
    tokenizer = _plain(tokenizer)
    if max_length <= tokenizer.num_special_tokens_to_add(is_pair=False):
        raise ValueError(f"max_length {max_length} leaves no room beside the special tokens: raise it")
    blank = _blank(tokenizer)
    encoded = []
    for begin in range(0, len(examples_words), _CHUNK):
        chunk = examples_words[begin : begin + _CHUNK]
        encodings = tokenizer.encode_batch([_joined(words) for words in chunk])
        encoded += [_cut(*pair, max_length, blank) for pair in zip(encodings, chunk, strict=True)]
    return encoded


def encode_windows(
    tokenizer: Tokenizer, examples_words: Sequence[Sequence[str]], max_length: int
) -> list[list[Encoded]]:
    """Encode each example's words as windows of at most ``max_length`` tokens, specials included: most need only one.

    Neighbouring windows share a quarter of their tokens, and the last one ends with the text. A word is read in one
    window, where it has the most context on its shorter side: the ``first`` of all windows, one after the other, are
    the example's words. Raises ValueError when ``max_length`` leaves no room for a token.
    """
    whole = encode(tokenizer, examples_words, _UNLIMITED)
    specials = tokenizer.num_special_tokens_to_add(is_pair=False)
    if max_length <= specials:
        raise ValueError(f"max_length {max_length} leaves no room beside the special tokens: raise it")
    return [
        [one] if len(one.ids) <= max_length else _windows(one, max_length, _ends(tokenizer, words))
        for one, words in zip(whole, examples_words, strict=True)
    ]


def _blank(tokenizer: Tokenizer) -> int | None:
    """Return the id of the token that is only the space before a word: "Ġ" where the tokenizer works on bytes
    (elsewhere it is a letter of Maltese), "▁" where it writes that for a space.
    """
    parts = (tokenizer.pre_tokenizer, tokenizer.normalizer)  # in this order: a normalizer may hold a large table
    for written in (part.__getstate__().decode() for part in parts if part is not None):
        for sign, mark in _BLANKS.items():
            if sign in written:
                return tokenizer.token_to_id(mark)
    return None


def _ends(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[int, int]:
    """Return how many specials stand before and after a long text."""
    mask = tokenizer.encode(_joined(words)).special_tokens_mask
    return mask.index(0), mask[::-1].index(0)


def _joined(words: Sequence[str]) -> str:
    return _SURROGATE.sub("\ufffd", " ".join(words))


def _windows(one: Encoded, max_length: int, ends: tuple[int, int]) -> list[Encoded]:
    head, tail = ends
    room, count = max_length - head - tail, len(one.ids) - head - tail
    step = max(1, room - room // 4)
    starts = [*range(0, count - room, step), count - room]
    begins = _first_words(one.first, [head + start + (room - 1) / 2 for start in starts])
    made = []
    for start, (begin, end) in zip(starts, pairwise([*begins, len(one.first)]), strict=True):
        ids = one.ids[:head] + one.ids[head + start : head + start + room] + one.ids[len(one.ids) - tail :]
        made.append(Encoded(ids, [at if at is None else at - start for at in one.first[begin:end]], 0, begin))
    return made


def _first_words(first: Sequence[int | None], centres: Sequence[float]) -> list[int]:
    """Return the first word of each window: all are equally long, so a word has most context in that of the nearest
    centre. Words and windows are walked through once: a text of nothing but full stops has thousands of both.
    """
    begins = [0]
    middles = [(left + right) / 2 for left, right in pairwise(centres)]
    for word, at in enumerate(first):
        while at is not None and len(begins) <= len(middles) and at > middles[len(begins) - 1]:
            begins.append(word)
    return begins + [len(first)] * (len(centres) - len(begins))


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer, or a copy without truncation and padding where it has any."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _cut(encoding: Any, words: Sequence[str], max_length: int, blank: int | None) -> Encoded:
    """Cut one encoding to ``max_length`` between its leading and its trailing specials, and find its words."""
    ids, mask = encoding.ids, encoding.special_tokens_mask
    head = mask.index(0) if 0 in mask else len(mask)
    tail = mask[::-1].index(0) if head < len(mask) else 0
    end = min(len(ids) - tail, max_length - tail)
    dropped = len(ids) - tail - end
    tokens = ((index, span) for index, span in enumerate(encoding.offsets[head:end], head) if ids[index] != blank)
    return Encoded(ids[:end] + ids[len(ids) - tail :], _first_tokens(words, tokens), dropped)


def _first_tokens(words: Sequence[str], tokens: Iterator[tuple[int, tuple[int, int]]]) -> list[int | None]:
    """Return, for each word, the first token whose span overlaps the word's in the joined text.

    A token's span may begin with the space before its word, which overlaps no word. A token that *is* only that space
    (a lone "▁") is left out by the caller, because at the start of a text it carries the first character's span.
    """
    ends = list(accumulate((len(word) + 1 for word in words), initial=-1))[1:]  # each word's end in the joined text
    first: list[int | None] = [None] * len(words)
    for index, (begin, end) in tokens:
        at = bisect_right(ends, begin)
        while at < len(words) and ends[at] - len(words[at]) < end:
            if first[at] is None and words[at]:
                first[at] = index
            at += 1
    return first
