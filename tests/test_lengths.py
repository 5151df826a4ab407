"""The benchmark of how far a student is from its teacher, by length of the text."""

from __future__ import annotations

import importlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, bundle

from edgecompress.encoder import surgery

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LINES = [" ".join(SENTENCES[at % len(SENTENCES)].split()[: 2 + at % 3]) for at in range(400)]


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("lengths")
    for name, value in {"LENGTHS": (16, 32), "FITTED": 16, "ENOUGH": 1600}.items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_only_texts_that_reach_what_differs_have_an_error(lengths, scale):
    """Other vectors of late positions: short texts never see them; a linear map of the states is no difference."""
    teacher = bundle("bert")
    student = replace(teacher, model=surgery.copy_of(teacher.model))
    encoder = student.model.base_model
    with torch.no_grad():
        encoder.embeddings.position_embeddings.weight[16:].normal_()
        last = encoder.encoder.layer[-1].output.LayerNorm
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    texts = lengths.texts_by_length(teacher, LINES)
    assert lengths.distillations(student) == []
    errors = lengths.errors_by_length(*(lengths.states_by_length(one, texts) for one in (student, teacher)))
    assert errors["16"] < 0.01
    assert errors["32"] > 0.1


def test_passages_hold_every_line_once_and_no_more_tokens_than_asked_for(lengths):
    teacher = bundle("bert")
    found = lengths.passages(teacher, LINES, 24)
    assert max(map(len, found)) <= 24
    inside = teacher.tokenizer.decode([i for ids in found for i in ids], skip_special_tokens=True)
    assert inside == teacher.tokenizer.decode(teacher.tokenizer(" ".join(LINES), add_special_tokens=False)["input_ids"])
    assert all(len(one) + len(two) - 2 > 24 - 12 for one, two in pairwise(found))
