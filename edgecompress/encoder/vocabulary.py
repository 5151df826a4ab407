"""Which tokens a language needs: rank what was counted on its text, closed under what the tokenizer requires."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecompress.encoder import closure, scripts
from edgecompress.errors import VocabularyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenizers import Tokenizer

    from edgecompress.encoder.closure import Layout
    from edgecompress.encoder.counting import Counts

Ids = NDArray[np.int64]
Fill = Literal["none", "rank", "script"]
_FOREIGN = 0.5


@dataclass(frozen=True)
class Rule:
    """How many tokens stay (``size``: specials and closure included; None: all that qualify), and which.

    A token qualifies when it occurs ``min_count`` times in ``min_documents`` lines, all languages together, and is
    among the most frequent ones that make up the share ``coverage`` of all occurrences. ``keep`` names tokens (as the
    tokenizer spells them) and ``characters`` characters that stay in any case. Where fewer than ``size`` qualify,
    ``fill`` adds tokens that were not seen, in the order of the tokenizer's own ids: "rank" any, "script" those written
    in the scripts of the text.
    """

    size: int | None = None
    min_count: int = 1
    min_documents: int = 1
    keep: tuple[str, ...] = ()
    coverage: float = 1.0
    characters: str = ""
    fill: Fill = "none"


def select(tokenizer: Tokenizer, counts: Sequence[tuple[Counts, float]], rule: Rule) -> Ids:
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
    for candidates in (_ranked(counts, rule), _unseen(tokens, counts, rule)):
        for token in candidates:
            if len(kept) >= room:
                break
            wanted = closure.ancestors(token, made_of, kept)
            if len(kept) + len(wanted) <= room:
                kept |= wanted
    return np.array(sorted(kept), np.int64)


def check_rule(tokenizer: Tokenizer, rule: Rule) -> None:
    """Raise VocabularyError for a rule that no text could meet, before any text is read."""
    _check_rule(closure.layout(tokenizer), rule)


def _check_rule(tokens: Layout, rule: Rule) -> None:
    """Refuse what cannot be asked of this tokenizer."""
    if rule.size is not None and rule.size > len(tokens.ids):
        raise VocabularyError(f"size {rule.size} is above the tokenizer's own {len(tokens.ids)} tokens; choose less")
    if not 0 < rule.coverage <= 1:
        raise VocabularyError(f"coverage {rule.coverage} is not a share above 0 and up to 1; 0.9999 is usual")
    if rule.fill != "none" and rule.size is None:
        raise VocabularyError(f"fill {rule.fill!r} needs a size to fill up to; give size")
    for name in rule.keep:
        _named(tokens, name)


def _check(tokens: Layout, counts: Sequence[tuple[Counts, float]], rule: Rule) -> None:
    """Refuse rules and counts that cannot give a vocabulary."""
    _check_rule(tokens, rule)
    if not any(counted.total for counted, _ in counts):
        raise VocabularyError("nothing was counted: the text is empty; give a corpus with at least one line")
    if rule.min_documents > 1 and any(counted.documents is None for counted, _ in counts):
        raise VocabularyError("min_documents needs counts of lines: count with documents=True")
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


def _mandatory(tokens: Layout, counts: Sequence[tuple[Counts, float]], rule: Rule) -> set[int]:
    """Return what stays at any size, before BPE ancestors."""
    seen = set().union(*(counted.characters for counted, _ in counts)) | set(rule.characters)
    return closure.always(tokens) | closure.characters(tokens, seen) | {_named(tokens, name) for name in rule.keep}


def _named(tokens: Layout, name: str) -> int:
    """Return the id of a must-keep token; a near miss is shown when there is none."""
    if name in tokens.ids:
        return tokens.ids[name]
    spelled = [form for form in ("▁" + name, "##" + name, "Ġ" + name) if form in tokens.ids]
    near = spelled or get_close_matches(name, tokens.ids, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise VocabularyError(f"the tokenizer has no token {name!r} to keep{hint}")


def _ranked(counts: Sequence[tuple[Counts, float]], rule: Rule) -> list[int]:
    """Return the qualifying tokens, most frequent first. Raises VocabularyError when there are none."""
    tokens: Any = sum(counted.tokens for counted, _ in counts)
    mixed: Any = sum(weight * counted.tokens / max(counted.total, 1) for counted, weight in counts)
    least = max(rule.min_count, 1)
    qualifies = tokens >= least
    if rule.min_documents > 1:
        documents: Any = sum(counted.documents for counted, _ in counts)
        qualifies &= documents >= rule.min_documents
    (found,) = np.nonzero(qualifies)
    if not len(found):
        wanted = f"{least} times in {rule.min_documents} lines"
        raise VocabularyError(f"no token occurs {wanted}: lower min_count or min_documents, or give more text")
    ranked = found[np.argsort(-mixed[found], kind="stable")]
    order: list[int] = ranked[: _enough(mixed[ranked] / mixed.sum(), rule.coverage)].tolist()
    return order


def _enough(shares: NDArray[np.float64], coverage: float) -> int:
    """Return how many of the ``shares``, largest first, it takes to reach ``coverage``; all where they do not."""
    return len(shares) if coverage >= 1 else int(np.searchsorted(np.cumsum(shares), coverage - 1e-12)) + 1


def _unseen(tokens: Layout, counts: Sequence[tuple[Counts, float]], rule: Rule) -> Iterable[int]:
    """Yield the tokens that may fill the vocabulary up, by ascending id; those that are kept already do no harm."""
    if rule.fill == "none":
        return
    spell = scripts.speller(tokens)
    known = scripts.main_scripts([counted.characters for counted, _ in counts])
    for name, at in sorted(tokens.ids.items(), key=lambda item: item[1]):
        if rule.fill == "rank" or scripts.scripts_of(spell(name)) <= known:
            yield at
