"""Learning from a fine-tuned teacher's predictions: which text is drawn, what is asked, and what the loss is."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_surgery import every_family
from test_trainer import in_pieces
from tiny_models import HIDDEN, SLOVAK, bundle, corpus, same_weights, task_files
from torch.nn import functional as F  # noqa: N812

from edgecompress.corpus import Corpus
from edgecompress.encoder.bundle import save
from edgecompress.encoder.importance import IGNORED
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import RecipeError
from edgecompress.options import Soft, Training
from edgecompress.stages.finetune import finetune
from edgecompress.stages.trim import trim
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples
from edgecompress.training.data import task_batch, task_dataset
from edgecompress.training.lesson import Lesson, _lines
from edgecompress.training.soft import TaskDistiller, ask, plain, soft_batch, unlabelled

QUICK = Training(epochs=1, batch_size=6, learning_rate=2e-3, max_length=64, dropout=0.0, precision="fp32")


def text(tmp_path, *written):
    path = tmp_path / "some.txt"
    path.write_text("\n".join(written))
    return Corpus("some", (path,))


def test_lines_are_cut_into_words_and_none_is_a_held_out_example(tmp_path):
    lines = [f"Veta {word}, (nie)!" for word in "abcdefgh"]
    drawn = partial(unlabelled, [text(tmp_path, *lines, *lines)], TASKS["pos"], seed=0)
    found = drawn(count=100, without=frozenset({plain("VETA a (nie)")}))
    assert ("Veta", "b", ",", "(", "nie", ")", "!") in found
    assert len(found) == len(set(found)) == 7
    assert not any("a" in words for words in found)
    assert drawn(count=3, without=frozenset()) == drawn(count=3, without=frozenset())
    assert len(drawn(count=3, without=frozenset())) == 3
    many = text(tmp_path, *(f"riadok {number}" for number in range(1000)))
    numbers = [int(words[1]) for words in unlabelled([many], TASKS["pos"], 100, seed=0, without=frozenset())]
    assert 350 < sum(numbers) / len(numbers) < 650  # not the first ones
    assert unlabelled([text(tmp_path, "a b")], TASKS["topic"], 5, seed=0, without=frozenset()) == [("a b",)]


def test_a_held_out_example_is_known_in_either_writing_of_its_accents():
    composed, loose = "Ọmọ wọ́n ti ṣe é", "O\u0323mo\u0323 wo\u0323\u0301n ti s\u0323e e\u0301"
    assert composed != loose
    assert plain(composed) == plain(loose) != plain("Omo won ti se e")


@pytest.mark.parametrize("kind", ["topic", "pos"])
def test_the_teacher_is_asked_about_exactly_what_counts(kind):
    task = TASKS[kind]
    made = bundle("bert", "text" if kind == "topic" else "token")
    labels = tuple(made.model.config.id2label.values())
    words = [("Ján",), ("ide", "domov")] if kind == "pos" else [("Ján ide",), ("a",)]
    data = task_dataset(made.tokenizer, [Example(one, ()) for one in words], labels, task, 32)
    pad = partial(task_batch, pad_id=made.tokenizer.pad_token_id)
    said = ask(made.model, data, pad, states=True, bf16=False)
    assert [one.logits.shape for one in said] == [(len(one) if kind == "pos" else 1, len(labels)) for one in words]
    rows = [{**data[i], "soft": i} for i in range(2)]
    batch = soft_batch(rows, pad, said)
    assert set(batch["labels"].flatten().tolist()) == {IGNORED}
    with torch.no_grad():
        logits = made.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert torch.allclose(logits[batch["marked"]], batch["soft"], atol=1e-5)


class Fixed(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, **_):
        return self


def softly(logits, share):
    return TaskDistiller(Fixed(logits), Soft(share=share, states=0.0), 1)


def test_the_loss_by_hand():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    batch = {"input_ids": None, "attention_mask": None, "labels": torch.tensor([1, IGNORED])}
    batch["marked"] = torch.tensor([True, True])
    hard, soft = math.log(2) / 2, (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)) / 2
    teacher = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
    for share in (0.0, 0.4, 1.0):
        said = softly(logits, share)(**batch, soft=teacher)
        assert float(said["loss"]) == pytest.approx((1 - share) * hard + share * soft, rel=1e-5)
    assert float(softly(logits, 0.4)(**batch)["loss"]) == pytest.approx(hard)
    marked = {**batch, "marked": torch.tensor([True, False])}
    one = softly(logits, 0.0)(**marked, soft=teacher[:1])["loss"]
    assert float(one) == pytest.approx(float(F.cross_entropy(logits[:1], torch.tensor([1]))))


@every_family
def test_the_states_are_the_teachers_and_a_projection_finds_them(family):
    """A student that is the teacher has nothing to learn: its projected states are the teacher's."""
    made, task = bundle(family, "token"), TASKS["ner"]
    labels = tuple(made.model.config.id2label.values())
    words = [("Ján", "ide", "domov"), ("Všetci", "ľudia", "sú", "slobodní")] * 12
    data = task_dataset(made.tokenizer, [Example(one, ()) for one in words], labels, task, 32)
    pad = partial(task_batch, pad_id=made.tokenizer.pad_token_id)
    said = ask(made.model, data, pad, states=True, bf16=False)
    assert [len(one.states) for one in said] == data["length"]
    batch = soft_batch([{**data[i], "soft": i} for i in range(len(data))], pad, said)
    assert batch["states"].shape == (sum(data["length"]), HIDDEN)
    module = TaskDistiller(made.model, Soft(share=0.0, states=1.0), HIDDEN).eval()
    far = float(module(**batch)["loss"].detach())
    module.fit_projection([batch])
    near = float(module(**batch)["loss"].detach())
    assert near < 0.05 < far
    only = TaskDistiller(made.model, Soft(share=0.0, states=0.0), HIDDEN).eval()
    assert only.projection is None
    assert float(only(**batch)["loss"].detach()) == 0  # no true labels, and nothing asked of the teacher


@pytest.mark.parametrize("kind", ["topic", "ner"])
@every_family
def test_a_student_learns_from_unlabelled_text_alone(tmp_path, family, kind):
    """With the true labels switched off, the student can only have learnt from the teacher."""
    made, files = bundle(family, "none", layers=1), task_files(tmp_path, kind, 60)
    lines = corpus(tmp_path, lines=tuple(f"{one} {two}" for one in SLOVAK for two in SLOVAK))
    training = replace(QUICK, epochs=16)  # with 8 one family ended at 89 once, in an environment under load
    teacher = finetune(made, task=files, training=training)
    save(teacher, tmp_path / "teacher")
    before = copy_of(made.model)
    soft = Soft(share=1.0, lines=20, copies=0, states=0.0)
    done = finetune(
        made,
        task=files,
        head="random",
        teacher=str(tmp_path / "teacher"),
        corpora=(lines,),
        soft=soft,
        training=training,
    )
    step = done.history[-1]
    assert step.details["best"] > 90
    assert step.details["examples"] > 60
    assert step.options["teacher"] == "teacher"
    assert step.options["soft"]["share"] == 1.0
    assert same_weights(before, made.model)
    assert str(tmp_path) not in str(step)


def test_a_teacher_of_something_else_is_refused(tmp_path):
    made = bundle("bert", "none")
    for kind in ("topic", "ner"):
        save(finetune(made, task=task_files(tmp_path, kind, 12), training=QUICK), tmp_path / kind)
    pos = task_files(tmp_path, "pos", 12)
    for kind, why in (
        ("topic", "the teacher is a BertForSequenceClassification, not a BertForTokenClassification: fine-tune it"),
        ("ner", "the teacher predicts O, B-X, not A, B: fine-tune it for this task"),
    ):
        with pytest.raises(RecipeError, match=why):
            finetune(made, task=pos, teacher=str(tmp_path / kind), training=QUICK)
    smaller = trim(made, corpora=(corpus(tmp_path),))
    with pytest.raises(RecipeError, match="different vocabularies"):
        finetune(smaller, task=task_files(tmp_path, "topic", 12), teacher=str(tmp_path / "topic"), training=QUICK)


def test_without_corpora_there_are_only_the_examples():
    assert unlabelled([], TASKS["pos"], 10, seed=0, without=frozenset()) == []


def test_each_corpus_gives_its_weights_share(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name} {number}" for number in range(100)))
    both = [Corpus("a", (tmp_path / "a.txt",), 3.0), Corpus("b", (tmp_path / "b.txt",))]
    found = unlabelled(both, TASKS["pos"], 40, seed=0, without=frozenset())
    assert (sum(words[0] == "a" for words in found), len(found)) == (30, 40)


def test_no_line_is_a_validation_or_test_example(tmp_path):
    made, files = bundle("bert", "text"), task_files(tmp_path, "topic", 12)
    examples = [e for split in (files.validation, files.test) for e in read_examples(split, TASKS["topic"])]
    lines = text(tmp_path, "Celkom iná veta.", *(example.words[0].upper() for example in examples))
    lesson = Lesson(made, files, ("a", "b"), (lines,), Soft(lines=1000), 32, 0, (files,))
    (found,) = _lines(lesson)
    assert len(found) == 1
    (tmp_path / "only.txt").write_text(examples[-1].words[0])
    assert _lines(replace(lesson, corpora=(Corpus("only", (tmp_path / "only.txt",)),))) == []


@pytest.mark.parametrize("kind", ["topic", "ner"])
def test_being_taught_goes_on_where_it_stopped(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")
    made, files, lines = bundle("bert", "none"), task_files(tmp_path, kind, 16), corpus(tmp_path)
    save(finetune(made, task=files, training=QUICK), tmp_path / "teacher")
    training = replace(QUICK, epochs=2)
    run = partial(finetune, made, task=files, teacher=str(tmp_path / "teacher"), corpora=(lines,), training=training)
    whole = run()
    assert whole.history[-1].options["soft"]["states"] > 0
    assert whole.history[-1].details["examples"] >= 3 * 16  # two copies of each
    pieces = in_pieces(tmp_path / "work", run, "finetune", (2, 9))
    assert same_weights(whole.model, pieces.model)
    once, again = (dict(one.history[-1].details) for one in (whole, pieces))
    assert once.pop("loss") is not None is not again.pop("loss")  # a mean since the last log: not of the same steps
    assert [step for step, _ in once.pop("curve")] == [step for step, _ in again.pop("curve")]  # of the same means
    assert once == again


def test_text_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="give a teacher, or no corpora"):
        finetune(bundle("bert", "none"), task=task_files(tmp_path), corpora=(corpus(tmp_path),))
