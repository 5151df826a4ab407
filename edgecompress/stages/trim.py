"""Keep only the vocabulary that the languages use."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgecompress.options import Selection
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle
    from edgecompress.encoder.counting import Counts
    from edgecompress.encoder.proof import Proof
    from edgecompress.encoder.vocabulary import Rule


_PROOF_LINES = 1000  # of each corpus: how many texts the two tokenizers are compared on
_EVERY = 20  # which line is held out
_KNOWN = 0.5  # of the characters of a text, at least


def trim(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    size: int | None = None,
    min_count: int = 1,
    min_documents: int = 1,
    keep: tuple[str, ...] = (),
    selection: Selection = Selection(),
) -> Bundle:
    """Keep the tokens that the corpora use, at most SIZE of them, and drop their rows from the model.

    Corpora are mixed by weight. Every character seen, digits and punctuation stay writable, special tokens always stay,
    and the ids of the result are contiguous in the order of the old ones. How well the tokens of a text serve the next
    one is told by every twentieth line, up to a thousand a corpus: a selection without them is proved on them, then
    they count with the others. Raises VocabularyError for a selection that cannot be made.
    """
    import torch

    from edgecompress.encoder import closure, counting, letters, surgery, tokenizer, vocabulary
    from edgecompress.encoder.dropped import dropped

    backend = closure.plain(bundle.tokenizer.backend_tokenizer)
    _check_rows(backend, bundle)
    rule = vocabulary.Rule(
        size=size,
        min_count=min_count,
        min_documents=min_documents,
        keep=(*keep, *(token for path in selection.keep_files for token in _tokens(path))),
        coverage=selection.coverage,
        characters=letters.characters(backend, selection.alphabet, selection.letters),
        fill=selection.fill,
    )
    vocabulary.check_rule(backend, rule)
    parts = [_counted(backend, c, documents=min_documents > 1) for c in corpora]
    counts = [(counting.joined(rest, held), c.weight) for c, (rest, held, _) in zip(corpora, parts, strict=True)]
    smaller, order = tokenizer.cut(backend, vocabulary.select(backend, counts, rule))
    found = {"kept": len(order), "of": backend.get_vocab_size(), "tokens_read": sum(c.total for c, _ in counts)}
    lost = dataclasses.asdict(dropped(backend, [counted for counted, _ in counts], order))
    proof = _prove(backend, smaller, order, corpora)
    _check_known(proof)
    unseen = [line for *_, lines in parts for line in lines]
    others = [(rest, c.weight) for c, (rest, _, _) in zip(corpora, parts, strict=True)]
    details = {**found, **_proved(proof), "held_out": _held_out(backend, others, unseen, rule), "dropped": lost}
    model = surgery.keep(bundle.model, surgery.Cut(vocab=torch.from_numpy(order).long()))
    options = {"corpora": corpora, "size": size, "min_count": min_count, "min_documents": min_documents, "keep": keep}
    step = record("trim", model, details, **options, selection=selection)
    return bundle.then(step, model=model, tokenizer=tokenizer.wrap(smaller, bundle.tokenizer))


def _counted(backend: Tokenizer, corpus: Corpus, *, documents: bool) -> tuple[Counts, Counts, list[str]]:
    """Return the counts of a corpus without its held-out lines, of those, and the lines."""
    from edgecompress.corpus import lines
    from edgecompress.encoder import counting

    held: list[str] = []

    def rest() -> Iterator[str]:
        for number, line in enumerate(lines(corpus), 1):
            if number % _EVERY == 0 and len(held) < _PROOF_LINES:
                held.append(line)
            else:
                yield line

    seen = counting.count(backend, rest(), documents=documents, task=f"counting {corpus.name}")
    return seen, counting.count(backend, held, documents=documents, task=f"counting {corpus.name}"), held


def _held_out(
    backend: Tokenizer, counts: Sequence[tuple[Counts, float]], unseen: Sequence[str], rule: Rule
) -> dict[str, Any] | None:
    """Return what the history keeps of the proof on lines that the selection has not seen; None where text is so short
    that there are none.
    """
    from edgecompress.encoder import proof, tokenizer, vocabulary

    if not unseen:
        return None
    smaller, order = tokenizer.cut(backend, vocabulary.select(backend, counts, rule))
    return {"texts": len(unseen), **_proved(proof.verify(backend, smaller, order, unseen))}


def _check_rows(backend: Tokenizer, bundle: Bundle) -> None:
    """Raise VocabularyError when the tokenizer has ids for which the model has no embedding."""
    from edgecompress.errors import VocabularyError

    rows = bundle.model.get_input_embeddings().weight.shape[0]
    highest = max(backend.get_vocab(with_added_tokens=True).values())
    if highest >= rows:
        raise VocabularyError(
            f"the tokenizer has id {highest}, the model only {rows} embedding rows: use the model's own tokenizer"
        )


def _tokens(path: Path) -> list[str]:
    """Read the tokens of a must-keep file: one a line, blanks at its ends belong to no token."""
    from edgecompress.corpus import Corpus, lines

    return list(lines(Corpus(path.name, (path,))))


def _prove(old: Tokenizer, new: Tokenizer, order: Any, corpora: Sequence[Corpus]) -> Proof:
    """Compare both tokenizers on the first lines of each corpus."""
    from itertools import chain, islice

    from edgecompress.corpus import lines
    from edgecompress.encoder.proof import verify

    return verify(old, new, order, chain.from_iterable(islice(lines(c), _PROOF_LINES) for c in corpora))


def _check_known(proof: Proof) -> None:
    """Raise VocabularyError for text of which the original tokenizer does not know most characters.

    The share of tokens, which the selection looks at (for bytes of a fallback, too), does not tell: one UNK may stand
    for a whole word beside known signs (XLM-R in Tibetan).
    """
    from edgecompress.errors import VocabularyError

    if proof.coverage_old < _KNOWN:
        raise VocabularyError(
            f"{1 - proof.coverage_old:.0%} of the characters of the text are unknown to the tokenizer, which does not "
            "know this script: choose another teacher or check the text"
        )


def _proved(proof: Proof) -> dict[str, Any]:
    """Return what the history keeps of a proof."""
    return {
        "unchanged_texts": round(proof.unchanged, 4),
        "unknown_share": round(proof.unknown_new, 6),
        "tokens_per_word": [round(proof.fertility_old, 3), round(proof.fertility_new, 3)],
        "characters_per_token": [round(proof.characters_old, 3), round(proof.characters_new, 3)],
    }
