"""The proof that a graph computes what the torch model computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edgecompress.errors import CheckError
from edgecompress.runtime.encoding import encode
from edgecompress.runtime.session import open_session
from edgecompress.stages.finetune import longest_input

if TYPE_CHECKING:
    from edgecompress.encoder.bundle import Bundle

Ids = NDArray[np.int64]
TOKEN_DIMENSIONS = 3  # logits of token tasks: (batch, length, labels)
SHORTEST = 3  # tokens: one between the two specials
TOLERANCE = 1e-3  # of the largest logit; float32 sums in another order stay far below


def check_parity(bundle: Bundle, graph: Path, texts: Sequence[str] = (), tolerance: float = TOLERANCE) -> float:
    """Return the largest difference of logits between torch and ``graph``, relative to the largest logit.

    Compared at 1×3, 1×the longest input, an odd batch, mixed padding, and on ``texts``; padding places are left out.
    Raises CheckError past ``tolerance``, or where the graph gives values that are not finite.
    """
    session = open_session(graph)
    worst = 0.0
    for name, ids, mask in _inputs(bundle, texts):
        with torch.no_grad():
            wanted = bundle.model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
        given = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        if given.shape != wanted.shape or not np.isfinite(given).all():
            raise CheckError(
                f"the exported graph gives {given.shape} at {name}, torch {wanted.shape}, or is not finite"
            )
        real = mask.astype(bool) if wanted.ndim == TOKEN_DIMENSIONS else np.ones(len(ids), dtype=bool)
        difference = float(np.abs(given - wanted)[real].max() / max(1.0, float(np.abs(wanted[real]).max())))
        if difference > tolerance:
            raise CheckError(
                f"the exported graph differs from torch by {difference:.2g} of the largest logit at {name}, "
                f"{tolerance:g} is allowed: please report this model's type and sizes"
            )
        worst = max(worst, difference)
    return worst


def _inputs(bundle: Bundle, texts: Sequence[str]) -> Iterator[tuple[str, Ids, Ids]]:
    generator = np.random.default_rng(0)
    vocabulary, longest = len(bundle.tokenizer), longest_input(bundle)
    for batch, length in ((1, min(SHORTEST, longest)), (1, longest), (3, min(17, longest))):
        ids = generator.integers(0, vocabulary, (batch, length))
        ids[ids == bundle.tokenizer.pad_token_id] = bundle.tokenizer.unk_token_id
        yield f"{batch}×{length}", ids, np.ones_like(ids)
    lengths = generator.integers(min(SHORTEST, longest), min(40, longest) + 1, 5)
    yield "mixed padding", *padded([generator.integers(5, vocabulary, n).tolist() for n in lengths], bundle)
    if texts:
        encoded = encode(bundle.tokenizer.backend_tokenizer, [(text,) for text in texts], longest)
        yield f"{len(texts)} texts", *padded([one.ids for one in encoded], bundle)


def padded(rows: Sequence[Sequence[int]], bundle: Bundle) -> tuple[Ids, Ids]:
    """Return ids and mask, each (rows, longest row), padded with the tokenizer's padding id."""
    ids = np.full((len(rows), max(map(len, rows))), bundle.tokenizer.pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    return ids, mask
