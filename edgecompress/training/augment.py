"""More text like the labelled examples: copies of them, with some tokens swapped for tokens of similar meaning.

The teacher says what a copy is; nobody claims that its true label stayed. Swapping words for their neighbours is what
TinyBERT does for task distillation (Jiao et al. 2020, arXiv 1909.10351, §3.2), there with GloVe and a masked LM; here
the teacher's own word embeddings say what is near, so that any language will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses

from edgecompress.encoder.importance import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset

NEAR = 15  # tokens that one may be swapped for
_CHUNK = 2048
_BEGIN = ("▁", "Ġ")  # how a piece shows that it begins a word; WordPiece shows the others, by "##"


def neighbours(
    embeddings: Tensor, tokens: Sequence[str], wanted: Tensor, special: Sequence[int] = (), count: int = NEAR
) -> Tensor:
    """Return the ``count`` tokens (vocab, count) nearest to each ``wanted`` one by the cosine of ``embeddings``.

    ``embeddings`` (at least vocab, width) may have rows that no token owns. Only tokens in the same place are
    neighbours: those that begin a word (with a capital or without) have such, those within words have those; nobody has
    a ``special`` one. Who has too few is its own neighbour for the rest, as is every token that is not wanted.
    """
    places = torch.tensor([_place(token) for token in tokens])
    places[list(special)] = -1
    unit = F.normalize(embeddings[: len(tokens)].float(), dim=1)
    count = min(count, len(unit) - 1)
    near = torch.arange(len(unit)).unsqueeze(1).repeat(1, count)
    for part in wanted.split(_CHUNK):
        cosine = unit[part] @ unit.T
        cosine[places[part, None] != places[None]] = -2.0
        cosine[torch.arange(len(part)), part] = -2.0
        best = cosine.topk(count)
        near[part] = torch.where(best.values < -1, part.unsqueeze(1), best.indices)
    return near


def _place(token: str) -> int:
    begins, letters = token.startswith(_BEGIN), token.lstrip("".join(_BEGIN)).removeprefix("##")
    kind = 0 if not letters[:1].isalpha() else 2 if letters[:1].isupper() else 1
    return 6 * token.startswith("##") + 3 * begins + kind


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
