"""The stages that train: adapt, distill, finetune."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_surgery import every_family
from tiny_models import (
    QUICK,
    bundle,
    corpus,
    outputs,
    same_weights,
    task_files,
)

from edgecompress.encoder.arch import shape
from edgecompress.encoder.heads import encoder_of, has_mlm_head
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import CorpusError, RecipeError, TaskDataError
from edgecompress.options import Objective, TaskFiles, Training
from edgecompress.stages.adapt import adapt
from edgecompress.stages.distill import distill
from edgecompress.stages.finetune import finetune, longest_input
from edgecompress.stages.trim import trim
from edgecompress.stages.truncate import truncate

OBJECTIVE = Objective(relation_heads=4)


@every_family
@pytest.mark.parametrize("head", ["none", "mlm", "token"])
def test_adapting_gives_a_masked_lm(tmp_path, family, head):
    made, text = bundle(family, head), corpus(tmp_path)
    before = copy_of(made.model)
    done = adapt(made, corpora=(text,), training=QUICK)
    assert has_mlm_head(done.model)
    assert not done.model.training
    assert done.history[-1].details["new_head"] is (head != "mlm")
    assert done.history[-1].details["steps"] == 4
    assert done.model.get_output_embeddings().weight is done.model.get_input_embeddings().weight
    assert same_weights(before, made.model)
    assert not torch.equal(done.model.get_input_embeddings().weight, made.model.get_input_embeddings().weight)


def test_adapting_with_a_frozen_encoder_trains_the_head_alone(tmp_path):
    made, text = bundle("bert"), corpus(tmp_path)
    heads = [
        adapt(made, corpora=(text,), encoder="frozen", training=replace(QUICK, steps=steps)).model for steps in (0, 4)
    ]
    assert all(same_weights(encoder_of(made.model), encoder_of(model)) for model in heads)
    moved = [name for (name, a), (_, b) in zip(*(m.named_parameters() for m in heads), strict=True) if not a.equal(b)]
    assert moved
    assert all(name.startswith("cls.") for name in moved)
    assert all(parameter.requires_grad for parameter in heads[1].parameters())


@every_family
def test_distilling_into_fewer_layers(tmp_path, family):
    made, text = bundle(family), corpus(tmp_path)
    before = copy_of(made.model)
    done = distill(made, corpora=(text,), layers=2, objective=replace(OBJECTIVE, mlm=0.5), training=QUICK)
    assert shape(done.model.config)["layers"] == 2
    assert same_weights(before, made.model)
    assert all(parameter.requires_grad for parameter in made.model.parameters())
    assert all(parameter.grad is None for parameter in made.model.parameters())
    step = done.history[-1]
    assert step.options["training"]["steps"] == step.details["steps"] == 4
    assert step.options["corpora"] == [{"name": "slk", "files": ["slk.txt"], "weight": 1.0}]
    assert str(tmp_path) not in str(step)


def test_a_student_learns_from_a_teacher_in_a_folder(tmp_path):
    from edgecompress.encoder.bundle import save

    teacher, text = bundle("bert"), corpus(tmp_path)
    save(teacher, tmp_path / "teacher")
    student = truncate(teacher, hidden=16, corpora=(text,), tokens=512)
    options = {"corpora": (text,), "objective": OBJECTIVE}
    longer = [
        distill(student, teacher=str(tmp_path / "teacher"), training=replace(QUICK, steps=n), **options)
        for n in (0, 40)
    ]
    assert longer[1].history[-1].options["teacher"] == "teacher"
    assert shape(longer[1].model.config)["hidden"] == 16
    assert not same_weights(longer[0].model, longer[1].model)


def test_distilling_refuses_what_cannot_be(tmp_path):
    from edgecompress.encoder.bundle import save

    made, text = bundle("bert", "none"), corpus(tmp_path, repeat=1)
    save(made, tmp_path / "teacher")
    with pytest.raises(RecipeError, match="need a masked-LM head: run `adapt` first"):
        distill(made, corpora=(text,), objective=replace(OBJECTIVE, mlm=1.0))
    with pytest.raises(RecipeError, match="relation_heads 7 does not divide the hidden size 24"):
        distill(made, corpora=(text,), objective=replace(OBJECTIVE, relation_heads=7))
    with pytest.raises(RecipeError, match="different vocabularies"):
        distill(trim(made, corpora=(text,)), corpora=(text,), teacher=str(tmp_path / "teacher"), objective=OBJECTIVE)
    with pytest.raises(RecipeError, match="layers 9: the model has 3"):
        distill(made, corpora=(text,), layers=9, objective=OBJECTIVE)
    for lengths, message in {
        (5, 64): "lengths: 5 does not divide max_length 64: choose divisors of it from 3 on",
        (2,): "lengths: 2 does not divide",
        (64, 64): "lengths 64, 64: each stands once",
    }.items():
        with pytest.raises(RecipeError, match=message):
            distill(
                made,
                corpora=(text,),
                objective=replace(OBJECTIVE, lengths=lengths),
                training=replace(QUICK, max_length=64),
            )


@pytest.mark.parametrize("kind", ["topic", "pos"])
@every_family
def test_fine_tuning_learns_a_separable_task(tmp_path, family, kind):
    made, files = bundle(family, "none", layers=1), task_files(tmp_path, kind, 60)
    training = Training(epochs=8, batch_size=6, learning_rate=2e-3, max_length=64, dropout=0.0, precision="fp32")
    before = copy_of(made.model)
    done = finetune(made, task=files, training=training)
    step = done.history[-1]
    assert step.details["best"] > 95
    assert [at for at, _ in step.details["scores"]] == [10 * epoch for epoch in range(1, 9)]
    assert max(score for _, score in step.details["scores"]) == round(step.details["best"], 2)
    assert step.details["labels"] == (["sk", "sw"] if kind == "topic" else ["A", "B"])
    assert done.model.config.id2label == dict(enumerate(step.details["labels"]))
    assert step.options["task"]["train"] == [f"{kind}-train.jsonl"]
    assert same_weights(before, made.model)


def test_fine_tuning_refuses_unfitting_data(tmp_path):
    made = bundle("bert", "none")
    with pytest.raises(RecipeError, match="task 'parsing': choose one of topic"):
        finetune(made, task=TaskFiles("parsing"))
    files = task_files(tmp_path)
    one = tmp_path / "one.jsonl"
    one.write_text('{"text": "x", "label": "sk"}\n')
    with pytest.raises(TaskDataError, match="only the label 'sk' occurs"):
        finetune(made, task=replace(files, train=(one,)))
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "x", "label": "new"}\n')
    with pytest.raises(TaskDataError, match="validation has labels that training lacks: 'new'"):
        finetune(made, task=replace(files, validation=(other,)))


@every_family
def test_the_longest_input_is_one_that_runs(family):
    made = bundle(family, "none")
    longest = longest_input(made)
    assert longest == made.tokenizer.model_max_length == 128
    ids = torch.full((1, longest), 7)
    assert outputs(made.model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).isfinite().all()
    if family in ("deberta-v2", "modernbert"):
        return  # their positions are relative: longer inputs run, but were not trained
    with pytest.raises((IndexError, RuntimeError)):
        outputs(
            made.model, {"input_ids": torch.full((1, longest + 1), 7), "attention_mask": torch.ones(1, longest + 1)}
        )


@pytest.mark.parametrize("length", [2, 129])
@pytest.mark.parametrize("stage", [adapt, distill])
def test_lengths_that_the_model_cannot_take_are_told(tmp_path, stage, length):
    made, text = bundle("bert"), corpus(tmp_path)
    given = {"objective": OBJECTIVE} if stage is distill else {}
    with pytest.raises((RecipeError, CorpusError), match=f"max_length {length}"):
        stage(made, corpora=(text,), training=replace(QUICK, max_length=length), **given)
