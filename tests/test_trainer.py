"""Training is repeatable, and a stopped run goes on as if it had not been stopped: the weights are the same bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from datasets import Dataset
from tiny_models import FAMILIES, QUICK, bundle, corpus, model, same_weights, task_files

from edgecompress.errors import CheckError, InputError
from edgecompress.options import Objective, Training
from edgecompress.progress import listening
from edgecompress.stages.adapt import adapt
from edgecompress.stages.distill import distill
from edgecompress.stages.finetune import finetune
from edgecompress.training import computing, trainer
from edgecompress.training.data import task_batch
from edgecompress.training.trainer import Data, checkpoints_in, fit

OBJECTIVE = Objective(mlm=0.5, logits=0.5, relation_heads=4)
DROPOUTS = {"attention_dropout": 0.5, "attention_probs_dropout_prob": 0.5, "hidden_dropout_prob": 0.5}


class Stopped(Exception):  # noqa: N818 - it stands for a power cut, not for an error
    pass


def stop_at(task, step, event):
    if event.task.startswith(task) and event.done == step:
        raise Stopped


def in_pieces(work, run, task, steps):
    """Run until it is stopped at each of ``steps``, then to the end, with a checkpoint after every step."""
    with checkpoints_in(work):
        for step in steps:
            with pytest.raises(Stopped), listening(partial(stop_at, task, step)):
                run()
            assert list(work.glob("checkpoint-*")), step
        return run()


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_step(monkeypatch):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")


@pytest.mark.parametrize(("epochs", "dies"), [(3, 1), (3, 2), (3, 3), (1, 1), (1.5, 2)])
def test_training_goes_on_after_dying_while_an_epoch_is_scored(tmp_path, monkeypatch, epochs, dies):
    task, evaluate, calls = task_files(tmp_path, "topic"), trainer._Trainer.evaluate, []
    run = partial(finetune, bundle("bert"), task=task, training=replace(QUICK, steps=0, epochs=epochs))

    def die(self, *given, **named):
        calls.append(1)
        if len(calls) == dies:
            raise Stopped
        return evaluate(self, *given, **named)

    whole = run()
    monkeypatch.setattr(trainer._Trainer, "evaluate", die)
    with checkpoints_in(tmp_path / "work"):
        with pytest.raises(Stopped):
            run()
        pieces = run()
    assert same_weights(whole.model, pieces.model)
    assert whole.history[-1].details["scores"] == pieces.history[-1].details["scores"]


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_distillation_is_repeatable_and_goes_on_where_it_stopped(tmp_path, family):
    made, text = bundle(family), corpus(tmp_path)
    training = replace(QUICK, steps=7)
    run = partial(distill, made, corpora=(text,), layers=2, objective=OBJECTIVE, training=training)
    whole = run()
    assert same_weights(whole.model, run().model)
    other = distill(made, corpora=(text,), layers=2, objective=OBJECTIVE, training=replace(training, seed=1))
    assert not same_weights(whole.model, other.model)
    pieces = in_pieces(tmp_path / "work", run, "distill", (3, 5))
    assert same_weights(whole.model, pieces.model)
    assert whole.history[-1].details["steps"] == pieces.history[-1].details["steps"] == 7


def test_training_goes_on_within_a_later_epoch(tmp_path):
    made, text = bundle("xlm-roberta"), corpus(tmp_path, repeat=1)
    run = partial(adapt, made, corpora=(text,), training=replace(QUICK, steps=0, epochs=2.0))
    whole = run()
    steps = whole.history[-1].details["steps"]
    pieces = in_pieces(tmp_path / "work", run, "adapt", (2, steps // 2 + 1, steps - 1))
    assert same_weights(whole.model, pieces.model)


@pytest.mark.parametrize("kind", ["topic", "ner"])
def test_fine_tuning_goes_on_and_keeps_the_best_epoch(tmp_path, kind):
    made, files = bundle("bert", "none"), task_files(tmp_path, kind, 16)
    training = Training(epochs=3, batch_size=4, learning_rate=2e-3, precision="fp32")
    run = partial(finetune, made, task=files, training=training)
    whole = run()
    pieces = in_pieces(tmp_path / "work", run, "finetune", (2, 9))
    assert same_weights(whole.model, pieces.model)
    assert whole.history[-1].details == pieces.history[-1].details


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path, monkeypatch):
    """The first epoch scores best here, so the result is that of one epoch's steps at the same schedule."""
    made, files = bundle("bert", "none"), task_files(tmp_path, "topic", 16)
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "1000")
    scores = iter([90.0, 10.0, 20.0])
    seen = []

    def score(*_):
        seen.append(1)
        return {"macro_f1": next(scores)}

    weights = []
    original = trainer._Trainer._save

    def save(self, *given, **named):
        weights.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        original(self, *given, **named)

    monkeypatch.setattr("edgecompress.tasks.scores.score", score)
    monkeypatch.setattr(trainer._Trainer, "_save", save)
    training = Training(epochs=3, batch_size=4, learning_rate=2e-3, precision="fp32")
    done = finetune(made, task=files, training=training)
    assert len(seen) == len(weights) == 3
    assert done.history[-1].details["best"] == 90.0
    state = done.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in weights[0].items())
    assert not all(torch.equal(state[name], tensor) for name, tensor in weights[2].items())


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_half_written_checkpoint_is_ignored(tmp_path, damage):
    made, text = bundle("bert"), corpus(tmp_path)
    run = partial(distill, made, corpora=(text,), objective=OBJECTIVE, training=replace(QUICK, steps=5))
    whole, work = run(), tmp_path / "work"
    with checkpoints_in(work), pytest.raises(Stopped), listening(partial(stop_at, "distill", 4)):
        run()
    (last,) = work.glob("checkpoint-*")
    later = work / "checkpoint-4"  # as if the power had gone while the next one was written
    shutil.copytree(last, later, dirs_exist_ok=True)
    state = later / "trainer_state.json"
    content = state.read_text()
    state.unlink() if damage == "missing" else state.write_text(content[: 40 if damage == "cut" else 0])
    (later / "module.safetensors").write_bytes(b"")
    assert trainer._last_checkpoint(work) == str(last)
    with checkpoints_in(work):
        assert same_weights(whole.model, run().model)


def test_nothing_is_trained_without_steps(tmp_path):
    made, text = bundle("bert"), corpus(tmp_path)
    done = distill(made, corpora=(text,), objective=OBJECTIVE, training=Training())
    assert same_weights(done.model, made.model)
    assert done.history[-1].details == {"steps": 0}


def test_progress_counts_every_step(tmp_path, capfd):
    made, text, events = bundle("bert"), corpus(tmp_path), []
    with listening(events.append):
        adapt(made, corpora=(text,), training=QUICK)
    steps = [(event.done, event.total) for event in events if event.task == "adapt"]
    assert steps == [(n, 4) for n in range(1, 5)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_no_dropout_is_left_where_none_is_asked_for(family):
    made = bundle(family)
    again = type(made.model)(type(made.model.config).from_dict({**made.model.config.to_dict(), **DROPOUTS}))
    again.load_state_dict(made.model.state_dict())
    ids = torch.arange(5, 17).repeat(2, 1)
    one, other = (again.train()(input_ids=ids)[0] for _ in range(2))
    assert not torch.equal(one, other)
    computing.set_dropout(again, 0.0)
    one, other = (again.train()(input_ids=ids)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_bf16_needs_the_hardware(tmp_path, monkeypatch):
    monkeypatch.setattr(computing, "bf16_supported", lambda: False)
    made, text = bundle("bert"), corpus(tmp_path)
    with pytest.raises(InputError, match="no bfloat16 instructions: use 'auto' or 'fp32'"):
        adapt(made, corpora=(text,), training=replace(QUICK, precision="bf16"))
    assert adapt(made, corpora=(text,), training=replace(QUICK, precision="auto", steps=1)).history


@pytest.mark.parametrize(
    ("options", "attention"),
    [
        ({"precision": "bf16"}, "eager"),
        ({"precision": "bf16", "max_length": 129}, "sdpa"),
        ({"precision": "fp32"}, "sdpa"),
    ],
)
def test_attention_is_plain_while_short_texts_train_in_bf16_on_a_cpu(monkeypatch, options, attention):
    monkeypatch.setattr(computing, "bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made, seen = model("bert", "text"), []
    inner = made.base_model.encoder.layer[0].attention.self
    if not hasattr(inner, "config"):
        pytest.skip("transformers 4 chooses this attention when the model is built")
    inner.register_forward_hook(lambda one, _inputs, _output: seen.append(one.config._attn_implementation))
    rows = Dataset.from_list([{"input_ids": [2, 5, 6, 3], "labels": 0, "length": 4}] * 4)
    fit(made, Data(rows, partial(task_batch, pad_id=0)), replace(QUICK, steps=1, **options), label="x")
    assert seen == [attention]
    assert made.config._attn_implementation == "sdpa"


def test_a_checkpoint_of_another_module_is_refused(tmp_path):
    """Strict loading: transformers would only warn, and train random weights."""
    made, text, work = bundle("bert"), corpus(tmp_path), tmp_path / "work"
    with checkpoints_in(work), pytest.raises(Stopped), listening(partial(stop_at, "adapt", 3)):
        adapt(made, corpora=(text,), training=QUICK)
    assert json.loads(next(work.glob("*/trainer_state.json")).read_text())["global_step"] == 2
    data = trainer.Data(_one_row(), lambda rows: {"x": torch.ones(len(rows))})
    with checkpoints_in(work), pytest.raises(RuntimeError, match=r"(?i)missing|unexpected"):
        fit(_Other(), data, QUICK, label="other")


class _Other(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return {"loss": (self.weight * x).sum()}


def _one_row():
    from datasets import Dataset

    return Dataset.from_dict({"x": [1.0] * 32})


class _Diverging(_Other):
    def forward(self, x):
        self.steps = getattr(self, "steps", 0) + 1
        loss = (self.weight * x).sum()
        return {"loss": loss * float("nan") if self.steps == 3 else loss}


@pytest.mark.parametrize("steps", [5, 25])
def test_weights_that_are_no_numbers_are_no_result(steps):
    """The log of transformers leaves such losses out; the stage would save what it has as a success."""
    data = trainer.Data(_one_row(), lambda rows: {"x": torch.ones(len(rows))})
    with pytest.raises(CheckError, match=r"x: the weights are no numbers any more at step .*lower its learning_rate"):
        fit(_Diverging(), data, replace(QUICK, steps=steps), label="x")
