"""More text like the labelled examples: copies of them, with some tokens swapped for tokens of similar meaning.

The teacher says what a copy is; nobody claims that its true label stayed. Swapping words for their neighbours is what
TinyBERT does for task distillation (Jiao et al. 2020, arXiv 1909.10351, §3.2), there with GloVe and a masked LM; here
the teacher's own word embeddings say what is near, so that any language will do.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses

from edgecompress.encoder.closure import byte_tokens, layout
from edgecompress.encoder.importance import IGNORED
from edgecompress.encoder.scripts import UNREAD, reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

NEAR = 15  # tokens that one may be swapped for
_CHUNK = 2048
_WITHIN = 8  # more than there are kinds


def places(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return where each token (vocab,) can stand: those of one number may be swapped for each other.

    What begins a word and what goes on in one are two places; so are small letters, capitals, digits, marks that sit on
    the letter before them, and the rest. A byte-level token is what its bytes say. An added token, and one that is no
    characters (a bare ▁, a byte, the bytes of a part of a letter), has a place of its own.
    """
    tokens = layout(tokenizer.backend_tokenizer)
    spelt, within = reader(tokens), tokens.model.get("continuing_subword_prefix")
    alone = {*tokenizer.all_special_ids, *(one["id"] for one in tokens.spec["added_tokens"])}
    pieces = byte_tokens(tokens) if tokens.model.get("byte_fallback") else ()
    found = torch.arange(-1, -len(tokenizer) - 1, -1)
    for index, token in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))):
        text = spelt(token)
        begins = not token.startswith(within) if within else text.startswith(" ")
        if text.strip() and UNREAD not in text and index not in alone and token not in pieces:
            found[index] = _kind(text.strip()[0]) + (0 if begins else _WITHIN)
    return found


def _kind(character: str) -> int:
    if unicodedata.category(character).startswith("M"):
        return 4
    if unicodedata.category(character).startswith("N"):
        return 3
    return 0 if not character.isalpha() else 2 if character.isupper() else 1


def neighbours(embeddings: Tensor, places: Tensor, wanted: Tensor, count: int = NEAR) -> Tensor:
    """Return the ``count`` tokens (vocab, count) nearest to each ``wanted`` one by the cosine of ``embeddings``.

    ``embeddings`` (at least vocab, width) may have rows that no token owns. Only tokens of the same place (vocab,) are
    neighbours: see :func:`places`. Who has too few is its own neighbour for the rest, as is every token that is not
    wanted.
    """
    unit = F.normalize(embeddings[: len(places)].float(), dim=1)
    count = min(count, len(unit) - 1)
    near = torch.arange(len(unit)).unsqueeze(1).repeat(1, count)
    for part in wanted.split(_CHUNK):
        cosine = unit[part] @ unit.T
        cosine[places[part, None] != places[None]] = -2.0
        cosine[torch.arange(len(part)), part] = -2.0
        best = cosine.topk(count)
        near[part] = torch.where(best.values < -1, part.unsqueeze(1), best.indices)
    return near


def copies(data: Dataset, near: Tensor, count: int, *, share: float, keep: Sequence[int], seed: int) -> Dataset:
    """Return ``count`` unlabelled copies of each row, ``share`` of their tokens swapped for a neighbour.

    ``near`` (vocab, count) as of :func:`neighbours`; ids in ``keep`` (the special ones) stay.
    """
    generator, table, fixed = np.random.default_rng(seed), near.numpy(), np.asarray(list(keep))

    def swap(row: dict[str, list[int]]) -> dict[str, list[int] | int]:
        ids = np.asarray(row["input_ids"])
        chosen = (generator.random(len(ids)) < share) & ~np.isin(ids, fixed)
        other = table[ids, generator.integers(0, table.shape[1], len(ids))]
        labels = row["labels"]
        none = IGNORED if isinstance(labels, int) else [IGNORED] * len(labels)
        return {**row, "input_ids": np.where(chosen, other, ids).tolist(), "labels": none}

    return type(data).from_list([swap(row) for _ in range(count) for row in data])
