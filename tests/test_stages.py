"""The stages that cut: what comes out, what is written down, and that the input stays as it was."""

from __future__ import annotations

import pytest
import torch
from test_surgery import WIDTH, attention_out, every_family, ffn_of, kill_heads, layers_of
from tiny_models import (
    FFN,
    SLOVAK,
    SWAHILI,
    batch,
    bundle,
    corpus,
    outputs,
    same_weights,
)

from edgecompress.encoder.arch import ARCHITECTURES, shape
from edgecompress.encoder.importance import hidden_statistics
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import ArchitectureError, RecipeError, VocabularyError
from edgecompress.options import Objective
from edgecompress.stages.distill import choose_layers
from edgecompress.stages.finetune import longest_input
from edgecompress.stages.prune import head_places, prune, top
from edgecompress.stages.trim import trim
from edgecompress.stages.truncate import truncate
from edgecompress.training.data import probe_batches

OBJECTIVE = Objective(relation_heads=4)


@pytest.mark.parametrize(
    ("of", "count", "how", "expected"),
    [
        (12, 6, "stride", [1, 3, 5, 7, 9, 11]),
        (12, 4, "stride", [2, 5, 8, 11]),
        (12, 5, "stride", [1, 4, 6, 9, 11]),
        (12, 1, "stride", [11]),
        (3, 3, "stride", [0, 1, 2]),
        (12, 6, "stride-first", [0, 2, 4, 6, 8, 10]),
        (12, 5, "stride-first", [0, 2, 4, 7, 9]),
        (12, 1, "stride-first", [0]),
        (12, 3, "first-k", [0, 1, 2]),
        (12, 3, "last-k", [9, 10, 11]),
        (12, 4, "first-last", [0, 1, 10, 11]),
        (12, 5, "first-last", [0, 1, 2, 10, 11]),
        (12, 1, "first-last", [0]),
        (4, 4, "first-last", [0, 1, 2, 3]),
    ],
)
def test_which_layers_a_student_starts_from(of, count, how, expected):
    assert choose_layers(of, count, how) == expected


@pytest.mark.parametrize("how", ["stride", "stride-first", "first-k", "last-k", "first-last"])
def test_layers_are_chosen_once_and_in_order(how):
    for of in range(1, 25):
        for count in range(1, of + 1):
            chosen = choose_layers(of, count, how)
            assert chosen == sorted(set(chosen))
            assert len(chosen) == count
            assert 0 <= chosen[0] <= chosen[-1] < of
    for count in (0, 13):
        with pytest.raises(RecipeError, match="the model has 12, choose between 1 and 12"):
            choose_layers(12, count, how)


def test_pruning_chooses_the_highest_and_keeps_their_order():
    scores = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 5.0, 9.0]])
    assert top(scores, 2).tolist() == [[0, 2], [1, 3]]
    places = head_places(torch.tensor([[0, 2]]), 2, 3)
    assert places.tolist() == [[0, 1, -1, 4, 5, -1]]


@every_family
def test_trimming_keeps_ids_and_logits_of_what_is_kept(tmp_path, family):
    made, text = bundle(family), corpus(tmp_path, repeat=1)
    first, again = (trim(made, corpora=(text,)) for _ in range(2))
    assert first.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    assert same_weights(first.model, again.model)
    vocab, old = first.tokenizer.get_vocab(), made.tokenizer.get_vocab()
    assert sorted(vocab.values()) == list(range(len(vocab)))
    assert len(vocab) < len(old)
    assert first.model.config.vocab_size == len(vocab)
    assert first.model.config.pad_token_id == first.tokenizer.pad_token_id
    new_to_old = torch.tensor([old[token] for token, _ in sorted(vocab.items(), key=lambda item: item[1])])
    assert (new_to_old.diff() > 0).all()
    inputs = made.tokenizer(list(SLOVAK[:6]), padding=True, return_tensors="pt")
    mapped = first.tokenizer(list(SLOVAK[:6]), padding=True, return_tensors="pt")
    assert torch.equal(new_to_old[mapped["input_ids"]], inputs["input_ids"])
    wanted, given = (
        outputs(one.model, {k: part[k] for k in ("input_ids", "attention_mask")})
        for one, part in ((made, inputs), (first, mapped))
    )
    torch.testing.assert_close(wanted[:, new_to_old], given, rtol=1e-5, atol=1e-5)
    step = first.history[-1]
    assert (step.stage, step.details["kept"], step.parameters) == ("trim", len(vocab), first.parameters)


@every_family
def test_trimming_to_a_size(tmp_path, family):
    made, text = bundle(family), corpus(tmp_path, repeat=1)
    everything = len(trim(made, corpora=(text,)).tokenizer)
    smaller = trim(made, corpora=(text,), size=everything - 15)
    assert len(smaller.tokenizer) == smaller.model.config.vocab_size == everything - 15
    with pytest.raises(VocabularyError, match="size 5 is below"):
        trim(made, corpora=(text,), size=5)
    with pytest.raises(VocabularyError, match="size 9999 is above"):
        trim(made, corpora=(text,), size=9999)


@every_family
@pytest.mark.parametrize("head", ["none", "mlm"])
def test_pruning_takes_the_dead_first(tmp_path, family, head):
    made, text = bundle(family, head), corpus(tmp_path)
    with torch.no_grad():
        for layer in layers_of(made.model):
            ffn_of(layer)[1].weight[:, [3, 17, 30]] = 0
    kill_heads(made.model, [(0, 1), (2, 3), (0, 3)])
    before = copy_of(made.model)
    heads = None if ARCHITECTURES[family].rotary else 2
    done = prune(made, corpora=(text,), ffn=FFN - 3, heads=heads, tokens=512)
    assert (shape(done.model.config)["ffn"], shape(done.model.config)["heads"]) == (
        FFN - 3,
        heads or shape(made.model.config)["heads"],
    )
    inputs = batch(family)
    torch.testing.assert_close(outputs(done.model, inputs), outputs(made.model, inputs), rtol=1e-5, atol=1e-5)
    assert same_weights(before, made.model)
    assert done.history[-1].details == {"importance_kept": 1.0}
    if heads is None:
        return
    alone = prune(made, corpora=(text,), heads=2, tokens=512)
    assert alone.history[-1].details == {}
    assert shape(alone.model.config)["ffn"] == FFN


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, RecipeError, "give ffn"),
        ({"ffn": 41}, ArchitectureError, "the model has 40 a layer, choose between 1 and 40"),
        ({"heads": 0}, ArchitectureError, "heads 0"),
        ({"heads": 5}, ArchitectureError, "heads 5: the model has 4"),
    ],
)
def test_pruning_refuses_impossible_sizes(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        prune(bundle("bert"), corpora=(corpus(tmp_path),), **options)


@every_family
@pytest.mark.parametrize("method", ["first-k", "activation", "svd"])
@pytest.mark.parametrize("attention", ["first-k", "head-aligned"])
def test_truncating(tmp_path, family, method, attention):
    made, text = bundle(family), corpus(tmp_path)
    before, reads = copy_of(made.model), (method, attention) != ("first-k", "first-k")
    first, again = (
        truncate(made, hidden=16, method=method, attention=attention, corpora=(text,) * reads, tokens=512)
        for _ in range(2)
    )
    assert same_weights(first.model, again.model)
    assert same_weights(before, made.model)
    assert shape(first.model.config) == {**shape(made.model.config), "hidden": 16}
    assert outputs(first.model, batch(family)).isfinite().all()
    assert first.history[-1].options["method"] == method


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("method", ["activation", "svd"])
def test_what_is_kept_of_the_hidden_size_varies_most(tmp_path, family, method):
    """The directions that were kept, read off the embeddings, hold the largest variances of the hidden states."""
    made, text = bundle(family), corpus(tmp_path)
    cut = truncate(made, hidden=16, method=method, corpora=(text,), tokens=512).model
    old, new = (one.get_input_embeddings().weight.double() for one in (made.model, cut))
    basis = torch.linalg.lstsq(old, new).solution
    assert torch.allclose(old @ basis, new, atol=1e-5)
    batches = probe_batches(made.tokenizer, (text,), 512, length=min(128, longest_input(made)))
    covariance = hidden_statistics(made.model, batches)[1].double()
    variances = covariance.diagonal() if method == "activation" else torch.linalg.eigvalsh(covariance)
    assert (basis.T @ covariance @ basis).trace().item() == pytest.approx(variances.topk(16).values.sum().item(), 1e-4)


def test_first_k_is_plain_slicing():
    made = bundle("bert")
    done = truncate(made, hidden=12, method="first-k", attention="first-k").model
    old, new = made.model.state_dict(), done.state_dict()
    for name, tensor in new.items():
        assert torch.equal(tensor, old[name][tuple(slice(length) for length in tensor.shape)]), name


@every_family
def test_head_aligned_truncation_keeps_whole_heads_apart(tmp_path, family):
    """With the other heads dead and half of the width, the two living heads are the ones that stay."""
    made, text = bundle(family, "none"), corpus(tmp_path)
    kill_heads(made.model, [(0, 1), (0, 3), (2, 3)])
    done = truncate(made, hidden=12, heads=2, method="first-k", corpora=(text,), tokens=512)
    for number, living in enumerate(((2, 3), (1, 2), (0, 1))):
        old = attention_out(layers_of(made.model)[number]).weight[:12]
        new = attention_out(layers_of(done.model)[number]).weight
        kept = [place for head in living for place in range(head * WIDTH, (head + 1) * WIDTH)]
        assert torch.equal(new, old[:, kept])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden": 16}, RecipeError, "reads text: give corpora"),
        ({"hidden": 12, "heads": 0}, ArchitectureError, "heads 0: the model has 4, choose between 1 and 4"),
        ({"hidden": 14}, ArchitectureError, "not divisible by 4 heads: use 12 or 16"),
        ({"hidden": 28}, ArchitectureError, "hidden 28: the model has 24"),
        ({"hidden": 0}, ArchitectureError, "hidden cannot be 0"),
        ({"hidden": 12, "heads": 6}, ArchitectureError, "heads 6"),
        ({"hidden": 24, "heads": 2}, ArchitectureError, "wider than the 6 there are"),
    ],
)
def test_truncating_refuses_impossible_sizes(tmp_path, options, error, message):
    given = {} if error is RecipeError else {"corpora": (corpus(tmp_path),)}
    with pytest.raises(error, match=message):
        truncate(bundle("bert"), **options, **given)


def test_probing_fits_a_model_of_few_positions(tmp_path):
    made, text = bundle("bert", max_position_embeddings=32), corpus(tmp_path, lines=SWAHILI)
    assert prune(made, corpora=(text,), ffn=8, tokens=256).parameters < made.parameters
