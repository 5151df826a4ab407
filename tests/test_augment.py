"""Copies of examples: what may be swapped for what, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import bundle

from edgecompress.encoder.importance import IGNORED
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.training.augment import copies, neighbours
from edgecompress.training.data import task_dataset

TOKENS = ["<s>", "▁pes", "▁mačka", "▁Peter", "▁Ján", "ovi", "ová", ",", "##a", "##b", "▁12"]


def test_neighbours_are_near_stand_in_the_same_place_and_are_never_special():
    vectors = torch.eye(len(TOKENS))
    vectors[2] += vectors[1]  # mačka is near pes …
    vectors[3] += vectors[1]  # … and so is Peter, but it is written with a capital
    spare = torch.ones(3, len(TOKENS))  # rows of the model that no token owns
    near = neighbours(torch.cat([vectors, spare]), TOKENS, torch.arange(len(TOKENS)), special=[0], count=1)
    assert near.shape == (len(TOKENS), 1)
    found = {TOKENS[i]: TOKENS[near[i, 0]] for i in range(len(TOKENS))}
    assert (found["▁pes"], found["▁mačka"]) == ("▁mačka", "▁pes")
    assert (found["▁Peter"], found["▁Ján"]) == ("▁Ján", "▁Peter")
    assert (found["ovi"], found["ová"], found["##a"], found["##b"]) == ("ová", "ovi", "##b", "##a")
    assert all(found[alone] == alone for alone in ("<s>", ",", "▁12"))


def test_the_nearest_come_first():
    angle = torch.tensor([0.0, 0.1, 0.3, 0.7])
    vectors = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    near = neighbours(vectors, ["▁a", "▁b", "▁c", "▁d"], torch.tensor([0]), count=15)
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
