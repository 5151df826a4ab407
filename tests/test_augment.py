"""Copies of examples: what may be swapped for what, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import bundle
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from edgecompress.encoder.importance import IGNORED
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.training.augment import copies, neighbours, places
from edgecompress.training.data import task_dataset

UNIGRAM = ["<s>", "▁pes", "▁mačka", "▁Peter", "▁Ján", "ovi", "ová", ",", "▁12", "▁7", "▁", "\u030c", "▁(", "."]


def _tokenizer(model: Any, special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), bos_token=special)


def _together(tokenizer: PreTrainedTokenizerFast) -> set[frozenset[str]]:
    """The tokens that may be swapped for each other, without those that have none."""
    tokens, found = tokenizer.convert_ids_to_tokens(range(len(tokenizer))), places(tokenizer).tolist()
    groups = {frozenset(t for t, p in zip(tokens, found, strict=True) if p == place) for place in found}
    return {group for group in groups if len(group) > 1}


def test_a_piece_has_a_place_by_where_it_stands_and_what_it_begins_with():
    tokenizer = _tokenizer(models.Unigram([(token, -1.0) for token in UNIGRAM], unk_id=0), "<s>")
    expected = [("▁pes", "▁mačka"), ("▁Peter", "▁Ján"), ("ovi", "ová"), (",", "."), ("▁12", "▁7")]
    assert _together(tokenizer) == set(map(frozenset, expected))


def test_wordpiece_shows_what_goes_on_in_a_word():
    tokens = ["[CLS]", "pes", "mačka", "Peter", "Ján", "##ovi", "##ová", ",", ".", "[UNK]"]
    model = models.WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]")
    tokenizer = _tokenizer(model, "[CLS]")
    tokenizer.unk_token = "[UNK]"
    expected = [("pes", "mačka"), ("Peter", "Ján"), ("##ovi", "##ová"), (",", ".")]
    assert _together(tokenizer) == set(map(frozenset, expected))


def test_a_byte_level_token_is_what_its_bytes_say():
    words = [" žena", " Žena", " mačka", " Čaj", "ťou", "ovi"]
    written = [ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)[0][0] for word in words]
    tokens = ["<s>", *written, "Å", "Ä", "eÅ", "aÄ"]  # the first two are the first bytes of letters; these end so
    tokenizer = _tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, []), "<s>")
    tokenizer.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    spelt = dict(zip(words, written, strict=True))
    expected = [(" žena", " mačka"), (" Žena", " Čaj"), ("ťou", "ovi")]
    assert _together(tokenizer) == {frozenset(spelt[word] for word in group) for group in expected}


def test_bytes_and_added_tokens_stand_alone():
    tokens = ["<s>", "<0xF0>", "<0x0A>", ",", ".", "一个", "人", "7", "8"]
    model = models.BPE({token: index for index, token in enumerate(tokens)}, [], byte_fallback=True)
    tokenizer = _tokenizer(model, "<s>")
    tokenizer.add_tokens(["(unused1)", "(unused2)"])
    assert _together(tokenizer) == set(map(frozenset, [(",", "."), ("一个", "人"), ("7", "8")]))


def test_neighbours_are_near_and_of_the_same_place():
    where = torch.tensor([1, 1, 2, 2, -5])
    vectors = torch.eye(5)
    vectors[1] += vectors[0]  # near is the first …
    vectors[2] += vectors[0]  # … and so is the third, which stands elsewhere
    spare = torch.ones(3, 5)  # rows of the model that no token owns
    near = neighbours(torch.cat([vectors, spare]), where, torch.arange(5), count=1)
    assert near.tolist() == [[1], [0], [3], [2], [4]]


def test_the_nearest_come_first():
    angle = torch.tensor([0.0, 0.1, 0.3, 0.7])
    vectors = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    near = neighbours(vectors, torch.ones(4), torch.tensor([0]), count=15)
    assert near.tolist() == [[1, 2, 3], [1, 1, 1], [2, 2, 2], [3, 3, 3]]  # only the first was wanted


@pytest.mark.parametrize("kind", ["topic", "pos"])
def test_a_copy_keeps_its_length_its_specials_and_its_marks_and_loses_its_labels(kind):
    made, task = bundle("bert", "none"), TASKS[kind]
    words = [("Ján", "ide", "domov"), ("Všetci", "ľudia")]
    examples = [
        Example(w if kind == "pos" else (" ".join(w),), ("A",) * (len(w) if kind == "pos" else 1)) for w in words
    ]
    data = task_dataset(made.tokenizer, examples, ("A", "B"), task, 32)
    vocabulary, special = len(made.tokenizer), made.tokenizer.all_special_ids
    near = torch.full((vocabulary, 2), vocabulary - 1)  # whatever is swapped becomes the last token
    for share, swapped in ((0.0, 0.0), (1.0, 1.0)):
        made_copies = copies(data, near, 3, share=share, keep=special, seed=0)
        assert len(made_copies) == 6
        for row, old in zip(made_copies, list(data) * 3, strict=True):
            assert (row["marked"], row["length"]) == (old["marked"], old["length"])
            ordinary = [a for a in old["input_ids"] if a not in special]
            expected = [a if a in special or not swapped else vocabulary - 1 for a in old["input_ids"]]
            assert row["input_ids"] == expected
            assert ordinary
            labels = [row["labels"]] if kind == "topic" else row["labels"]
            assert set(labels) == {IGNORED}
    half = copies(data, near, 50, share=0.5, keep=special, seed=0)
    ids = [i for row in half for i in row["input_ids"] if i not in special]
    assert 0.4 < sum(i == vocabulary - 1 for i in ids) / len(ids) < 0.6
    assert half[:]["input_ids"] == copies(data, near, 50, share=0.5, keep=special, seed=0)[:]["input_ids"]
    assert half[:]["input_ids"] != copies(data, near, 50, share=0.5, keep=special, seed=1)[:]["input_ids"]
