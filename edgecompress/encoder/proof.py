"""The proof that a smaller tokenizer still does the same: both are run on held-out text and compared token by token."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgecompress.encoder import closure
from edgecompress.errors import VocabularyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Encoding, Tokenizer

Ids = NDArray[np.int64]
_BATCH = 256
_EXAMPLES = 10
_ABSENT = -1


@dataclass(frozen=True)
class Difference:
    """A text that the trimmed tokenizer cuts differently, with the tokens of the old and of the new one."""

    text: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """How a trimmed tokenizer compares with the original on ``texts`` texts.

    ``unchanged``: share of texts with the same tokens (ids mapped) at the same offsets; ``unknown``: UNK tokens a
    token; ``fertility``: tokens a blank-separated word; ``characters``: non-blank characters a token; ``coverage``:
    share of non-blank characters outside UNK. ``examples``: the ten worst texts (most UNK and additional tokens).
    """

    texts: int
    unchanged: float
    unknown_old: float
    unknown_new: float
    fertility_old: float
    fertility_new: float
    characters_old: float
    characters_new: float
    coverage_old: float
    coverage_new: float
    examples: tuple[Difference, ...]


@dataclass
class _Sums:
    """Over all texts: how many, how many alike, words, characters, and [old, new] × [tokens, UNK, characters lost]."""

    texts: int = 0
    same: int = 0
    words: int = 0
    letters: int = 0
    tallies: Ids = field(default_factory=lambda: np.zeros((2, 3), np.int64))
    worst: list[tuple[int, int, Difference]] = field(default_factory=list)


def mapping(old: Tokenizer, new: Tokenizer) -> Ids:
    """Return the old id of each new one, by the token's string; −1 for a token that the old one does not have."""
    known = new.get_vocab(with_added_tokens=True)
    order = np.full(max(known.values(), default=_ABSENT) + 1, _ABSENT, np.int64)
    before = old.get_vocab(with_added_tokens=True)
    for token, at in known.items():
        order[at] = before.get(token, _ABSENT)
    return order


def verify(old: Tokenizer, new: Tokenizer, order: Ids, texts: Iterable[str]) -> Proof:
    """Compare both tokenizers on held-out ``texts``; ``order`` gives the old id of each new one.

    Special tokens, truncation and padding are left out. Raises VocabularyError when ``texts`` is empty.
    """
    sides = (closure.plain(old), closure.plain(new))
    unknowns = tuple(_unknown_id(side) for side in sides)
    sums = _Sums()
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        before, after = (side.encode_batch(batch, add_special_tokens=False) for side in sides)
        for text, one, two in zip(batch, before, after, strict=True):
            tallies = np.array([_tally(text, one, unknowns[0]), _tally(text, two, unknowns[1])])
            alike = _alike(one, two, order)
            _add(sums, text, tallies, same=alike)
            if not alike:
                _note(sums, text, one, two, tallies)
    if not sums.texts:
        raise VocabularyError("no texts to verify the tokenizer on: give at least one")
    return _proof(sums)


def _add(sums: _Sums, text: str, tallies: Ids, *, same: bool) -> None:
    """Add one text to the sums."""
    sums.texts += 1
    sums.same += same
    words = text.split()
    sums.words += len(words)
    sums.letters += sum(map(len, words))
    sums.tallies += tallies


def _note(sums: _Sums, text: str, one: Encoding, two: Encoding, tallies: Ids) -> None:
    """Keep a text that differs while it is among the worst; of equally bad ones the earlier."""
    tokens, unknown, _ = (tallies[1] - tallies[0]).tolist()
    entry = (tokens + unknown, -sums.texts)
    if len(sums.worst) < _EXAMPLES or entry > sums.worst[0][:2]:
        heapq.heappush(sums.worst, (*entry, Difference(text, tuple(one.tokens), tuple(two.tokens))))
    if len(sums.worst) > _EXAMPLES:
        heapq.heappop(sums.worst)


def _proof(sums: _Sums) -> Proof:
    """Turn the sums into shares."""
    (all_old, unk_old, lost_old), (all_new, unk_new, lost_new) = sums.tallies.tolist()
    words, letters = max(sums.words, 1), max(sums.letters, 1)
    return Proof(
        texts=sums.texts,
        unchanged=sums.same / sums.texts,
        unknown_old=unk_old / max(all_old, 1),
        unknown_new=unk_new / max(all_new, 1),
        fertility_old=all_old / words,
        fertility_new=all_new / words,
        characters_old=sums.letters / max(all_old, 1),
        characters_new=sums.letters / max(all_new, 1),
        coverage_old=1 - lost_old / letters,
        coverage_new=1 - lost_new / letters,
        examples=tuple(difference for *_, difference in sorted(sums.worst, reverse=True)),
    )


def _unknown_id(tokenizer: Tokenizer) -> int:
    """Return the UNK id, −1 when there is none."""
    unknown = closure.layout(tokenizer).unknown
    return _ABSENT if unknown is None else unknown


def _alike(old: Encoding, new: Encoding, order: Ids) -> bool:
    """Whether both have the same tokens at the same offsets."""
    ids = np.array(new.ids, np.int64)
    return old.offsets == new.offsets and np.array_equal(np.array(old.ids, np.int64), order[ids])


def _tally(text: str, encoding: Encoding, unknown: int) -> tuple[int, int, int]:
    """Return tokens, UNK tokens, and non-blank characters inside UNK tokens."""
    if unknown not in encoding.ids:
        return len(encoding.ids), 0, 0
    spans = [span for span, at in zip(encoding.offsets, encoding.ids, strict=True) if at == unknown]
    lost = sum(len("".join(text[first:last].split())) for first, last in spans)
    return len(encoding.ids), len(spans), lost
