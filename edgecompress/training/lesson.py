"""How a student of a task is taught: by whom, on which text, and for how long an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from edgecompress.corpus import Corpus
from edgecompress.encoder.arch import size
from edgecompress.encoder.bundle import Bundle
from edgecompress.errors import RecipeError
from edgecompress.options import Soft, TaskFiles
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples
from edgecompress.training.augment import copies, neighbours, places
from edgecompress.training.data import drawn, task_dataset
from edgecompress.training.soft import TaskDistiller, plain, unlabelled, with_soft_labels

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from edgecompress.training.trainer import Data

_FITTED = 256  # examples that a projection is fitted on


@dataclass(frozen=True)
class Lesson:
    """``teacher`` predicts ``labels``; of the ``corpora`` and the task's examples comes what only it has labelled, cut
    to ``limit`` tokens and drawn by ``seed``; no line is a validation or test example of the tasks ``kept_out``.
    """

    teacher: Bundle
    task: TaskFiles
    labels: tuple[str, ...]
    corpora: tuple[Corpus, ...]
    soft: Soft
    limit: int
    seed: int
    kept_out: tuple[TaskFiles, ...]


def check_teacher(teacher: Bundle, student: Bundle, model: PreTrainedModel, labels: Sequence[str]) -> None:
    """Raise RecipeError unless the teacher predicts these labels, as ``model`` does, for the student's token ids."""
    if type(teacher.model) is not type(model):
        raise RecipeError(
            f"the teacher is a {type(teacher.model).__name__}, not a {type(model).__name__}: fine-tune it"
        )
    known = tuple((teacher.model.config.id2label or {}).values())
    if known != tuple(labels):
        raise RecipeError(
            f"the teacher predicts {', '.join(known)}, not {', '.join(labels)}: fine-tune it for this task"
        )
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise RecipeError("teacher and student have different vocabularies: run `trim` before both")


def prepared(model: PreTrainedModel, data: Data, lesson: Lesson, *, bf16: bool) -> tuple[TaskDistiller, Data]:
    """Return the student, ready to be taught, and the data with what the teacher says of each training row."""
    teacher = lesson.teacher.model
    taught = with_soft_labels(
        data, [*_lines(lesson), *_copies(data.train, lesson)], teacher, states=lesson.soft.states > 0, bf16=bf16
    )
    student = TaskDistiller(model, lesson.soft, size(teacher.config, "hidden"))
    rows = drawn(taught.train, _FITTED, lesson.seed)
    student.fit_projection([taught.collate([rows[i] for i in range(len(rows))])])
    return student, taught


def _lines(lesson: Lesson) -> list[Dataset]:
    """Return lines of the corpora as examples without labels, none of them a validation or test example."""
    row = TASKS[lesson.task.kind]
    splits = [read_examples((*task.validation, *task.test), TASKS[task.kind]) for task in lesson.kept_out]
    without = frozenset(plain(" ".join(example.words)) for examples in splits for example in examples)
    texts = unlabelled(lesson.corpora, row, lesson.soft.lines, seed=lesson.seed, without=without)
    examples = [Example(words, ()) for words in texts]
    return [task_dataset(lesson.teacher.tokenizer, examples, lesson.labels, row, lesson.limit)] if examples else []


def _copies(data: Dataset, lesson: Lesson) -> list[Dataset]:
    """Return the examples' copies with swapped tokens, if any are wanted."""
    soft, tokenizer = lesson.soft, lesson.teacher.tokenizer
    if not soft.copies:
        return []
    wanted = torch.tensor(sorted({token for row in data["input_ids"] for token in row}))
    embeddings = lesson.teacher.model.get_input_embeddings().weight.detach()
    near = neighbours(embeddings, places(tokenizer), wanted)
    return [copies(data, near, soft.copies, share=soft.swap, keep=tokenizer.all_special_ids, seed=lesson.seed)]
