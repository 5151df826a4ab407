"""Soft labels: what a fine-tuned teacher says of labelled and of unlabelled text, and a student that learns from it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses

from edgecompress.corpus import Corpus, lines
from edgecompress.encoder.arch import size
from edgecompress.encoder.heads import encoder_of, last_states
from edgecompress.encoder.importance import IGNORED
from edgecompress.options import Soft
from edgecompress.progress import report
from edgecompress.training.data import Batch
from edgecompress.training.losses import hidden_loss, logits_loss
from edgecompress.training.projection import fit_linear
from edgecompress.words import DEFAULT_WORD_PATTERN, word_offsets

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from edgecompress.tasks import Task
    from edgecompress.training.trainer import Data

Collate = Callable[[list[dict[str, Any]]], Batch]
_BATCH = 64
_LONGEST = 64  # words of an unlabelled line: what follows is left out


def unlabelled(corpora: Sequence[Corpus], task: Task, count: int, *, seed: int, without: frozenset[str]) -> list[Any]:
    """Return about ``count`` lines as word lists (a text task: one word, the line), drawn evenly from the corpora.

    Each corpus gives its weight's share. Lines are cut into words as the predictor cuts a user's text. ``without``:
    texts (see :func:`plain`) that no line may equal, because they are validation or test examples.
    """
    whole = sum(corpus.weight for corpus in corpora)
    found: list[str] = []
    for number, corpus in enumerate(corpora):
        fresh = (text for text in lines(corpus) if plain(text) not in without)
        found += _reservoir(fresh, round(count * corpus.weight / whole), np.random.default_rng([seed, number]))
    found = list(dict.fromkeys(found))
    if task.kind == "text":
        return [(text,) for text in found]
    cut = ([text[a:b] for a, b in word_offsets(DEFAULT_WORD_PATTERN, text)[:_LONGEST]] for text in found)
    return [tuple(words) for words in cut if words]


def _reservoir(texts: Iterable[str], count: int, generator: np.random.Generator) -> list[str]:
    """Return ``count`` of the texts, each as likely as any other (Vitter 1985, algorithm R), or all of fewer."""
    kept: list[str] = []
    for number, text in enumerate(texts):
        if number < count:
            kept.append(text)
        elif (place := int(generator.integers(number + 1))) < count:
            kept[place] = text
    return kept


def plain(text: str) -> str:
    """Return the letters and digits of a text, composed (NFC), case folded: what two writings of one sentence have in
    common, whether accents are part of their letters or follow them.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return "".join(character for character in folded if character.isalnum())


@dataclass(frozen=True)
class TeacherOutput:
    """What the teacher says of a row: ``logits`` (1, labels) of a text, (marked words, labels) of a token row, and
    ``states`` (tokens, hidden), its last hidden states in half precision.
    """

    logits: np.ndarray
    states: np.ndarray


def with_soft_labels(
    data: Data, more: Sequence[Dataset], teacher: PreTrainedModel, *, states: bool, bf16: bool
) -> Data:
    """Return ``data`` with the unlabelled rows of ``more`` and what the teacher says of all training rows."""
    from datasets import concatenate_datasets

    train = concatenate_datasets([data.train, *more])
    said = ask(teacher, train, data.collate, states=states, bf16=bf16)
    train = train.add_column("soft", list(range(len(train))))
    return replace(data, train=train, collate=partial(soft_batch, pad=data.collate, said=said))


@torch.no_grad()
def ask(teacher: PreTrainedModel, data: Dataset, pad: Collate, *, states: bool, bf16: bool) -> list[TeacherOutput]:
    """Return what the teacher says of each row; no states are kept unless they are wanted."""
    order = np.argsort(np.asarray(data["length"]), kind="stable")
    found: dict[int, TeacherOutput] = {}
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else kind
    teacher = teacher.to(device)
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        for begin in range(0, len(order), _BATCH):
            chosen = order[begin : begin + _BATCH].tolist()
            batch = {name: value.to(device) for name, value in soft_batch([data[i] for i in chosen], pad).items()}
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            with last_states(teacher) as seen:
                output = teacher(**inputs)
            for row, index in enumerate(chosen):
                logits, real = output.logits[row].float(), batch["attention_mask"][row].bool()
                kept = logits.reshape(1, -1) if logits.dim() == 1 else logits[batch["marked"][row]]
                last = seen[-1][row][real if states else torch.zeros_like(real)].half()
                found[index] = TeacherOutput(kept.cpu().numpy(), last.cpu().numpy())
            report("asking the teacher", begin + len(chosen), len(order), "texts")
    teacher.to("cpu")
    return [found[index] for index in range(len(data))]


def soft_batch(rows: Sequence[dict[str, Any]], pad: Collate, said: Sequence[TeacherOutput] = ()) -> Batch:
    """Return what ``pad`` makes of the rows, with ``marked`` (shaped as the labels) and, for rows with an index
    ``soft``, the teacher's logits ``soft`` (marked, labels) and ``states`` (real tokens, hidden).
    """
    batch = pad(list(rows))
    marked = torch.full_like(batch["labels"], batch["labels"].dim() == 1, dtype=torch.bool)
    if marked.dim() > 1:
        for number, row in enumerate(rows):
            marked[number, row["marked"]] = True
    batch = {**batch, "marked": marked}
    taught = [said[row["soft"]] for row in rows if "soft" in row] if said else []
    if not taught:
        return batch
    logits, states = (np.concatenate([getattr(one, part) for one in taught]) for part in ("logits", "states"))
    return {**batch, "soft": torch.from_numpy(logits), "states": torch.from_numpy(states)}


class TaskDistiller(nn.Module):
    """A model with a task head whose loss is partly the true labels' and partly the teacher's."""

    def __init__(self, model: PreTrainedModel, soft: Soft, width: int) -> None:
        super().__init__()
        self.model, self.soft = model, soft
        self.projection = nn.Linear(size(model.config, "hidden"), width) if soft.states else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        marked: Tensor,
        soft: Tensor | None = None,
        states: Tensor | None = None,
    ) -> Batch:
        """Return {"loss", "logits"} for labels (batch,) or (batch, length); ``marked`` of that shape says which
        predictions count, ``soft`` (marked, labels) and ``states`` (real tokens, hidden) what the teacher says of them
        (None: there is no such loss).
        """
        nothing: AbstractContextManager[list[Tensor]] = nullcontext([])
        with nothing if self.projection is None else last_states(self.model) as seen:
            output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        mine, true = output.logits[marked].float(), labels[marked]
        loss = F.cross_entropy(mine, true, ignore_index=IGNORED, reduction="sum") / max(len(true), 1)
        if soft is not None:
            taught = logits_loss(mine, soft, "kl", self.soft.soft_temperature)
            loss = (1 - self.soft.share) * loss + self.soft.share * taught
        if states is not None and self.projection is not None:
            projected = self.projection(seen[-1][attention_mask.bool()])
            loss = loss + self.soft.states * hidden_loss(projected.float(), states.float())
        return {"loss": loss, "logits": output.logits}

    @torch.no_grad()
    def fit_projection(self, batches: Sequence[Batch]) -> None:
        """Start the projection where least squares puts it."""
        if self.projection is None:
            return
        inputs = [{name: batch[name] for name in ("input_ids", "attention_mask")} for batch in batches]
        mine = [encoder_of(self.model)(**one).last_hidden_state[one["attention_mask"].bool()] for one in inputs]
        fit_linear(self.projection, torch.cat(mine), torch.cat([batch["states"].float() for batch in batches]))
