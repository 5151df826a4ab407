"""From a fine-tuned model to an artifact: one ONNX file with dynamic batch and length, proved equal to torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgecompress.artifact import DEFAULT_WORD_PATTERN, Artifact, open_artifact, seal
from edgecompress.encoder.bundle import save_tokenizer
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import ArtifactError, InputError, SourceError
from edgecompress.export.graph import read, write
from edgecompress.export.naming import name_weights, without_token_types
from edgecompress.export.parity import check_parity
from edgecompress.export.quiet import quiet
from edgecompress.extras import require
from edgecompress.files import need_space, new_folder
from edgecompress.records import Step
from edgecompress.stages.finetune import longest_input, served_input
from edgecompress.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from edgecompress.encoder.bundle import Bundle

HEADS = {"text": "ForSequenceClassification", "token": "ForTokenClassification"}
MODEL_FILE = "model.onnx"
OLDEST_OPSET = 18  # that torch writes
_ONE_OF = "single_label_classification"
_OTHER_TAGS = ("E-", "S-", "L-", "U-")  # of BIOES and BILOU


@dataclass(frozen=True)
class Format:
    """Which operators the graph may use, who writes it, "torch" (our exporter) or "optimum", and how many tokens of a
    text are read at once (0: as many as the model was fine-tuned on).
    """

    opset: int = 20
    backend: str = "torch"
    max_length: int = 0


def export(
    bundle: Bundle,
    target: Path,
    *,
    task: str = "",
    texts: Sequence[str] = (),
    replace: bool = False,
    key: str = "",
    form: Format = Format(),
) -> Artifact:
    """Write ``bundle`` as an artifact folder at ``target`` and return it.

    The graph takes input_ids and attention_mask (batch, length) int64 and gives logits (batch, labels), or for token
    tasks (batch, length, labels). Before the folder appears, its logits are compared with torch's at several shapes and
    on ``texts``. ``task`` is needed only for a model that edgecompress did not fine-tune. Raises SourceError for a
    model without a fitting head, or with labels that a softmax or B- and I- tags do not tell, InputError for operators
    that the installed onnx or onnxruntime does not know, CheckError when the logits differ, OutputError when ``target``
    cannot be written.
    """
    _check_opset(form.opset)
    _check_length(form.max_length, bundle)
    row = _task(bundle, task)
    labels = tuple(bundle.model.config.id2label[i] for i in range(bundle.model.config.num_labels))
    _check_labels(bundle, row, labels)
    with new_folder(target, replace=replace) as draft:
        need_space(draft, 2 * _bytes(bundle.model))
        to_onnx(bundle.model, draft / MODEL_FILE, form)
        difference = _difference(bundle, draft / MODEL_FILE, texts, form.opset)
        step = Step(
            "export", {"scheme": "fp32", **asdict(form)}, bundle.parameters, details={"difference": difference}, key=key
        )
        save_tokenizer(bundle.tokenizer, draft)
        bundle.model.config.save_pretrained(draft)
        seal(
            Artifact(
                folder=draft,
                task=row,
                labels=labels,
                max_length=form.max_length or served_input(bundle),
                scheme="fp32",
                parameters=bundle.parameters,
                history=(*bundle.history, step),
                pad_id=bundle.tokenizer.pad_token_id,
                word_pattern=DEFAULT_WORD_PATTERN if row.kind == "token" else None,
                model_file=MODEL_FILE,
            )
        )
    return open_artifact(target)


def _check_length(length: int, bundle: Bundle) -> None:
    if length > longest_input(bundle):
        raise InputError(f"max_length {length}: the model takes at most {longest_input(bundle)} tokens, and was "
                         f"fine-tuned on {served_input(bundle)}")  # fmt: skip


def _difference(bundle: Bundle, graph: Path, texts: Sequence[str], opset: int) -> float:
    try:
        return check_parity(bundle, graph, texts)
    except ArtifactError as error:
        if opset == Format().opset:
            raise
        raise InputError(f"opset {opset}: the installed onnxruntime cannot run the graph; the default is "
                         f"{Format().opset}") from error  # fmt: skip


def _check_labels(bundle: Bundle, task: Task, labels: Sequence[str]) -> None:
    """Raise SourceError for a head whose logits are not those of one label of several, or whose tags end names in
    another way than the next B- or O.
    """
    kind = getattr(bundle.model.config, "problem_type", None) or _ONE_OF
    if kind != _ONE_OF or len(labels) < 2:  # noqa: PLR2004 - one is no choice
        raise SourceError(f"the model gives {len(labels)} label(s) of {kind.replace('_', ' ')}: only one label of "
                          f"several can be exported, fine-tune it for {task.name}")  # fmt: skip
    if task.spans and (ends := [label for label in labels if label[:2] in _OTHER_TAGS]):
        raise SourceError(f"the label {ends[0]} is of another scheme than B- and I-: fine-tune the model on such tags")


def _check_opset(opset: int) -> None:
    from onnx.defs import onnx_opset_version

    if not OLDEST_OPSET <= opset <= onnx_opset_version():
        raise InputError(
            f"opset {opset}: the installed onnx knows {OLDEST_OPSET} to {onnx_opset_version()}; the default is "
            f"{Format().opset}"
        )


def _task(bundle: Bundle, named: str) -> Task:
    trained = [step.options["task"]["kind"] for step in bundle.history if step.stage == "finetune"]
    name, head = named or (trained[-1] if trained else ""), type(bundle.model).__name__
    if not head.endswith(tuple(HEADS.values())):
        raise SourceError(f"the model is a {head}, which has no head for a task: run `edgecompress finetune` first")
    if name not in TASKS:
        known = f"({name!r}) is not known" if name else "is not known"
        raise SourceError(f"which task the model is for {known}: give --task, one of {', '.join(TASKS)}")
    wanted = HEADS[TASKS[name].kind]
    if not head.endswith(wanted):
        raise SourceError(
            f"the model is a {head}, but task {name!r} needs a …{wanted}: run `edgecompress finetune` first"
        )
    return TASKS[name]


def to_onnx(model: PreTrainedModel, path: Path, form: Format = Format()) -> None:
    """Write the ONNX graph of ``model``, with batch and length dynamic, to ``path``."""
    _EXPORTERS[form.backend](model, path, form.opset)


def _with_torch(model: PreTrainedModel, path: Path, opset: int) -> None:
    batch, length = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    example = torch.ones(2, 7, dtype=torch.long)
    with quiet():
        program = torch.onnx.export(
            _Logits(copy_of(model)),
            (example, example.clone()),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - the dynamo exporter always returns a program; for mypy
    name_weights(program.model)
    write(program.model, path)


def _with_optimum(model: PreTrainedModel, path: Path, opset: int) -> None:
    """Let optimum write the graph; an input for token types, which are all 0 for one text, is taken out of it."""
    require("optimum.exporters.onnx", extra="optimum")
    from optimum.exporters.onnx import onnx_export_from_model

    task = "text-classification" if type(model).__name__.endswith(HEADS["text"]) else "token-classification"
    with TemporaryDirectory(prefix="edgecompress-") as scratch, quiet():
        onnx_export_from_model(copy_of(model), Path(scratch), opset=opset, task=task, do_validation=False)
        graph = read(Path(scratch) / MODEL_FILE)
        without_token_types(graph)
        write(graph, path)


_EXPORTERS: Mapping[str, Callable[[PreTrainedModel, Path, int], None]] = {
    "torch": _with_torch,
    "optimum": _with_optimum,
}


class _Logits(nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _bytes(model: PreTrainedModel) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())
