"""Train one encoder for several tasks, so that their students share it byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompress.errors import RecipeError
from edgecompress.options import Sampling, Soft, TaskFiles, Training
from edgecompress.stages.learner import Guide, Learner, check_teaching, learner, refuse, scorer, task_key
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle, TaskHead
    from edgecompress.training.trainer import Data


def multitask(
    bundle: Bundle,
    *,
    tasks: tuple[TaskFiles, ...],
    teacher: tuple[str, ...] = (),
    corpora: tuple[Corpus, ...] = (),
    sampling: Sampling = Sampling(),
    soft: Soft = Soft(),
    training: Training = Training(epochs=5, learning_rate=1e-4),
) -> Bundle:
    """Train the encoder for all TASKS at once; the epoch with the best mean score on the validation splits is kept.

    Each task has a head of its own, which starts as a linear probe. A batch is one task's, drawn as SAMPLING says; an
    epoch is as long as the examples of all tasks together. The heads are kept beside the encoder: finetune with a
    frozen encoder and the trained head makes each task's student, and all of them have the same encoder. With TEACHER
    (a model fine-tuned for each task) the students also learn from what it says of the examples and of lines of
    CORPORA; all that the teachers say is held in memory. Raises RecipeError for fewer than two tasks, one that is there
    twice, or a teacher that does not fit, TaskDataError for examples that cannot be read.
    """
    import torch

    from edgecompress.encoder.heads import bare
    from edgecompress.training.multitask import MultiTask, share_encoder
    from edgecompress.training.trainer import fit

    given = {"tasks": tasks, "teacher": teacher, "corpora": corpora, "soft": soft, "training": training}
    refuse("multitask", check(given))
    guides = [Guide(one, corpora, soft, tasks) for one in teacher] or [Guide()] * len(tasks)
    named = dict(zip(_names(tasks), zip(tasks, guides, strict=True), strict=True))
    learners = {name: _learner(name, bundle, task, guide, training) for name, (task, guide) in named.items()}
    data = _mixed(learners, sampling, training)
    share_encoder([one.model for one in learners.values()])
    module = MultiTask(
        [one.module for one in learners.values()], [one.task.kind == "text" for one in learners.values()]
    )
    torch.manual_seed(training.seed)
    details = fit(module, data, training, label="multitask")
    encoder = bare(next(iter(learners.values())).model, bundle.model.config)
    heads = tuple(_head(task, one) for task, one in zip(tasks, learners.values(), strict=True))
    options = {"teacher": [Path(one).name for one in teacher], "corpora": corpora, "soft": soft} if teacher else {}
    details = {"tasks": {name: _told(one) for name, one in learners.items()}, **details}
    step = record("multitask", encoder, details, tasks=tasks, sampling=sampling, **options, training=training)
    return bundle.then(step, model=encoder, heads=heads)


def check(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options ``given``, as far as options alone tell."""
    tasks, teacher = given["tasks"], given.get("teacher", ())
    if len(tasks) < 2:  # noqa: PLR2004 - what "several" means
        yield f"tasks: one encoder for several needs two or more, not {len(tasks)}; for one task there is `finetune`"
    seen = [(task.kind, task.train) for task in tasks]
    for kind, files in dict.fromkeys(one for one in seen if seen.count(one) > 1):
        yield f"the task {kind!r} of {', '.join(path.name for path in files)} is there twice: name each task once"
    if teacher and len(teacher) != len(tasks):
        yield f"{len(teacher)} teachers for {len(tasks)} tasks: give one for each task, in their order, or none"
    yield from check_teaching(given)


def _names(tasks: Sequence[TaskFiles]) -> list[str]:
    """Return a name for each task: its kind, numbered from the second of a kind on."""
    kinds = [task.kind for task in tasks]
    before = [kinds[:at].count(kind) for at, kind in enumerate(kinds)]
    return [f"{kind}-{count + 1}" if count else kind for kind, count in zip(kinds, before, strict=True)]


def _learner(name: str, bundle: Bundle, task: TaskFiles, guide: Guide, training: Training) -> Learner:
    """Return the task's learner; without a teacher its module has the form of a taught one."""
    from edgecompress.training.soft import TaskDistiller, soft_batch

    try:
        made = learner(bundle, task, "probe", guide, training)
    except RecipeError as error:
        raise RecipeError(f"task {name}: {error}") from error
    if guide.teacher:
        return made
    data = replace(made.data, collate=partial(soft_batch, pad=made.data.collate))
    return replace(made, module=TaskDistiller(made.model, Soft(states=0.0), 0), data=data)


def _mixed(learners: Mapping[str, Learner], sampling: Sampling, training: Training) -> Data:
    from edgecompress.training.mixture import Mixture, mixed_batch
    from edgecompress.training.multitask import MEAN, mean_score
    from edgecompress.training.sampler import TaskSampler
    from edgecompress.training.steps import passes
    from edgecompress.training.trainer import Data

    parts = [one.data for one in learners.values()]
    train, validation = Mixture([p.train for p in parts]), Mixture([p.validation for p in parts], training.batch_size)
    scorers = {name: scorer(one.task, one.labels) for name, one in learners.items()}
    epochs = passes(len(train), training)
    return Data(
        train,
        partial(mixed_batch, collates=[part.collate for part in parts]),
        validation,
        mean_score(scorers, validation),
        MEAN,
        tuple(learners),
        TaskSampler(train.parts, training.batch_size, sampling, epochs, training.seed),
    )


def _head(task: TaskFiles, trained: Learner) -> TaskHead:
    from edgecompress.encoder.bundle import TaskHead
    from edgecompress.encoder.heads import head_state

    return TaskHead(task_key(task), trained.labels, head_state(trained.model))


def _told(trained: Learner) -> dict[str, Any]:
    return {"labels": list(trained.labels), "examples": len(trained.data.train)}
