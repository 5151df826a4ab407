"""Keep only the vocabulary that the languages use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompress.stages.record import record

if TYPE_CHECKING:
    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle


_PROOF_LINES = 1000  # of each corpus: how many texts the two tokenizers are compared on


def trim(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    size: int | None = None,
    min_count: int = 1,
    min_documents: int = 1,
    keep: tuple[str, ...] = (),
) -> Bundle:
    """Keep the tokens that the corpora use, at most SIZE of them, and drop their rows from the model.

    Corpora are mixed by weight. Every character seen stays writable, special tokens always stay, and the ids of the
    result are contiguous in the order of the old ones. Raises VocabularyError for a selection that cannot be made.
    """
    from itertools import chain, islice

    import torch

    from edgecompress.corpus import lines
    from edgecompress.encoder import closure, surgery, tokenizer, vocabulary

    backend = closure.plain(bundle.tokenizer.backend_tokenizer)
    counts = [(vocabulary.count(backend, lines(c), task=f"counting {c.name}"), c.weight) for c in corpora]
    rule = vocabulary.Selection(size=size, min_count=min_count, min_documents=min_documents, keep=keep)
    order = tokenizer.order(backend, vocabulary.select(backend, counts, rule))
    smaller = tokenizer.trim(backend, order)
    proof = tokenizer.verify(backend, smaller, order, list(chain(*(islice(lines(c), _PROOF_LINES) for c in corpora))))
    trimmed = tokenizer.wrap(smaller, bundle.tokenizer)
    model = surgery.keep(bundle.model, surgery.Cut(vocab=torch.from_numpy(order).long()))
    details = {
        "kept": len(order),
        "of": backend.get_vocab_size(),
        "tokens_read": sum(c.total for c, _ in counts),
        "unchanged_texts": round(proof.unchanged, 4),
        "unknown_share": round(proof.unknown_new, 6),
        "tokens_per_word": [round(proof.fertility_old, 3), round(proof.fertility_new, 3)],
    }
    options = {"corpora": corpora, "size": size, "min_count": min_count, "min_documents": min_documents, "keep": keep}
    return bundle.then(record("trim", model, details, **options), model=model, tokenizer=trimmed)
