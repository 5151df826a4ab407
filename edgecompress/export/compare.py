"""How far two models differ on the same ids: the shapes that break exports, and real text. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecompress.artifact import Artifact
from edgecompress.errors import CheckError
from edgecompress.runtime.encoding import open_tokenizer

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Run = Callable[[Ids, Ids], Logits]  # ids and mask (batch, length) → logits (batch, labels) or (batch, length, labels)
Batch = tuple[str, Ids, Ids]  # what it is, ids, mask
TOKEN_DIMENSIONS = 3  # logits of token tasks
SHORTEST = 3  # tokens: one between the two specials
_TEXTS = "texts"
_ODD, _MIXED, _LONGEST_MIXED, _SPECIALS, _TOGETHER = 17, 5, 40, 5, 16


@dataclass(frozen=True)
class Vocabulary:
    """What it takes to make ids: how many there are, the padding id, one that stands in for it, the longest input."""

    size: int
    pad: int
    other: int
    longest: int


def vocabulary_of(artifact: Artifact) -> Vocabulary:
    """Return what it takes to make ids for an artifact."""
    size = int(open_tokenizer(artifact.tokenizer_path).get_vocab_size())
    return Vocabulary(size, artifact.pad_id, (artifact.pad_id + 1) % size, artifact.max_length)


@dataclass(frozen=True)
class Difference:
    """``largest`` and ``mean`` difference of logits, relative to the largest one; ``agreement``: share of equal argmax.

    ``decisions`` counts texts, or for a token task tokens; padding places are left out.
    """

    where: str
    largest: float
    mean: float
    agreement: float
    decisions: int


@dataclass(frozen=True)
class Comparison:
    """One row a shape, and how much a text's logits move with its padding, for each of the two models.

    ``error`` is the root of the squared differences over the squared deviation of the first model's logits from their
    mean over all inputs: 0 for equal logits, 1 where the second model does not look at its input.
    """

    rows: tuple[Difference, ...]
    padding: tuple[float, float]
    error: float

    @property
    def largest(self) -> float:
        """The largest relative difference of all rows."""
        return max(row.largest for row in self.rows)

    @property
    def agreement(self) -> float:
        """The share of equal decisions on the texts, or where there are none on the random ids."""
        rows = [row for row in self.rows if row.where.startswith(_TEXTS)] or self.rows
        return sum(row.agreement * row.decisions for row in rows) / sum(row.decisions for row in rows)


def compare(left: Run, right: Run, batches: Iterable[Batch]) -> Comparison:
    """Run both on every batch. Raises CheckError where shapes differ or a value is not finite."""
    rows: list[Difference] = []
    pairs: list[tuple[Logits, Logits]] = []
    padding = (0.0, 0.0)
    for where, ids, mask in batches:
        pairs.append(_decisions(where, left(ids, mask), right(ids, mask), mask))
        rows.append(_difference(where, *pairs[-1]))
        if mask.all(axis=1).any() and not mask.all():
            padding = (max(padding[0], _moved(left, ids, mask)), max(padding[1], _moved(right, ids, mask)))
    return Comparison(tuple(rows), padding, _error(pairs))


def _decisions(where: str, wanted: Logits, given: Logits, mask: Ids) -> tuple[Logits, Logits]:
    """Return both models' logits, (decisions, labels), without those of padding."""
    if given.shape != wanted.shape:
        raise CheckError(f"at {where} the second model gives logits of {given.shape}, the first of {wanted.shape}")
    for who, logits in (("first", wanted), ("second", given)):
        if not np.isfinite(logits).all():
            raise CheckError(f"at {where} the {who} model gives a value that is not finite: export or train it again")
    real = mask.astype(bool) if wanted.ndim == TOKEN_DIMENSIONS else np.ones(len(mask), dtype=bool)
    return wanted[real], given[real]


def _difference(where: str, wanted: Logits, given: Logits) -> Difference:
    off, scale = np.abs(given - wanted), max(1.0, float(np.abs(wanted).max()))
    same = float((given.argmax(-1) == wanted.argmax(-1)).mean())
    return Difference(where, float(off.max()) / scale, float(off.mean()) / scale, same, len(wanted))


def _error(pairs: Sequence[tuple[Logits, Logits]]) -> float:
    wanted, given = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    signal = float(((wanted - wanted.mean(axis=0)) ** 2).sum())
    least = 1e-6 * float((wanted**2).sum()) + 1e-30  # a model that always says the same has no signal to compare with
    return float((((given - wanted) ** 2).sum() / max(signal, least)) ** 0.5)


def _moved(run: Run, ids: Ids, mask: Ids) -> float:
    """Return how far the logits of the shortest row move when it is run alone, without its padding."""
    row = int(mask.sum(axis=1).argmin())
    length = int(mask[row].sum())
    alone, company = run(ids[row : row + 1, :length], mask[row : row + 1, :length])[0], run(ids, mask)[row]
    company = company[:length] if company.ndim > 1 else company
    return float(np.abs(alone - company).max() / max(1.0, float(np.abs(alone).max())))


def batches(words: Vocabulary, texts: Sequence[Sequence[int]] = ()) -> Iterator[Batch]:
    """Yield 1×1, 1×3, 1×the longest input, an odd batch, mixed padding, and ``texts`` (ids of each) in batches."""
    generator, longest = np.random.default_rng(0), words.longest
    for batch, length in ((1, 1), (1, min(SHORTEST, longest)), (1, longest), (3, min(_ODD, longest))):
        ids = generator.integers(0, words.size, (batch, length))
        ids[ids == words.pad] = words.other
        yield f"{batch}×{length}", ids, np.ones_like(ids)
    lengths = generator.integers(min(SHORTEST, longest), min(_LONGEST_MIXED, longest) + 1, _MIXED)
    rows = [generator.integers(min(_SPECIALS, words.size - 1), words.size, n).tolist() for n in lengths]
    yield "mixed padding", *padded(rows, words.pad)
    for begin in range(0, len(texts), _TOGETHER):
        chunk = texts[begin : begin + _TOGETHER]
        yield f"{_TEXTS} {begin + 1}–{begin + len(chunk)}", *padded(chunk, words.pad)


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Ids, Ids]:
    """Return ids and mask, each (rows, longest row), padded with ``pad``."""
    ids = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    return ids, mask
