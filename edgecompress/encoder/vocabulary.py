"""Which tokens a language needs: count them on its text, then choose, closed under what the tokenizer requires."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecompress.encoder import closure
from edgecompress.errors import VocabularyError
from edgecompress.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tokenizers import Encoding, Tokenizer

    from edgecompress.encoder.closure import Layout

Ids = NDArray[np.int64]
_BATCH = 512
_CODEPOINTS = 0x110000
_FOREIGN = 0.5


@dataclass(frozen=True)
class Counts:
    """What was seen in a text.

    ``tokens`` and ``documents`` (one entry per token id): occurrences, and lines with at least one; ``characters``:
    occurrences of each non-blank character after the tokenizer's normalizer; ``lines`` and ``total``: lines, tokens.
    """

    tokens: Ids
    documents: Ids
    characters: Mapping[str, int]
    lines: int
    total: int


@dataclass(frozen=True)
class Selection:
    """The rule: how many tokens (specials and closure included; None: all that qualify), and which qualify.

    A token qualifies when it occurs ``min_count`` times in ``min_documents`` lines, all languages together. ``keep``
    names tokens (as the tokenizer spells them) that stay in any case.
    """

    size: int | None = None
    min_count: int = 1
    min_documents: int = 1
    keep: tuple[str, ...] = ()


def count(tokenizer: Tokenizer, lines: Iterable[str], *, task: str = "count tokens") -> Counts:
    """Count tokens and characters over ``lines`` in one pass, in memory that does not grow with the text.

    Special tokens, truncation and padding are left out. Progress is reported as lines of ``task``.
    """
    encoder = closure.plain(tokenizer)
    rows = closure.layout(tokenizer).rows
    tokens, documents = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    points = np.zeros(_CODEPOINTS, np.int64)
    done = 0
    for batch in _batches(lines):
        ids, line = _flat(encoder.encode_batch_fast(batch, add_special_tokens=False))
        tokens += np.bincount(ids, minlength=rows)
        documents += np.bincount(np.unique(line * rows + ids) % rows, minlength=rows)
        seen = np.bincount(_codepoints(encoder, batch))
        points[: len(seen)] += seen
        done += len(batch)
        report(task, done, note=f"{int(tokens.sum()):,} tokens")
    characters = {chr(at): int(points[at]) for at in np.flatnonzero(points) if not chr(at).isspace()}
    return Counts(tokens, documents, characters, done, int(tokens.sum()))


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield lists of up to 512 lines."""
    rest = iter(lines)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _flat(encodings: Sequence[Encoding]) -> tuple[Ids, Ids]:
    """Return the ids of all encodings in one array, and for each the index of its line."""
    listed = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, listed), np.int64, len(listed))
    ids = np.fromiter(chain.from_iterable(listed), np.int64, int(lengths.sum()))
    return ids, np.repeat(np.arange(len(listed)), lengths)


def _codepoints(tokenizer: Tokenizer, batch: Sequence[str]) -> NDArray[np.uint32]:
    """Return the code points of the normalized lines, one after the other."""
    normalizer: Any = tokenizer.normalizer
    text = "\n".join(map(normalizer.normalize_str, batch) if normalizer else batch)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def select(tokenizer: Tokenizer, counts: Sequence[tuple[Counts, float]], rule: Selection) -> Ids:
    """Return the old ids to keep, ascending, for the (counts, weight) of each language.

    Tokens are ranked by relative frequency, mixed by weight; equal ones by old id. The result is closed (see
    :mod:`edgecompress.encoder.closure`) and holds exactly ``rule.size`` tokens when enough qualify, never more.
    Raises VocabularyError when nothing was counted, when a text is mostly foreign to the tokenizer, when the size
    cannot be met, or when ``rule.keep`` names an unknown token.
    """
    tokens = closure.layout(tokenizer)
    _check(tokens, counts, rule)
    made_of = closure.parents(tokens)
    kept: set[int] = set()
    for token in sorted(_mandatory(tokens, counts, rule)):
        kept |= closure.ancestors(token, made_of, kept)
    if rule.size is not None and rule.size < len(kept):
        parts = "specials, characters seen, must-keep tokens and what they are merged from"
        raise VocabularyError(f"size {rule.size} is below the {len(kept)} tokens that must stay ({parts})")
    room = rule.size if rule.size is not None else tokens.rows
    for token in _ranked(counts, rule):
        if len(kept) >= room:
            break
        wanted = closure.ancestors(token, made_of, kept)
        if len(kept) + len(wanted) <= room:
            kept |= wanted
    return np.array(sorted(kept), np.int64)


def _check(tokens: Layout, counts: Sequence[tuple[Counts, float]], rule: Selection) -> None:
    """Refuse rules and counts that cannot give a vocabulary."""
    if rule.size is not None and rule.size > len(tokens.ids):
        raise VocabularyError(f"size {rule.size} is above the tokenizer's own {len(tokens.ids)} tokens; choose less")
    if not any(counted.total for counted, _ in counts):
        raise VocabularyError("nothing was counted: the text is empty; give a corpus with at least one line")
    for counted, weight in counts:
        if len(counted.tokens) != tokens.rows:
            raise VocabularyError(f"counts of {len(counted.tokens)} tokens do not fit a tokenizer of {tokens.rows}")
        if not weight > 0:
            raise VocabularyError(f"weight {weight} of a language must be above 0")
        share = foreign_share(tokens, counted)
        if share > _FOREIGN:
            hint = "the tokenizer does not know this script; choose another teacher or check the text"
            raise VocabularyError(f"{share:.0%} of the tokens of a text are unknown: {hint}")


def foreign_share(tokens: Layout, counted: Counts) -> float:
    """Return the share of tokens that are UNK or bytes of a fallback; a bare ``▁`` says nothing and is left out."""
    fallback = closure.byte_tokens(tokens) if tokens.model.get("byte_fallback") else ()
    unknown = {tokens.ids[name] for name in fallback if name in tokens.ids}
    if tokens.unknown is not None:
        unknown.add(tokens.unknown)
    blank = int(counted.tokens[tokens.ids["▁"]]) if "▁" in tokens.ids else 0
    return float(counted.tokens[sorted(unknown)].sum() / max(counted.total - blank, 1))


def _mandatory(tokens: Layout, counts: Sequence[tuple[Counts, float]], rule: Selection) -> set[int]:
    """Return what stays at any size, before BPE ancestors."""
    seen = set().union(*(counted.characters for counted, _ in counts))
    return closure.always(tokens) | closure.characters(tokens, seen) | {_named(tokens, name) for name in rule.keep}


def _named(tokens: Layout, name: str) -> int:
    """Return the id of a must-keep token; a near miss is shown when there is none."""
    if name in tokens.ids:
        return tokens.ids[name]
    spelled = [form for form in ("▁" + name, "##" + name, "Ġ" + name) if form in tokens.ids]
    near = spelled or get_close_matches(name, tokens.ids, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise VocabularyError(f"the tokenizer has no token {name!r} to keep{hint}")


def _ranked(counts: Sequence[tuple[Counts, float]], rule: Selection) -> list[int]:
    """Return the qualifying tokens, most frequent first. Raises VocabularyError when there are none."""
    tokens = sum(counted.tokens for counted, _ in counts)
    documents = sum(counted.documents for counted, _ in counts)
    mixed = sum(weight * counted.tokens / max(counted.total, 1) for counted, weight in counts)
    least = max(rule.min_count, 1)
    (found,) = np.nonzero((np.asarray(tokens) >= least) & (np.asarray(documents) >= rule.min_documents))
    if not len(found):
        wanted = f"{least} times in {rule.min_documents} lines"
        raise VocabularyError(f"no token occurs {wanted}: lower min_count or min_documents, or give more text")
    order: list[int] = found[np.argsort(-np.asarray(mixed)[found], kind="stable")].tolist()
    return order
