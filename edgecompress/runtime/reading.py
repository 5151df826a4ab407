"""How texts become ids for a model, and how its probabilities become predictions. Nothing here runs a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgecompress.artifact import Artifact
from edgecompress.errors import ArtifactError
from edgecompress.runtime.encoding import Encoded, encode_windows, open_tokenizer
from edgecompress.runtime.predictions import Label, Tagged, Tags, Word, join_spans
from edgecompress.words import word_offsets

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Prediction = Label | Tagged
Offsets = Sequence[tuple[int, int]]
Windows = Sequence[tuple["Encoded", "NDArray[np.float32]"]]  # of one text, each with its probabilities


@dataclass(frozen=True)
class Reading:
    """``word_pattern`` cuts a text into the words that are read, joined by single spaces; None: it is read as it is.

    ``max_length`` counts tokens, specials included; ``blanks`` says that a text without a word is read, too.
    """

    word_pattern: str | None
    max_length: int
    blanks: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """Texts on their way: ``words`` and their ``offsets`` where they are cut. ``encoded`` holds the windows of those at
    ``filled`` (a sentence without words need not go through the graph), ``counts`` of each.
    """

    texts: Sequence[str]
    offsets: Sequence[Offsets]
    words: Sequence[Sequence[str]]
    filled: Sequence[int]
    counts: Sequence[int]
    encoded: Sequence[Encoded]


def tokenizer_of(path: Path, *heads: Artifact) -> Tokenizer:
    """Open the tokenizer of artifacts that share it. Raises ArtifactError, also where no token of a text has room."""
    tokenizer = open_tokenizer(path)
    specials = tokenizer.num_special_tokens_to_add(is_pair=False)
    for head in heads:
        if head.max_length <= specials:
            raise ArtifactError(f"{head.folder} has max_length {head.max_length}, and its tokenizer adds {specials} "
                                f"special tokens to each text: export again")  # fmt: skip
    return tokenizer


def reading_of(*artifacts: Artifact) -> Reading:
    """Return how artifacts that read alike, in words and length, read: a blank text has a label, but no tags."""
    first = artifacts[0]
    return Reading(first.word_pattern, first.max_length, any(one.task.kind == "text" for one in artifacts))


def prepare(reading: Reading, tokenizer: Tokenizer, texts: Sequence[str]) -> Prepared:
    """Cut texts into words where that is asked for, and tokenize them."""
    if reading.word_pattern is None:
        return prepare_words(reading, tokenizer, [(text,) for text in texts], texts)
    offsets = [word_offsets(reading.word_pattern, text) for text in texts]
    words = [[text[start:end] for start, end in spans] for text, spans in zip(texts, offsets, strict=True)]
    return prepare_words(reading, tokenizer, words, texts, offsets)


def prepare_words(
    reading: Reading,
    tokenizer: Tokenizer,
    words: Sequence[Sequence[str]],
    texts: Sequence[str] = (),
    offsets: Sequence[Offsets] = (),
) -> Prepared:
    """Tokenize sentences that are already split into words."""
    filled = [index for index, one in enumerate(words) if one or reading.blanks]
    windows = encode_windows(tokenizer, [words[index] for index in filled], reading.max_length)
    counts = [len(own) for own in windows]
    return Prepared(texts, offsets, words, filled, counts, [one for own in windows for one in own])


def predictions(
    artifact: Artifact, prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]
) -> list[Prediction]:
    """Turn the probabilities of every window into predictions, one a text."""
    if artifact.task.kind == "text":
        return [_label(artifact, own) for own in _grouped(prepared, probabilities)]
    return list(_tagged(artifact, prepared, all_tags(artifact, prepared, probabilities)))


def all_tags(artifact: Artifact, prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]) -> list[Tags]:
    """Turn the probabilities of every window into the tags of every sentence."""
    tags = [Tags((), (), 0)] * len(prepared.words)
    for index, windows in zip(prepared.filled, _grouped(prepared, probabilities), strict=True):
        tags[index] = _tags(artifact, windows)
    return tags


def unseen_tag(artifact: Artifact) -> str:
    """Return the tag of a word that the model does not see."""
    if artifact.task.spans:
        return "O"
    return "X" if "X" in artifact.labels else artifact.labels[0]


def checked(texts: Sequence[str], allowed: str = "a str or a list of str") -> list[str]:
    """Return the texts as a list. Raises TypeError when they are not texts, or are one text."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise TypeError(f"expected {allowed}, got {type(texts).__name__}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected {allowed}, got {type(text).__name__} at index {index}")
    return list(texts)


def checked_words(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the sentences as lists of words. Raises TypeError for anything else."""
    return [checked(sentence, "a list of words") for sentence in sentences]


def _grouped(prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]) -> Iterator[Windows]:
    """Yield the windows of each text with their probabilities."""
    pairs = zip(prepared.encoded, probabilities, strict=True)
    for count in prepared.counts:
        yield list(islice(pairs, count))


def _label(artifact: Artifact, windows: Windows) -> Label:
    scores = windows[0][1]
    if len(windows) > 1:
        scores = np.average([p for _, p in windows], axis=0, weights=[len(one.ids) for one, _ in windows])
    best = int(scores.argmax())
    named = dict(zip(artifact.labels, scores.tolist(), strict=True))
    return Label(artifact.labels[best], float(scores[best]), named, len(windows))


def _tagged(artifact: Artifact, prepared: Prepared, tags_of_all: Sequence[Tags]) -> Iterator[Tagged]:
    for text, spans, words, tags in zip(prepared.texts, prepared.offsets, prepared.words, tags_of_all, strict=True):
        rows = zip(words, tags.tags, tags.probabilities, spans, strict=True)
        tagged = tuple(Word(word, tag, probability, *span) for word, tag, probability, span in rows)
        yield Tagged(tagged, join_spans(text, tagged) if artifact.task.spans else (), tags.windows)


def _tags(artifact: Artifact, windows: Windows) -> Tags:
    best = [None if at is None else _best(artifact.labels, scores[at]) for one, scores in windows for at in one.first]
    found = [(unseen_tag(artifact), 0.0) if pair is None else pair for pair in best]
    return Tags(tuple(t for t, _ in found), tuple(p for _, p in found), best.count(None), len(windows))


def _best(labels: Sequence[str], scores: NDArray[np.float32]) -> tuple[str, float]:
    best = int(scores.argmax())
    return labels[best], float(scores[best])
