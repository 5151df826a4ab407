"""Training data: packing, masking, alignment, collation, and the order of an epoch."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset
from test_surgery import every_family
from tiny_models import SENTENCES, SLOVAK, SWAHILI, corpus, tokenizer

from edgecompress.corpus import Corpus
from edgecompress.encoder.importance import IGNORED
from edgecompress.errors import CorpusError
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.training.data import (
    drawn,
    mask_tokens,
    pack,
    pack_mixed,
    packed_batch,
    probe_batches,
    task_batch,
    task_dataset,
)
from edgecompress.training.sampler import EpochSampler


def packed_ids(words, corpora, length):
    return pack(words, corpora, length)[:]["input_ids"]


@every_family
def test_every_block_is_full_and_between_its_specials(tmp_path, family):
    words = tokenizer(family)
    one = corpus(tmp_path, repeat=2)
    blocks = packed_ids(words, [one], 20)
    assert blocks.shape[1] == 20
    assert (blocks[:, 0] == words.cls_token_id).all()
    assert (blocks[:, -1] == words.sep_token_id).all()
    assert not (blocks == words.pad_token_id).any()
    text = [i for line in SLOVAK * 2 for i in (*words.encode(line, add_special_tokens=False), words.sep_token_id)]
    assert blocks[:, 1:-1].flatten().tolist() == text[: len(blocks) * 18]
    assert len(text) - len(blocks) * 18 < 18


def test_what_a_tokenizer_file_says_of_padding_and_truncation_is_not_text(tmp_path):
    words, one = tokenizer("bert"), corpus(tmp_path, repeat=2)
    blocks = packed_ids(words, [one], 20)
    words.backend_tokenizer.enable_padding(pad_id=words.pad_token_id, pad_token=words.pad_token)
    words.backend_tokenizer.enable_truncation(4)
    assert torch.equal(packed_ids(words, [one], 20), blocks)


def test_rows_of_mixed_lengths_hold_whole_sequences_and_a_batch_is_cut_into_them(tmp_path):
    words, one = tokenizer("bert"), corpus(tmp_path, repeat=4)
    short, long = pack_mixed(words, [one], (6, 24), 24)
    for part, length in ((short, 6), (long, 24)):
        whole = packed_ids(words, [one], length)
        rows = [part[at] for at in range(len(part))]
        batch = packed_batch(rows, words, 0.0)
        assert torch.equal(batch["input_ids"], whole[: len(part) * 24 // length])
        assert batch["attention_mask"].shape == batch["input_ids"].shape
        assert len(whole) - len(batch["input_ids"]) < 24 // length
    with pytest.raises(ValueError, match="unpack"):  # one length a batch: a sampler that mixes them is mistaken
        packed_batch([short[0], long[0]], words, 0.0)
    many = len(packed_ids(words, [one], 6))
    with pytest.raises(CorpusError, match=f"fills {many} sequences of 6, fewer than {many + 1}: add text"):
        pack_mixed(words, [one], (6,), 6 * (many + 1))


def test_corpora_are_mixed_by_weight_and_none_loses_text(tmp_path):
    words = tokenizer("bert")
    slk, swa = corpus(tmp_path, repeat=4), corpus(tmp_path, "swa", SWAHILI, repeat=1)
    alone = [{tuple(row) for row in packed_ids(words, [one], 12).tolist()} for one in (slk, swa)]
    for weight in (1.0, 3.0):
        mixed = packed_ids(words, [slk, Corpus("swa", swa.files, weight)], 12).tolist()
        counts = [sum(tuple(row) in side for row in mixed) for side in alone]
        assert sum(counts) == len(mixed)
        assert counts[1] / counts[0] == pytest.approx(weight, rel=0.05)
        assert {tuple(row) for row in mixed} == alone[0] | alone[1]


def test_a_corpus_too_small_for_one_sequence_is_told(tmp_path):
    words, one = tokenizer("bert"), corpus(tmp_path, lines=("Dnes.",), repeat=1)
    with pytest.raises(CorpusError, match=r"corpus 'slk' has [0-9]+ tokens, fewer than one sequence of 128"):
        pack(words, [one], 128)


@every_family
def test_masking_follows_berts_rule(family):
    words = tokenizer(family)
    ids = torch.randint(5, len(words) - 1, (200, 100))
    ids[:, 0], ids[:, -1], ids[:, 50] = words.cls_token_id, words.sep_token_id, words.pad_token_id
    masked, labels = mask_tokens(ids, words, 0.15, torch.Generator().manual_seed(0))
    scored = labels != IGNORED
    ordinary = ~torch.isin(ids, torch.tensor(words.all_special_ids))
    assert not (scored & ~ordinary).any()
    assert torch.equal(labels[scored], ids[scored])
    assert torch.equal(masked[~scored], ids[~scored])
    assert float(scored.sum() / ordinary.sum()) == pytest.approx(0.15, abs=0.01)
    share = [
        float(hit.float().mean()) for hit in (masked[scored] == words.mask_token_id, masked[scored] == ids[scored])
    ]
    assert share == [pytest.approx(0.8, abs=0.03), pytest.approx(0.1, abs=0.03)]
    again, _ = mask_tokens(ids, words, 0.15, torch.Generator().manual_seed(0))
    other, _ = mask_tokens(ids, words, 0.15, torch.Generator().manual_seed(1))
    assert torch.equal(masked, again)
    assert not torch.equal(masked, other)


def test_a_batchs_mask_depends_on_the_batch_alone():
    words = tokenizer("bert")
    rows = [{"input_ids": torch.randint(5, len(words), (30,))} for _ in range(4)]
    torch.manual_seed(1)
    first, state = packed_batch(rows, words, 0.15), torch.random.get_rng_state()
    torch.manual_seed(2)
    assert all(torch.equal(first[name], tensor) for name, tensor in packed_batch(rows, words, 0.15).items())
    other = packed_batch([rows[1], rows[0], *rows[2:]], words, 0.15)
    assert not torch.equal(other["labels"][[1, 0, 2, 3]], first["labels"])
    plain = packed_batch(rows, words, 0.0)
    assert plain.keys() == {"input_ids", "attention_mask"}
    assert torch.equal(plain["input_ids"], torch.stack([row["input_ids"] for row in rows]))
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


def test_probes_are_the_same_for_the_same_seed(tmp_path):
    words, one = tokenizer("bert"), corpus(tmp_path)
    first, again, other = (probe_batches(words, [one], 64 * 20, length=64, seed=seed) for seed in (0, 0, 1))
    assert sum(len(part["input_ids"]) for part in first) == 20
    assert all(torch.equal(a[key], b[key]) for a, b in zip(first, again, strict=True) for key in a)
    assert not torch.equal(first[0]["input_ids"], other[0]["input_ids"])
    assert len(probe_batches(words, [one], 1, length=64)[0]["input_ids"]) == 1


@every_family
@pytest.mark.parametrize("length", [128, 9])
def test_a_words_label_is_on_its_first_token(family, length):
    words, task = tokenizer(family), TASKS["pos"]
    labels = ("A", "B", "C")
    examples = [
        Example(tuple(text.split()), tuple(labels[i % 3] for i, _ in enumerate(text.split()))) for text in SENTENCES
    ]
    rows = task_dataset(words, examples, labels, task, length)
    for row, example in zip(rows, examples, strict=True):
        encoded = words(" ".join(example.words), truncation=True, max_length=length)
        assert row["input_ids"] == encoded["input_ids"]
        assert row["length"] == len(row["input_ids"]) <= length
        assert row["labels"] == by_hand(words, example, labels, row["input_ids"])


def by_hand(words, example, labels, ids):
    """Walk the tokens and take their letters (bytes for BPE) off the words: a word's first is labelled."""
    byte_level = any("Ġ" in token for token in words.get_vocab())
    rest = [
        (len(word.encode() if byte_level else word), label)
        for word, label in zip(example.words, example.labels, strict=True)
    ]
    aligned, left = [], 0
    for token in words.convert_ids_to_tokens(ids):
        letters = 0 if token in words.all_special_tokens else len(token.removeprefix("##").lstrip("▁Ġ"))
        aligned.append(IGNORED)
        if letters and not left:
            left, label = rest.pop(0)
            aligned[-1] = labels.index(label)
        left -= letters
    return aligned


def test_a_text_has_one_label():
    words = tokenizer("xlm-roberta")
    examples = [Example((text,), (label,)) for text, label in ((SLOVAK[0], "sk"), (SWAHILI[0], "sw"))]
    rows = task_dataset(words, examples, ("sk", "sw"), TASKS["topic"], 128)
    assert rows["labels"] == [0, 1]
    assert rows["input_ids"] == [words(example.words[0])["input_ids"] for example in examples]


def test_batches_are_padded_to_their_longest():
    rows = [{"input_ids": [1, 2, 3], "labels": [0, IGNORED, 1]}, {"input_ids": [4], "labels": [2]}]
    made = task_batch(rows, pad_id=9)
    assert made["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert made["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert made["labels"].tolist() == [[0, IGNORED, 1], [2, IGNORED, IGNORED]]
    assert task_batch([{**row, "labels": 1} for row in rows], 0)["labels"].tolist() == [1, 1]


@pytest.mark.parametrize("lengths", [None, [(7 * i) % 30 + 1 for i in range(50)]])
def test_an_epochs_order_depends_on_seed_and_epoch_alone(lengths):
    def order(seed, epoch):
        sampler = EpochSampler(50, 4, seed, lengths)
        sampler.set_epoch(epoch)
        torch.manual_seed(seed * 7 + epoch)
        return list(sampler)

    first = order(0, 0)
    assert sorted(first) == list(range(50))
    assert len(EpochSampler(50, 4, 0, lengths)) == 50
    assert first == order(0, 0)
    assert len({json.dumps(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_texts_of_similar_length_meet():
    lengths = [(7 * i) % 30 + 1 for i in range(400)]
    order = list(EpochSampler(400, 8, 0, lengths))
    spread = [max(part) - min(part) for at in range(0, 400, 8) for part in [[lengths[i] for i in order[at : at + 8]]]]
    assert sum(spread) / len(spread) < 10


def test_rows_are_drawn_evenly_and_the_same_for_a_seed():
    rows = Dataset.from_dict({"x": list(range(1000))})
    some = drawn(rows, 100, 0)["x"]
    assert len(set(some)) == 100
    assert 350 < sum(some) / 100 < 650
    assert some == drawn(rows, 100, 0)["x"] != drawn(rows, 100, 1)["x"]
    for count in (0, 1000, 2000):
        assert drawn(rows, count, 0)["x"] == list(range(1000))
