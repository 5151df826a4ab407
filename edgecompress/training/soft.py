"""Soft labels: what a fine-tuned teacher says of labelled and of unlabelled text, and a student that learns from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses

from edgecompress.corpus import Corpus, lines
from edgecompress.encoder.importance import IGNORED
from edgecompress.progress import report
from edgecompress.training.data import Batch
from edgecompress.training.losses import logits_loss
from edgecompress.words import DEFAULT_WORD_PATTERN, word_offsets

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from edgecompress.tasks import Task
    from edgecompress.training.trainer import Data

Collate = Callable[[list[dict[str, Any]]], Batch]
_BATCH = 64
_LONGEST = 64  # words of an unlabelled line: what follows is left out
_POOL = 20  # lines looked at for each that is taken: enough to draw from the whole of most corpora


def unlabelled(corpora: Sequence[Corpus], task: Task, count: int, *, seed: int, without: frozenset[str]) -> list[Any]:
    """Return about ``count`` lines as word lists (a text task: one word, the line), drawn evenly from the corpora.

    Lines are cut into words as the predictor cuts a user's text. ``without``: texts (see :func:`plain`) that must not
    be among them, because they are validation or test examples.
    """
    share = -(-count // max(len(corpora), 1))
    drawn = []
    for number, corpus in enumerate(corpora):
        pool = sorted({text for text in islice(lines(corpus), share * _POOL) if plain(text) not in without})
        order = np.random.default_rng([seed, number]).permutation(len(pool))[:share]
        drawn += [pool[i] for i in order]
    if task.kind == "text":
        return [(text,) for text in drawn]
    cut = ([text[a:b] for a, b in word_offsets(DEFAULT_WORD_PATTERN, text)[:_LONGEST]] for text in drawn)
    return [tuple(words) for words in cut if words]


def plain(text: str) -> str:
    """Return the letters and digits of a text, case folded: what two writings of one sentence have in common."""
    return "".join(character for character in text.casefold() if character.isalnum())


def with_soft_labels(data: Data, more: Sequence[Dataset], teacher: PreTrainedModel, *, bf16: bool) -> Data:
    """Return ``data`` with the unlabelled rows of ``more`` and the teacher's predictions for all training rows."""
    from datasets import concatenate_datasets

    train = concatenate_datasets([data.train, *more])
    said = soft_labels(teacher, train, data.collate, bf16=bf16)
    train = train.add_column("soft", list(range(len(train))))
    return replace(data, train=train, collate=partial(soft_batch, pad=data.collate, soft=said))


@torch.no_grad()
def soft_labels(teacher: PreTrainedModel, data: Dataset, pad: Collate, *, bf16: bool) -> list[np.ndarray]:
    """Return the teacher's logits for each row: (1, labels) of a text, (marked words, labels) of a token row."""
    order = np.argsort(np.asarray(data["length"]), kind="stable")
    found: list[np.ndarray] = [np.empty(0)] * len(data)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher = teacher.to(device)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        for begin in range(0, len(order), _BATCH):
            chosen = order[begin : begin + _BATCH].tolist()
            batch = {name: value.to(device) for name, value in soft_batch([data[i] for i in chosen], pad).items()}
            logits = teacher(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
            for row, index in enumerate(chosen):
                kept = logits[row] if logits.dim() == 2 else logits[row][batch["marked"][row]]  # noqa: PLR2004
                found[index] = kept.reshape(-1, logits.shape[-1]).cpu().numpy()
            report("teacher's predictions", begin + len(chosen), len(order), "texts")
    teacher.to("cpu")
    return found


def soft_batch(rows: Sequence[dict[str, Any]], pad: Collate, soft: Sequence[np.ndarray] = ()) -> Batch:
    """Return what ``pad`` makes of the rows, with ``marked`` (shaped as the labels) and, for rows with an index
    ``soft``, the teacher's logits (marked, labels).
    """
    batch = pad(list(rows))
    marked = torch.full_like(batch["labels"], batch["labels"].dim() == 1, dtype=torch.bool)
    if marked.dim() > 1:
        for number, row in enumerate(rows):
            marked[number, row["marked"]] = True
    said = [soft[row["soft"]] for row in rows if "soft" in row] if soft else []
    return {**batch, "marked": marked} | ({"soft": torch.from_numpy(np.concatenate(said))} if said else {})


class Softly(nn.Module):
    """A model with a task head whose loss is partly the true labels' and partly the teacher's."""

    def __init__(self, model: PreTrainedModel, share: float, temperature: float) -> None:
        super().__init__()
        self.model, self.share, self.temperature = model, share, temperature

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, marked: Tensor, soft: Tensor | None = None
    ) -> Batch:
        """Return {"loss", "logits"} for labels (batch,) or (batch, length); ``marked`` of that shape says which
        predictions count, ``soft`` (marked, labels) what the teacher says of them (None: no such loss).
        """
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        said, true = logits[marked].float(), labels[marked]
        loss = F.cross_entropy(said, true, ignore_index=IGNORED, reduction="sum") / max(len(true), 1)
        if soft is not None:
            loss = (1 - self.share) * loss + self.share * logits_loss(said, soft, "kl", self.temperature)
        return {"loss": loss, "logits": logits}
