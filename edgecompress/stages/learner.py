"""What trains an encoder for a task: a head on a copy of it, the task's data, and who teaches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from edgecompress.errors import RecipeError
from edgecompress.options import Soft, TaskFiles, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from torch import nn
    from transformers import PreTrainedModel

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle
    from edgecompress.tasks import Task
    from edgecompress.tasks.examples import Example
    from edgecompress.training.trainer import Data

Head = Literal["probe", "random", "trained"]


def check_teaching(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield which options say what a teacher does where there is none, or keep it from doing anything."""
    teacher, soft, training = given.get("teacher"), given.get("soft", Soft()), given.get("training")
    if given.get("corpora") and not teacher:
        yield "corpora are read only for a teacher to label them: give a teacher, or no corpora"
    if soft != Soft() and not teacher:
        yield "soft says how a teacher's word is learnt from: give a teacher, or no soft"
    states = 0.0 if given.get("encoder") == "frozen" else soft.states
    if teacher and not soft.share and not states:
        yield "soft: the teacher's predictions have no share and its states no weight: give one, or no teacher"
    if teacher and training is not None and not training.steps and not training.epochs:
        yield "a teacher, and no training: give epochs, or no teacher"


def refuse(what: str, problems: Iterator[str]) -> None:
    """Raise RecipeError with all problems, if there are any."""
    if found := "; ".join(problems):
        raise RecipeError(f"{what}: {found}")


@dataclass(frozen=True)
class Guide:
    """Who else than the examples teaches: a fine-tuned model (none: ""), on which unlabelled text, and how; beside
    the task's own, the validation and test examples of which tasks no line may be.
    """

    teacher: str = ""
    corpora: tuple[Corpus, ...] = ()
    soft: Soft = Soft()
    beside: tuple[TaskFiles, ...] = ()


@dataclass(frozen=True)
class Learner:
    """A task's ``model`` on a copy of the encoder, ready to be trained inside ``module``, on ``data``."""

    task: Task
    labels: tuple[str, ...]
    model: PreTrainedModel
    module: nn.Module
    data: Data


def learner(bundle: Bundle, task: TaskFiles, head: Head, guide: Guide, training: Training) -> Learner:
    """Return what trains the encoder of ``bundle`` for ``task``. Raises as ``finetune``."""
    from edgecompress.encoder import sources
    from edgecompress.encoder.heads import attach
    from edgecompress.stages.finetune import check_length, longest_input
    from edgecompress.training.computing import wants_bf16
    from edgecompress.training.data import drawn, task_batch, task_dataset
    from edgecompress.training.lesson import Lesson, check_teacher, prepared
    from edgecompress.training.trainer import Data

    row, train, validation, labels = _examples(task)
    limit = min(training.max_length, longest_input(bundle))
    check_length(bundle.model.config, limit)
    model, lesson = attach(bundle.model, row.kind, labels, seed=training.seed), None
    if guide.teacher:
        teacher = sources.load(guide.teacher)
        kept_out = (task, *guide.beside)
        lesson = Lesson(teacher, task, labels, guide.corpora, guide.soft, limit, training.seed, kept_out)
        check_teacher(teacher, bundle, model, labels)
    splits = [task_dataset(bundle.tokenizer, part, labels, row, limit) for part in (train, validation)]
    collate = partial(task_batch, pad_id=bundle.tokenizer.pad_token_id)
    few = drawn(splits[0], training.examples, training.seed)
    data = Data(few, collate, splits[1], partial(_metrics, scorer(row, labels)), row.metrics[0])
    _start_head(model, head, bundle, task, data, training)
    module, data = prepared(model, data, lesson, bf16=wants_bf16(training)) if lesson else (model, data)
    return Learner(row, labels, model, module, data)


def _start_head(
    model: PreTrainedModel, head: Head, bundle: Bundle, task: TaskFiles, data: Data, training: Training
) -> None:
    import torch

    from edgecompress.encoder.heads import load_head
    from edgecompress.training.computing import wants_bf16
    from edgecompress.training.probe import fit_head

    if head == "probe":
        on_cpu = not torch.cuda.is_available()  # the probe runs where bundles live; a GPU's bfloat16 says nothing of it
        fit_head(model, data.train, data.collate, seed=training.seed, bf16=on_cpu and wants_bf16(training))
    if head == "trained":
        key = task_key(task)
        found = [one for one in bundle.heads if one.task == key]
        if not found:
            raise RecipeError(
                f"head 'trained': there is none for these examples of task {task.kind!r} beside the encoder: "
                "run `multitask` with this task just before, or choose head 'probe'"
            )
        load_head(model, found[0].state)


def task_key(task: TaskFiles) -> str:
    """Return the key of a task: its kind and the content of its training files."""
    from edgecompress.files import sha256
    from edgecompress.keys import digest

    return digest([task.kind, [sha256(path) for path in task.train]])


def _examples(task: TaskFiles) -> tuple[Task, tuple[Example, ...], tuple[Example, ...], tuple[str, ...]]:
    """Return the task's row, its training and validation examples, and the labels of the former."""
    from edgecompress.tasks import TASKS
    from edgecompress.tasks.examples import check_labels, check_several, labels_of, read_examples

    if task.kind not in TASKS:
        raise RecipeError(f"task {task.kind!r}: choose one of {', '.join(TASKS)}")
    row = TASKS[task.kind]
    train, validation = (read_examples(files, row) for files in (task.train, task.validation))
    labels = labels_of(train)
    check_several(labels, task.train[0])
    check_labels(labels, validation, "validation")
    return row, train, validation, labels


def scorer(task: Task, labels: Sequence[str]) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Return the metrics of (gold, predicted) label numbers, each (examples, length), ignored positions left out."""
    from edgecompress.encoder.importance import IGNORED
    from edgecompress.tasks.scores import score

    def metrics(gold: np.ndarray, said: np.ndarray) -> dict[str, float]:
        real = gold != IGNORED
        names = [[labels[i] for i in row[keep]] for row, keep in zip(gold, real, strict=True)]
        guesses = [[labels[i] for i in row[keep]] for row, keep in zip(said, real, strict=True)]
        return score(task, names, guesses)

    return metrics


def _metrics(score: Callable[[np.ndarray, np.ndarray], dict[str, float]], prediction: Any) -> dict[str, float]:
    """Score what the Trainer predicted: one label a text is a row of one."""
    gold, said = (part.reshape(len(part), -1) for part in (prediction.label_ids, prediction.predictions))
    return score(gold, said)
