"""The proof that a graph computes what the torch model computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgecompress.errors import CheckError
from edgecompress.export.compare import Ids, Logits, Run, Vocabulary, batches, compare
from edgecompress.runtime.encoding import encode
from edgecompress.runtime.session import open_run
from edgecompress.stages.finetune import longest_input

if TYPE_CHECKING:
    from edgecompress.encoder.bundle import Bundle

TOLERANCE = 1e-3  # of the largest logit; float32 sums in another order stay far below


def check_parity(bundle: Bundle, graph: Path, texts: Sequence[str] = (), tolerance: float = TOLERANCE) -> float:
    """Return the largest difference of logits between torch and ``graph``, relative to the largest logit.

    Compared at 1×1, 1×3, 1×the longest input, an odd batch, mixed padding, and on ``texts``; padding places are left
    out. Raises CheckError past ``tolerance``, or where the graph gives values that are not finite.
    """
    words = vocabulary_of(bundle)
    encoded = encode(bundle.tokenizer.backend_tokenizer, [(text,) for text in texts], words.longest)
    found = compare(torch_run(bundle), open_run(graph), batches(words, [one.ids for one in encoded]))
    worst = max(found.rows, key=lambda row: row.largest)
    if worst.largest > tolerance:
        raise CheckError(
            f"the exported graph differs from torch by {worst.largest:.2g} of the largest logit at {worst.where}, "
            f"{tolerance:g} is allowed: please report this model's type and sizes"
        )
    return worst.largest


def torch_run(bundle: Bundle) -> Run:
    """Return the model as a function of ids and mask."""

    def run(ids: Ids, mask: Ids) -> Logits:
        with torch.no_grad():
            inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            logits: Logits = bundle.model(**inputs).logits.float().numpy()
        return logits

    return run


def vocabulary_of(bundle: Bundle) -> Vocabulary:
    """Return what it takes to make ids for the model."""
    tokenizer = bundle.tokenizer
    pad, unknown = tokenizer.pad_token_id, tokenizer.unk_token_id
    other = (pad + 1) % len(tokenizer) if unknown is None else unknown
    return Vocabulary(len(tokenizer), pad, other, longest_input(bundle))
