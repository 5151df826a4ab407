"""Heads that start from a linear probe."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_surgery import every_family
from tiny_models import LABELS, bundle, same_weights
from tiny_tokenizers import SENTENCES

from edgecompress.encoder.heads import attach, encoder_of, head_linears
from edgecompress.encoder.importance import IGNORED
from edgecompress.encoder.surgery import copy_of
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.training.data import task_batch, task_dataset
from edgecompress.training.probe import fit_head, logistic_regression

KINDS = ("text", "token")


def test_the_regression_is_the_one_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (240,), generator=generator)
    inputs = torch.randn(240, 5, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0]) + labels[:, None]
    weight, bias = logistic_regression(inputs, labels, 3, penalty=0.02)
    standard = ((inputs - inputs.mean(0)) / inputs.std(0, correction=0)).double().numpy()
    theirs = LogisticRegression(C=1 / (0.02 * len(labels)), tol=1e-8, max_iter=1000).fit(standard, labels.numpy())
    mine = torch.softmax(inputs @ weight.T + bias, -1).numpy()
    assert mine == pytest.approx(theirs.predict_proba(standard), abs=2e-3)


@every_family
@pytest.mark.parametrize("kind", KINDS)
def test_a_probed_head_says_more_than_a_random_one_and_leaves_the_encoder_alone(family, kind):
    data, collate, made = _task(family, kind)
    probed, again = copy_of(made), copy_of(made)
    fit_head(probed, data, collate)
    fit_head(again, data, collate)
    assert same_weights(probed, again)
    assert same_weights(*(_without_pooler(model) for model in (probed, made)))
    assert _loss(probed, data, collate) < 0.97 * _loss(made, data, collate)  # what the penalty allows on tiny data
    assert not probed.training


@every_family
@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_in_bf16_is_nearly_the_one_in_fp32(family, kind):
    data, collate, made = _task(family, kind)
    losses = []
    for bf16 in (False, True):
        probed = copy_of(made)
        fit_head(probed, data, collate, bf16=bf16)
        losses.append(_loss(probed, data, collate))
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


@every_family
@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_of_a_head_are_found(family, kind):
    _, _, made = _task(family, kind)
    square, output = head_linears(made)
    assert output.out_features == len(LABELS)
    assert (square is None) == (kind == "token" and family != "modernbert")  # its token head has one


def test_few_tokens_are_read_where_few_are_asked_for():
    data, collate, made = _task("bert", "text")
    seen = []
    made.register_forward_pre_hook(lambda _m, _a, inputs: seen.append(inputs["attention_mask"].sum()), with_kwargs=True)
    fit_head(made, data, collate, tokens=30)
    assert 0 < sum(seen) <= 2 * 30  # once to measure the spread, once to fit


def _task(family, kind):
    made = bundle(family, "none")
    row = TASKS["topic" if kind == "text" else "pos"]
    examples = [
        Example((text,), (LABELS[len(text) % 3],)) if kind == "text" else _tagged(text.split()) for text in SENTENCES
    ]
    data = task_dataset(made.tokenizer, examples, LABELS, row, 32)
    model = attach(made.model, kind, LABELS)
    return data, partial(task_batch, pad_id=made.tokenizer.pad_token_id), model


def _tagged(words):
    return Example(tuple(words), tuple(LABELS[len(word) % 3] for word in words))


def _without_pooler(model):
    alone = copy_of(encoder_of(model))
    if getattr(alone, "pooler", None) is not None:
        alone.pooler = None
    return alone


@torch.no_grad()
def _loss(model, data, collate):
    batch = collate([data[i] for i in range(len(data))])
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    real = batch["labels"] != IGNORED
    return float(torch.nn.functional.cross_entropy(logits[real], batch["labels"][real]))
