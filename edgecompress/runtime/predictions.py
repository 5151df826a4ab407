"""What a predictor returns, and how BIO tags are joined to spans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Label:
    """A text's label. ``probabilities`` holds every label's, the mean over ``windows`` for a text longer than the model
    takes, weighted by their tokens.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]
    windows: int = 1


@dataclass(frozen=True)
class Word:
    """One word with its tag. ``start`` and ``end`` are indices into the text that was given.

    ``probability`` is 0.0 for a word that the model did not see (nothing but invisible characters).
    """

    text: str
    tag: str
    probability: float
    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """Neighbouring words of one type. ``probability`` is the mean of its words'; ``text`` is ``given[start:end]``."""

    label: str
    text: str
    probability: float
    start: int
    end: int


@dataclass(frozen=True)
class Tagged:
    """A text's words and, for a task with spans, its spans; a text longer than the model takes is read in several
    ``windows``, each word where it has the most context.
    """

    words: tuple[Word, ...]
    spans: tuple[Span, ...]
    windows: int = 1


@dataclass(frozen=True)
class Tags:
    """One tag and one probability a word; ``unseen`` counts the words without a token; see :class:`Tagged`."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    unseen: int
    windows: int = 1


def to_json(prediction: Label | Tagged | Tags | Mapping[str, Any]) -> dict[str, Any]:
    """Return a prediction as plain JSON types; those of several heads stand by name in "heads"."""
    if isinstance(prediction, Mapping):
        return {"heads": {name: dataclasses.asdict(one) for name, one in prediction.items()}}
    return dataclasses.asdict(prediction)


def join_spans(text: str, words: Sequence[Word]) -> tuple[Span, ...]:
    """Join words to spans as conlleval does: an I- that continues no span of its type begins one."""
    return tuple(_span(text, kind, words[begin:end]) for kind, begin, end in span_ranges([word.tag for word in words]))


def span_ranges(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield type, first index and index after the last of every span in BIO ``tags``."""
    current, begin = "", 0
    for index, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        if current and (prefix != "I" or kind != current):
            yield current, begin, index
            current = ""
        if not current and kind:
            current, begin = kind, index


def _span(text: str, kind: str, words: Sequence[Word]) -> Span:
    start, end = words[0].start, words[-1].end
    return Span(kind, text[start:end], sum(word.probability for word in words) / len(words), start, end)
