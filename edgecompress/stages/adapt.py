"""Teach the teacher the language before it teaches."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from edgecompress.options import Training
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle


def adapt(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    mask: float = 0.15,
    encoder: Literal["tuned", "frozen"] = "tuned",
    training: Training = Training(steps=1000, learning_rate=1e-4),
) -> Bundle:
    """Train the model as a masked language model on the language's own text.

    An encoder without a masked-LM head gets one (tied to its embeddings) and it is fitted here: the first step of
    arXiv 2505.16956, and what the logits losses of ``distill`` need. With a ``frozen`` ENCODER only the head is
    trained: the teacher stays what it was, and gives logits.
    """
    from functools import partial

    import torch

    from edgecompress.encoder.heads import attach, frozen_encoder, has_mlm_head
    from edgecompress.encoder.surgery import copy_of
    from edgecompress.stages.finetune import check_length
    from edgecompress.training.data import drawn, pack, packed_batch
    from edgecompress.training.masked_lm import MaskedLM
    from edgecompress.training.trainer import Data, fit

    check_length(bundle.model.config, training.max_length)
    fresh = not has_mlm_head(bundle.model)
    model = attach(bundle.model, "mlm", seed=training.seed) if fresh else copy_of(bundle.model)
    details: dict[str, Any] = {"steps": 0}
    if training.steps or training.epochs:
        data = drawn(pack(bundle.tokenizer, corpora, training.max_length), training.examples, training.seed)
        torch.manual_seed(training.seed)
        collate = partial(packed_batch, tokenizer=bundle.tokenizer, mask=mask)
        with frozen_encoder(model) if encoder == "frozen" else nullcontext():
            details = fit(MaskedLM(model), Data(data, collate), training, label="adapt")
    options = {"corpora": corpora, "mask": mask, "encoder": encoder, "training": training}
    step = record("adapt", model, {"new_head": fresh, **details}, **options)
    return bundle.then(step, model=model.eval())


def check(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options ``given``, as far as options alone tell."""
    if given.get("mask", 1) == 0:
        yield "mask 0 leaves nothing to guess: give a share above 0"
