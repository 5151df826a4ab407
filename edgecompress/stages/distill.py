"""Make a shallower student, or let a cut student learn from its teacher again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from edgecompress.errors import RecipeError
from edgecompress.options import Objective, Training
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig, PreTrainedModel

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle

_REPEATED = 1.5  # passes over the text from which it pays to write down what the teacher said in the first
Select = Literal["stride", "stride-first", "first-k", "last-k", "first-last"]


def distill(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    teacher: str = "",
    layers: int | None = None,
    select: Select = "stride",
    objective: Objective = Objective(),
    training: Training = Training(steps=2000, dropout=0.0),
) -> Bundle:
    """Train a student to imitate TEACHER (an earlier stage or a model folder; default: the model as it comes in).

    With LAYERS the student starts from that many of the incoming model's layers, chosen by SELECT; without, from the
    incoming model itself. The losses are those of the objective. Raises RecipeError when teacher and student have
    different vocabularies, an objective that they cannot fulfil, or lengths of which max_length is no multiple.
    """
    from edgecompress.encoder import sources, surgery
    from edgecompress.encoder.arch import architecture, size
    from edgecompress.stages.finetune import check_length

    if training.steps or training.epochs:
        check_length(bundle.model.config, training.max_length)
        check_lengths(objective.lengths, training.max_length)
    student = bundle.model
    if layers is not None:
        kept = choose_layers(size(student.config, "layers"), layers, select)
        if architecture(student.config).first_stays:
            kept[0] = 0  # built without the norm that the others begin with
        student = surgery.keep_layers(student, kept)
    else:
        student = surgery.copy_of(student)  # training changes it in place
    source = sources.load(teacher) if teacher else bundle
    _check(source, bundle, objective)
    details = _train(student, source, corpora, objective, training)
    options = {"corpora": corpora, "teacher": teacher.rsplit("/", 1)[-1], "layers": layers, "select": select}
    step = record("distill", student, details, **options, objective=objective, training=training)
    return bundle.then(step, model=student.eval())


def choose_layers(of: int, count: int, how: Select) -> list[int]:
    """Return which ``count`` of ``of`` layers to keep.

    stride: evenly spread, ending with the last; stride-first: beginning with the first (XLM-R in arXiv 2505.16956, by
    its code: 0, 2, 4 …); last-k (mBERT there); first-k; first-last: half from each end. Raises RecipeError for a count
    outside 1..of.
    """
    if not 1 <= count <= of:
        raise RecipeError(f"layers {count}: the model has {of}, choose between 1 and {of}")
    if how == "first-k":
        return list(range(count))
    if how == "stride-first":
        return [i * of // count for i in range(count)]
    if how == "last-k":
        return list(range(of - count, of))
    if how == "first-last":
        head = (count + 1) // 2
        return [*range(head), *range(of - (count - head), of)]
    return [round((i + 1) * of / count) - 1 for i in range(count)]


def check_objective(objective: Objective, *models: tuple[PretrainedConfig, str]) -> None:
    """Raise RecipeError for losses that these models (configuration, class name), student and teacher, cannot give."""
    from edgecompress.encoder.arch import size

    if (objective.mlm or objective.logits) and not all(name.endswith("ForMaskedLM") for _, name in models):
        raise RecipeError("the losses `mlm` and `logits` need a masked-LM head: run `adapt` first, or set both to 0")
    if (objective.mlm or objective.logits) and not objective.mask:
        raise RecipeError("the losses `mlm` and `logits` need masked tokens: give the objective a mask above 0")
    if not any((objective.mlm, objective.logits, objective.hidden, objective.relations)):
        raise RecipeError("the objective has no loss: give mlm, logits, hidden or relations a weight above 0")
    for width in {size(config, "hidden") for config, _ in models}:
        if objective.relations and (not objective.relation_heads or width % objective.relation_heads):
            raise RecipeError(
                f"relation_heads {objective.relation_heads} does not divide the hidden size {width}: "
                f"choose a divisor of both models' sizes"
            )


def check_lengths(lengths: tuple[int, ...], max_length: int) -> None:
    """Raise RecipeError for lengths of sequences that do not fill ``max_length`` in whole numbers, or stand twice."""
    shortest = 3  # one token between the two specials
    for length in lengths:
        if length < shortest or max_length % length:
            raise RecipeError(
                f"lengths: {length} does not divide max_length {max_length}: choose divisors of it from {shortest} on, "
                "or raise max_length"
            )
    if len(set(lengths)) != len(lengths):
        raise RecipeError(f"lengths {', '.join(map(str, lengths))}: each stands once, they share the tokens evenly")


def _check(teacher: Bundle, student: Bundle, objective: Objective) -> None:
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise RecipeError("teacher and student have different vocabularies: run `trim` before both, or after both")
    check_objective(objective, *((b.model.config, type(b.model).__name__) for b in (student, teacher)))


def _train(
    student: PreTrainedModel, teacher: Bundle, corpora: Sequence[Corpus], objective: Objective, training: Training
) -> dict[str, Any]:
    from functools import partial

    import torch
    from datasets import concatenate_datasets

    from edgecompress.encoder.surgery import copy_of
    from edgecompress.options import Sampling
    from edgecompress.training.data import drawn, pack, pack_mixed, packed_batch, probe_batches
    from edgecompress.training.distiller import Distiller
    from edgecompress.training.sampler import TaskSampler
    from edgecompress.training.steps import passes
    from edgecompress.training.trainer import Data, fit, working_folder

    if not training.steps and not training.epochs:
        return {"steps": 0}
    mask = objective.mask if objective.mlm or objective.logits else 0.0
    longest, lengths = training.max_length, objective.lengths
    words = teacher.tokenizer
    packed = pack_mixed(words, corpora, lengths, longest) if lengths else [pack(words, corpora, longest)]
    parts = [drawn(part, -(-training.examples // len(packed)), training.seed) for part in packed]
    rows = concatenate_datasets(parts)
    many = passes(len(rows), training)
    with working_folder() as work:
        module = Distiller(student, copy_of(teacher.model), objective)
        pays = not mask and many >= _REPEATED and not _fast_or_many()
        if pays and module.remember_in(work, len(rows), longest):
            rows = rows.add_column("sequence", list(range(len(rows)))).with_format("torch")
        torch.manual_seed(training.seed)
        module.fit_projection(probe_batches(words, corpora, 8192, length=longest))
        evenly = Sampling(alpha=0.0, alpha_end=0.0)
        sampler = TaskSampler(parts, training.batch_size, evenly, many, training.seed) if lengths else None
        data = Data(rows, partial(packed_batch, tokenizer=words, mask=mask), sampler=sampler)
        details = fit(module, data, training, label="distill")
    return {"sequences": len(rows), **details}


def _fast_or_many() -> bool:
    """Whether the teacher is asked on a GPU, or by several processes that see other sequences in each pass."""
    import torch

    from edgecompress.training.steps import processes

    return torch.cuda.is_available() or processes() > 1
