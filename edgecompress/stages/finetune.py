"""Train an encoder for one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgecompress.errors import RecipeError
from edgecompress.options import Soft, TaskFiles, Training
from edgecompress.stages.learner import Guide, Head, check_teaching, learner, refuse
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle


def finetune(  # noqa: PLR0913 - a stage's options are its schema
    bundle: Bundle,
    *,
    task: TaskFiles,
    head: Head = "probe",
    encoder: Literal["tuned", "frozen"] = "tuned",
    teacher: str = "",
    corpora: tuple[Corpus, ...] = (),
    soft: Soft = Soft(),
    training: Training = Training(epochs=5, learning_rate=1e-4),
) -> Bundle:
    """Put a head for TASK on the encoder and train both; the epoch that is best on the validation split is kept.

    HEAD is where it starts: ``probe``, fitted to the encoder as it is (LP-FT, arXiv 2202.10054), ``random``, or
    ``trained``, the one that ``multitask`` left for this task. A ``frozen`` ENCODER keeps its weights, so that
    students of several tasks share them: only the head is trained, and with 0 epochs it stays where it starts. Text
    tasks get one label a text; token tasks one a word, on its first sub-token. With TEACHER (a model fine-tuned for the
    same task) the student also learns from what the teacher says of the examples and of lines of CORPORA. Raises
    TaskDataError for examples that cannot be read, and for validation labels that the training split lacks;
    RecipeError for a teacher with other labels or another vocabulary, and for a head that is not there.
    """
    import torch

    from edgecompress.encoder.heads import frozen_encoder
    from edgecompress.training.trainer import fit

    given = {
        "head": head,
        "encoder": encoder,
        "teacher": teacher,
        "corpora": corpora,
        "soft": soft,
        "training": training,
    }
    refuse("finetune", check(given))
    frozen = encoder == "frozen"  # then the teacher's states could move nothing but their own projection
    made = learner(bundle, task, head, Guide(teacher, corpora, replace(soft, states=0.0) if frozen else soft), training)
    with frozen_encoder(made.model) if frozen else nullcontext():
        torch.manual_seed(training.seed)
        details = fit(made.module, made.data, training, label=f"finetune {task.kind}")
    options = {"teacher": Path(teacher).name, "corpora": corpora, "soft": soft} if teacher else {}
    details = {"labels": list(made.labels), "examples": len(made.data.train), **details}
    step = record("finetune", made.model, details, task=task, head=head, encoder=encoder, **options, training=training)
    return bundle.then(step, model=made.model.eval())


def check(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options ``given``, as far as options alone tell."""
    training = given.get("training")
    yield from check_teaching(given)
    untrained = training is not None and not training.steps and not training.epochs
    if given.get("encoder") == "frozen" and given.get("head") == "random" and untrained:
        yield "a random head on a frozen encoder, and no training: choose head 'probe' or 'trained', or give epochs"


def longest_input(bundle: Bundle) -> int:
    """Return the most tokens an input may have."""
    from edgecompress.encoder import arch

    return arch.longest_input(bundle.model.config)


def served_input(bundle: Bundle) -> int:
    """Return the most tokens that a text may have to be read at once: those that the model was fine-tuned on, where it
    takes more. On longer inputs its answers get worse (benchmarks/README.md, "Long texts").
    """
    longest = longest_input(bundle)
    tuned = [step.options.get("training", {}) for step in bundle.history if step.stage == "finetune"]
    return min(longest, int(tuned[-1].get("max_length", longest))) if tuned else longest


def check_length(config: Any, length: int) -> None:
    """Raise RecipeError for a ``max_length`` that leaves no room for a token, or exceeds the model's positions."""
    from edgecompress.encoder import arch

    shortest, longest = 3, arch.longest_input(config)  # one token between the two specials
    if not shortest <= length <= longest:
        raise RecipeError(f"max_length {length}: this model takes {shortest} to {longest} tokens")
