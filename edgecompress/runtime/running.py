"""Ids through a graph, a batch at a time, to the probabilities of each of its heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecompress.artifact import Artifact
from edgecompress.errors import ArtifactError, CheckError
from edgecompress.runtime.kernels import warn_if_saturating
from edgecompress.runtime.session import cannot_run, runtime_errors

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

BATCH = 32
_ALIKE = 1.25  # the longest of a batch over its shortest: the rest is padding
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"  # of an artifact alone
Probabilities = list["NDArray[np.float32]"]  # (labels,) a text, or (its tokens, labels) for a token task


@dataclass(frozen=True)
class Graph:
    """An opened graph with its heads, one or several; ``inputs`` are those of :data:`INPUTS` that it takes."""

    session: onnxruntime.InferenceSession
    heads: tuple[Artifact, ...]
    batch_size: int
    inputs: frozenset[str]


def graph_of(session: onnxruntime.InferenceSession, heads: Sequence[Artifact], batch_size: int = 0) -> Graph:
    """Return the graph of ``heads``, whose texts run ``batch_size`` at a time (0: as many as leave answers the same).

    Raises ArtifactError when the graph does not fit the heads, ValueError for a negative number.
    """
    size = batch_size or (1 if any(scales_over_batch(head.scheme) for head in heads) else BATCH)
    if size < 1:
        raise ValueError(f"batch_size is {size}: give a number from 1")
    for head in heads:
        _check(head, session)
    for scheme in sorted({head.scheme for head in heads}):
        warn_if_saturating(scheme)
    return Graph(session, tuple(heads), size, frozenset(node.name for node in session.get_inputs()))


def probabilities(graph: Graph, ids: Sequence[Sequence[int]]) -> list[Probabilities]:
    """Return the softmaxed logits of each head for every sequence of ids, in the given order; all heads in one run.

    Raises CheckError where the graph fails, or gives values that are not finite.
    """
    given = [one or [graph.heads[0].pad_id] for one in ids]  # a graph cannot run on, or average over, nothing
    found: list[Probabilities] = [[np.empty(0, np.float32)] * len(given) for _ in graph.heads]
    for batch in _batches([len(one) for one in given], graph.batch_size):
        for own, of_head in zip(found, _run(graph, [given[index] for index in batch]), strict=True):
            for index, logits in zip(batch, of_head, strict=True):
                own[index] = softmax(logits if logits.ndim == 1 else logits[: len(given[index])])
    return found


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield indices of what passes the graph together: at most ``most``, and no two of very unlike lengths.

    On a CPU 16 texts of mixed lengths took a fifth longer together than one at a time (a student of 26 MB), and a
    tenth less in batches of like lengths.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == most or lengths[index] > _ALIKE * lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _run(graph: Graph, batch: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Return each head's logits of one padded batch. Raises CheckError when there are none, or not finite ones."""
    shape = (len(batch), max(map(len, batch)))
    input_ids, mask = np.full(shape, graph.heads[0].pad_id, np.int64), np.zeros(shape, np.int64)
    for row, ids in enumerate(batch):
        input_ids[row, : len(ids)], mask[row, : len(ids)] = ids, 1
    feed = {name: value for name, value in zip(INPUTS, (input_ids, mask), strict=True) if name in graph.inputs}
    try:
        found: list[NDArray[np.float32]] = graph.session.run([head.output for head in graph.heads], feed)
    except runtime_errors() as error:
        raise cannot_run(graph.heads[0].model_path, shape, error) from error
    for head, logits in zip(graph.heads, found, strict=True):
        if not np.isfinite(logits).all():
            raise CheckError(f"{head.model_path} gave values that are not numbers: export the model again")
    return found


def scales_over_batch(scheme: str) -> bool:
    """Whether a scheme's activations are scaled over the whole batch, so that a text's answer depends on the others."""
    return scheme.startswith(("dynamic-", "int8", "int4"))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis, in float32, for logits of any size."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    shares: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _check(artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
    """Raise ArtifactError unless the graph takes ids (and a mask) and gives one logit a label."""
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    path, labels, output = artifact.model_path, len(artifact.labels), artifact.output
    if INPUTS[0] not in inputs or inputs - set(INPUTS):
        raise ArtifactError(f"{path} takes {', '.join(sorted(inputs))}, not {' and '.join(INPUTS)}: export again")
    if output not in outputs:
        raise ArtifactError(f"{path} gives {', '.join(outputs)}, not {output}: export again")
    rank = 2 if artifact.task.kind == "text" else 3
    shape = outputs[output]
    if len(shape) != rank or (isinstance(shape[-1], int) and shape[-1] != labels):
        raise ArtifactError(f"{path} gives {output} of shape {shape}, not {rank} axes with {labels} labels: "
                            f"export again")  # fmt: skip
