"""Make a shallower student, or let a cut student learn from its teacher again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from edgecompress.errors import RecipeError
from edgecompress.options import Objective, Training
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle

Select = Literal["stride", "first-k", "last-k", "first-last"]


def distill(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    teacher: str = "",
    layers: int | None = None,
    select: Select = "stride",
    objective: Objective = Objective(),
    training: Training = Training(steps=2000),
) -> Bundle:
    """Train a student to imitate TEACHER (an earlier stage or a model folder; default: the model as it comes in).

    With LAYERS the student starts from that many of the incoming model's layers, chosen by SELECT; without, from the
    incoming model itself. The losses are those of the objective. Raises RecipeError when teacher and student have
    different vocabularies, or an objective that they cannot fulfil.
    """
    from edgecompress.encoder import sources, surgery
    from edgecompress.encoder.arch import size

    student = bundle.model
    if layers is not None:
        student = surgery.keep_layers(student, choose_layers(size(student.config, "layers"), layers, select))
    else:
        student = surgery.keep(student, surgery.Cut())  # a copy: training changes it in place
    source = sources.load(teacher) if teacher else bundle
    _check(source, bundle, objective)
    details = _train(student, source, corpora, objective, training)
    options = {"corpora": corpora, "teacher": teacher.rsplit("/", 1)[-1], "layers": layers, "select": select}
    step = record("distill", student, details, **options, objective=objective, training=training)
    return bundle.then(step, model=student.eval())


def choose_layers(of: int, count: int, how: Select) -> list[int]:
    """Return which ``count`` of ``of`` layers to keep.

    stride: evenly spread, ending with the last (XLM-R in arXiv 2505.16956); last-k (mBERT there); first-k; first-last:
    half from each end. Raises RecipeError for a count outside 1..of.
    """
    if not 1 <= count <= of:
        raise RecipeError(f"layers {count}: the model has {of}, choose between 1 and {of}")
    if how == "first-k":
        return list(range(count))
    if how == "last-k":
        return list(range(of - count, of))
    if how == "first-last":
        head = (count + 1) // 2
        return [*range(head), *range(of - (count - head), of)]
    return [round((i + 1) * of / count) - 1 for i in range(count)]


def _check(teacher: Bundle, student: Bundle, objective: Objective) -> None:
    from edgecompress.encoder.arch import size
    from edgecompress.encoder.heads import has_mlm_head

    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise RecipeError("teacher and student have different vocabularies: run `trim` before both, or after both")
    if (objective.mlm or objective.logits) and not (has_mlm_head(teacher.model) and has_mlm_head(student.model)):
        raise RecipeError("the losses `mlm` and `logits` need a masked-LM head: run `adapt` first, or set both to 0")
    for bundle in (teacher, student):
        width = size(bundle.model.config, "hidden")
        if objective.relations and width % objective.relation_heads:
            raise RecipeError(
                f"relation_heads {objective.relation_heads} does not divide the hidden size {width}: "
                f"choose a divisor of both models' sizes"
            )


def _train(
    student: PreTrainedModel, teacher: Bundle, corpora: Sequence[Corpus], objective: Objective, training: Training
) -> dict[str, Any]:
    from functools import partial

    import torch

    from edgecompress.training.data import pack, packed_batch, probe_batches
    from edgecompress.training.distiller import Distiller
    from edgecompress.training.trainer import Data, fit

    if not training.steps and not training.epochs:
        return {"steps": 0}
    mask = objective.mask if objective.mlm or objective.logits else 0.0
    data = Data(
        pack(teacher.tokenizer, corpora, training.max_length),
        partial(packed_batch, tokenizer=teacher.tokenizer, mask=mask),
    )
    torch.manual_seed(training.seed)
    module = Distiller(student, teacher.model, objective)
    module.fit_projection(probe_batches(teacher.tokenizer, corpora, 8192, length=training.max_length))
    return fit(module, data, training, label="distill")
