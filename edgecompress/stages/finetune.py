"""Train an encoder for one task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgecompress.errors import RecipeError, TaskDataError
from edgecompress.options import Soft, TaskFiles, Training
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle
    from edgecompress.tasks import Task
    from edgecompress.tasks.examples import Example

Head = Literal["probe", "random"]


def finetune(
    bundle: Bundle,
    *,
    task: TaskFiles,
    head: Head = "probe",
    teacher: str = "",
    corpora: tuple[Corpus, ...] = (),
    soft: Soft = Soft(),
    training: Training = Training(epochs=5, learning_rate=1e-4),
) -> Bundle:
    """Put a head for TASK on the encoder and train both; the epoch that is best on the validation split is kept.

    HEAD is where it starts: ``probe``, fitted to the encoder as it is (LP-FT, arXiv 2202.10054), or ``random``. Text
    tasks get one label a text; token tasks one a word, on its first sub-token. With TEACHER (a model fine-tuned for the
    same task) the student also learns from what the teacher says of the examples and of lines of CORPORA. Raises
    TaskDataError for examples that cannot be read, and for validation labels that the training split lacks;
    RecipeError for a teacher with other labels or another vocabulary.
    """
    import torch

    from edgecompress.encoder import sources
    from edgecompress.encoder.heads import attach
    from edgecompress.training.data import drawn, task_batch, task_dataset
    from edgecompress.training.lesson import Lesson, check_teacher, prepared
    from edgecompress.training.probe import fit_head
    from edgecompress.training.trainer import Data, fit, wants_bf16

    if corpora and not teacher:
        raise RecipeError("finetune reads corpora only for a teacher to label them: give a teacher, or no corpora")
    row, train, validation, labels = _examples(task)
    limit = min(training.max_length, longest_input(bundle))
    check_length(bundle, limit)
    model, lesson = attach(bundle.model, row.kind, labels, seed=training.seed), None
    if teacher:
        lesson = Lesson(sources.load(teacher), task, labels, corpora, soft, limit, training.seed)
        check_teacher(lesson.teacher, bundle, model, labels)
    splits = [task_dataset(bundle.tokenizer, part, labels, row, limit) for part in (train, validation)]
    collate = partial(task_batch, pad_id=bundle.tokenizer.pad_token_id)
    few = drawn(splits[0], training.examples, training.seed)
    data = Data(few, collate, splits[1], _scorer(row, labels), f"eval_{row.metrics[0]}")
    if head == "probe":
        on_cpu = not torch.cuda.is_available()  # the probe runs where bundles live; a GPU's bfloat16 says nothing of it
        fit_head(model, data.train, collate, seed=training.seed, bf16=on_cpu and wants_bf16(training))
    module, data = prepared(model, data, lesson, bf16=wants_bf16(training)) if lesson else (model, data)
    torch.manual_seed(training.seed)
    details = fit(module, data, training, label=f"finetune {task.kind}")
    options = {"teacher": Path(teacher).name, "corpora": corpora, "soft": soft} if teacher else {}
    details = {"labels": list(labels), "examples": len(data.train), **details}
    step = record("finetune", model, details, task=task, head=head, **options, training=training)
    return bundle.then(step, model=model.eval())


def _examples(task: TaskFiles) -> tuple[Task, tuple[Example, ...], tuple[Example, ...], tuple[str, ...]]:
    """Return the task's row, its training and validation examples, and the labels of the former."""
    from edgecompress.tasks import TASKS
    from edgecompress.tasks.examples import check_labels, labels_of, read_examples

    if task.kind not in TASKS:
        raise RecipeError(f"task {task.kind!r}: choose one of {', '.join(TASKS)}")
    row = TASKS[task.kind]
    train, validation = (read_examples(files, row) for files in (task.train, task.validation))
    labels = labels_of(train)
    if len(labels) == 1:
        raise TaskDataError(f"{task.train[0]}: only the label {labels[0]!r} occurs, at least two are needed")
    check_labels(labels, validation, "validation")
    return row, train, validation, labels


def longest_input(bundle: Bundle) -> int:
    """Return the most tokens an input may have; RoBERTa-like models lose the positions up to the padding id."""
    from edgecompress.encoder.arch import architecture

    config = bundle.model.config
    lost = config.pad_token_id + 1 if architecture(config).positions_follow_pad else 0
    return int(config.max_position_embeddings) - lost


def check_length(bundle: Bundle, length: int) -> None:
    """Raise RecipeError for a ``max_length`` that leaves no room for a token, or exceeds the model's positions."""
    shortest, longest = 3, longest_input(bundle)  # one token between the two specials
    if not shortest <= length <= longest:
        raise RecipeError(f"max_length {length}: this model takes {shortest} to {longest} tokens")


def _scorer(task: Task, labels: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """Return the metrics of (predictions, labels), each (examples,) or (examples, length) with ignored positions."""
    from edgecompress.encoder.importance import IGNORED
    from edgecompress.tasks.scores import score

    def metrics(prediction: Any) -> dict[str, float]:
        gold, said = prediction.label_ids, prediction.predictions
        if gold.ndim == 1:
            gold, said = gold[:, None], said[:, None]
        real = gold != IGNORED
        names = [[labels[i] for i in row[keep]] for row, keep in zip(gold, real, strict=True)]
        guesses = [[labels[i] for i in row[keep]] for row, keep in zip(said, real, strict=True)]
        return score(task, names, guesses)

    return metrics
