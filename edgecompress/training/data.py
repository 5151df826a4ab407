"""Training data: packed text for the encoder, labelled examples for the tasks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from edgecompress.corpus import Corpus, lines
from edgecompress.encoder.closure import plain
from edgecompress.encoder.importance import IGNORED
from edgecompress.errors import CorpusError
from edgecompress.progress import report
from edgecompress.runtime.encoding import encode
from edgecompress.tasks import Task
from edgecompress.tasks.examples import Example

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

Batch = dict[str, Tensor]
_LINES = 2048
_TO_MASK, _TO_RANDOM = 0.8, 0.1  # what BERT does with the tokens that it scores; the others stay


def pack(tokenizer: PreTrainedTokenizerFast, corpora: Sequence[Corpus], max_length: int) -> Dataset:
    """Return a dataset of ``input_ids`` (max_length,), every sequence full: no padding is ever computed.

    The lines of a corpus are joined by the separator and cut into blocks between the tokenizer's start and end tokens
    (FULL-SENTENCES of RoBERTa). Corpora are mixed by weight: the one with the least text for its share is repeated,
    the one with the most is seen once. Raises CorpusError for corpora too small to fill one sequence.
    """
    from datasets import Dataset

    if not corpora:
        raise CorpusError("there is no text to train on: give corpora")
    blocks = [_blocks(tokenizer, corpus, max_length) for corpus in corpora]
    weights = [corpus.weight for corpus in corpora]
    once = max(len(b) / w for b, w in zip(blocks, weights, strict=True))
    counts = [round(once * w) for w in weights]
    sized = [b if len(b) == n else np.resize(b, (n, max_length)) for b, n in zip(blocks, counts, strict=True)]
    mixed = sized[0] if len(sized) == 1 else np.concatenate(sized)
    return Dataset.from_dict({"input_ids": mixed}).with_format("torch")


def pack_mixed(
    tokenizer: PreTrainedTokenizerFast, corpora: Sequence[Corpus], lengths: Sequence[int], row: int
) -> list[Dataset]:
    """Return what :func:`pack` makes in sequences of each of ``lengths``, divisors of ``row``, a dataset each.

    Its ``input_ids`` (row,) hold whole sequences of ``length``, a column; what does not fill a row is left out. Rows
    are of one size, however long their sequences: one memory holds all, and each batch costs about the same. Raises
    CorpusError for corpora too small to fill a row.
    """
    return [_rows_of(pack(tokenizer, corpora, length), length, row) for length in lengths]


def _rows_of(packed: Dataset, length: int, row: int) -> Dataset:
    from datasets import Dataset

    several = row // length
    count = len(packed) // several
    if count == 0:
        raise CorpusError(f"the text fills {len(packed)} sequences of {length}, fewer than {several}: add text")
    ids = packed.with_format("numpy")[: count * several]["input_ids"].reshape(count, row)
    return Dataset.from_dict({"input_ids": ids, "length": [length] * count}).with_format("torch")


def _blocks(tokenizer: PreTrainedTokenizerFast, corpus: Corpus, max_length: int) -> np.ndarray:
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    stream = np.concatenate([*_streams(tokenizer, corpus, end)])
    body = max_length - 2
    count = len(stream) // body
    if count == 0:
        raise CorpusError(
            f"corpus {corpus.name!r} has {len(stream)} tokens, fewer than one sequence of {max_length}: add text"
        )
    block = np.full((count, max_length), end, dtype=np.int32)
    block[:, 0], block[:, 1:-1] = start, stream[: count * body].reshape(count, body)
    return block


def _streams(tokenizer: PreTrainedTokenizerFast, corpus: Corpus, end: int) -> Iterator[np.ndarray]:
    source, backend = lines(corpus), plain(tokenizer.backend_tokenizer)
    done = 0
    while batch := list(islice(source, _LINES)):
        encoded = backend.encode_batch_fast(batch, add_special_tokens=False)
        yield np.array([token for line in encoded for token in (*line.ids, end)], dtype=np.int32)
        done += len(batch)
        report(f"reading {corpus.name}", done, None, "lines")


def mask_tokens(
    ids: Tensor, tokenizer: PreTrainedTokenizerFast, share: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return masked ids and labels, both shaped as ``ids`` (batch, length).

    BERT's rule: ``share`` of the ordinary tokens are scored; of those 80 % become the mask token, 10 % a random
    token, 10 % stay. Everything else is labelled ``IGNORED``.
    """
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(ids.shape, generator=generator) < share) & ~special
    labels = ids.masked_fill(~chosen, IGNORED)
    what = torch.rand(ids.shape, generator=generator)
    random = torch.randint(len(tokenizer), ids.shape, generator=generator, dtype=ids.dtype)
    masked = torch.where(chosen & (what < _TO_MASK), torch.tensor(tokenizer.mask_token_id, dtype=ids.dtype), ids)
    return torch.where(chosen & (what >= 1 - _TO_RANDOM), random, masked), labels


def packed_batch(rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, mask: float) -> Batch:
    """Collate packed sequences: masked and labelled when ``mask`` is above 0, untouched otherwise.

    The mask is drawn from the batch's own content, not from the global generator: batches differ from epoch to epoch,
    so their masks do, yet a resumed run sees the very masks that it would have seen. Rows of several sequences, all of
    the same ``length``, are cut into them: (batch · row / length, length).
    """
    ids = torch.stack([row["input_ids"] for row in rows]).long()
    if "length" in rows[0]:
        (length,) = {int(row["length"]) for row in rows}
        ids = ids.reshape(-1, length)
    numbers = {"sequence": torch.stack([row["sequence"] for row in rows])} if "sequence" in rows[0] else {}
    batch = {"attention_mask": torch.ones_like(ids), **numbers}
    if mask > 0:
        generator = torch.Generator().manual_seed(zlib.crc32(ids.numpy().tobytes()))
        masked, labels = mask_tokens(ids, tokenizer, mask, generator)
        return {"input_ids": masked, "labels": labels, **batch}
    return {"input_ids": ids, **batch}


def drawn(data: Dataset, count: int, seed: int) -> Dataset:
    """Return at most ``count`` rows, drawn evenly, the same for the same ``seed``; all of them where ``count`` is 0."""
    if not 0 < count < len(data):
        return data
    chosen = np.random.default_rng(seed).permutation(len(data))[:count]
    return data.select(np.sort(chosen))


def probe_batches(
    tokenizer: PreTrainedTokenizerFast, corpora: Sequence[Corpus], tokens: int, *, length: int = 128, seed: int = 0
) -> list[Batch]:
    """Return masked batches of about ``tokens`` tokens drawn evenly from the corpora, the same for the same ``seed``.

    For importance and statistics: enough text to rank by, without training on it.
    """
    data = pack(tokenizer, corpora, length)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=generator)[: max(1, tokens // length)]
    batches = []
    for part in chosen.split(16):
        ids = data[part.tolist()]["input_ids"].long()
        masked, labels = mask_tokens(ids, tokenizer, 0.15, generator)
        batches.append({"input_ids": masked, "labels": labels, "attention_mask": torch.ones_like(ids)})
    return batches


def task_dataset(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], labels: Sequence[str], task: Task, max_length: int
) -> Dataset:
    """Return a dataset of ``input_ids``, ``labels`` (one a text, or one a token), ``marked`` and ``length``.

    ``marked`` are the tokens whose label counts, the words' first; a text has none. Labels elsewhere, and those of an
    example without labels, are ``IGNORED``. Tokenization and alignment are the runtime's own (``runtime.encoding``), so
    that training sees what serving sees.
    """
    from datasets import Dataset

    number = {label: i for i, label in enumerate(labels)}
    encoded = encode(tokenizer.backend_tokenizer, [example.words for example in examples], max_length)
    rows = []
    for item, example in zip(encoded, examples, strict=True):
        known = [number[label] for label in example.labels] or [IGNORED] * len(example.words)
        row = {"input_ids": item.ids, "length": len(item.ids)}
        if task.kind == "text":
            rows.append({**row, "labels": known[0], "marked": []})
            continue
        aligned = [IGNORED] * len(item.ids)
        for place, label in zip(item.first, known, strict=True):
            if place is not None:
                aligned[place] = label
        rows.append({**row, "labels": aligned, "marked": sorted({p for p in item.first if p is not None})})
    return Dataset.from_list(rows)


def task_batch(rows: Sequence[dict[str, Any]], pad_id: int) -> Batch:
    """Collate examples, padded to the longest of the batch: ids with ``pad_id``, token labels with ``IGNORED``."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([[*row["input_ids"], *[pad_id] * (longest - len(row["input_ids"]))] for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    first = rows[0]["labels"]
    if isinstance(first, int):
        labels = torch.tensor([row["labels"] for row in rows])
    else:
        labels = torch.tensor([[*row["labels"], *[IGNORED] * (longest - len(row["labels"]))] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
