"""From text to labels: tokenizers, onnxruntime and numpy, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, overload

import numpy as np

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.errors import ArtifactError, CheckError
from edgecompress.runtime.encoding import Encoded, encode_windows, open_tokenizer
from edgecompress.runtime.predictions import Label, Tagged, Tags, Word, join_spans
from edgecompress.runtime.session import open_session
from edgecompress.words import word_offsets

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Prediction = Label | Tagged
Offsets = Sequence[tuple[int, int]]
Windows = Sequence[tuple["Encoded", "NDArray[np.float32]"]]  # of one text, each with its probabilities
BATCH = 32
_ALIKE = 1.25  # the longest of a batch over its shortest: the rest is padding
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Texts on their way: ``words`` and their ``offsets`` for token tasks. ``encoded`` holds the windows of those at
    ``filled`` (a sentence without words is not sent through the graph), ``counts`` of each.
    """

    texts: Sequence[str]
    offsets: Sequence[Offsets]
    words: Sequence[Sequence[str]]
    filled: Sequence[int]
    counts: Sequence[int]
    encoded: Sequence[Encoded]


class Predictor:
    """An opened artifact. Call it with a text for one prediction, or with a list of texts for a list of them.

    A text gets the same answer in any company, up to rounding. Texts are sorted by length, and those of like lengths
    run together, up to ``batch_size`` padded to the longest; schemes that scale activations over the whole batch
    ("int8…", "int4", "dynamic-…") run one text at a time unless ``batch_size`` says otherwise, and then probabilities
    move slightly with the company a text is in. A text longer than the model takes is read in overlapping windows, none
    of it is cut. Several threads may use one predictor.
    """

    def __init__(
        self, artifact: Artifact, tokenizer: Tokenizer, session: onnxruntime.InferenceSession, batch_size: int = 0
    ) -> None:
        batch_size = batch_size or (1 if scales_over_batch(artifact.scheme) else BATCH)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: give a number from 1")
        _check_graph(artifact, session)
        self.artifact = artifact
        self.batch_size = batch_size
        self._tokenizer = tokenizer
        self._session = session
        self._inputs = {node.name for node in session.get_inputs()}

    @overload
    def __call__(self, texts: str) -> Prediction: ...
    @overload
    def __call__(self, texts: list[str] | tuple[str, ...]) -> list[Prediction]: ...
    def __call__(self, texts: str | list[str] | tuple[str, ...]) -> Prediction | list[Prediction]:
        """Predict one text, or several. Raises TypeError for anything that is not a str or a list of them."""
        if isinstance(texts, str):
            return self._predict([texts])[0]
        return self._predict(_checked(texts))

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Return the label of every text. Raises ValueError for a token task."""
        if self.artifact.task.kind != "text":
            raise ValueError(f"task {self.artifact.task.name!r} gives one label a word: use tag_words()")
        return [prediction.label for prediction in self._predict(_checked(texts)) if isinstance(prediction, Label)]

    def tag_words(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one tag a word for sentences that are already split; see :meth:`tag`."""
        return [list(tags.tags) for tags in self.tag(sentences)]

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[Tags]:
        """Return tags, probabilities and counts for sentences that are already split into words.

        A word that the model does not see (normalised to nothing) gets probability 0.0 and the tag "O" for a task with
        spans, else "X" where the artifact has it, else the artifact's first label.
        Raises ValueError for a text task.
        """
        if self.artifact.task.kind != "token":
            raise ValueError(
                f"task {self.artifact.task.name!r} gives one label a text: call the predictor, or labels()"
            )
        prepared = self._split([_checked(sentence, "a list of words") for sentence in sentences])
        return self._all_tags(prepared, self.infer(prepared))

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        prepared = self.prepare(texts)
        return self.finish(prepared, self.infer(prepared))

    async def predict_async(self, texts: Sequence[str]) -> list[Prediction]:
        """Return what calling the predictor returns; the event loop goes on while a thread works."""
        return await asyncio.to_thread(self._predict, _checked(texts))

    def prepare(self, texts: Sequence[str]) -> Prepared:
        """Split and tokenize texts: the first of the three steps of a prediction."""
        if self.artifact.task.kind == "text":
            return self._encoded(texts, (), [(text,) for text in texts], range(len(texts)))
        pattern = self.artifact.word_pattern or ""  # open_artifact and seal refuse a token artifact without one
        offsets = [word_offsets(pattern, text) for text in texts]
        words = [[text[start:end] for start, end in spans] for text, spans in zip(texts, offsets, strict=True)]
        return self._split(words, texts, offsets)

    def infer(self, prepared: Prepared) -> list[NDArray[np.float32]]:
        """Run the graph, the second step: probabilities, (labels,) a text or (its tokens, labels) for a token task."""
        return self._probabilities(prepared.encoded)

    def finish(self, prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        """Turn the probabilities of :meth:`infer` into predictions, one a text: the third step."""
        if self.artifact.task.kind == "text":
            return [self._one_label(own) for own in _grouped(prepared, probabilities)]
        return list(self._tagged(prepared, self._all_tags(prepared, probabilities)))

    def _split(
        self, words: Sequence[Sequence[str]], texts: Sequence[str] = (), offsets: Sequence[Offsets] = ()
    ) -> Prepared:
        return self._encoded(texts, offsets, words, [index for index, one in enumerate(words) if one])

    def _encoded(
        self, texts: Sequence[str], offsets: Sequence[Offsets], words: Sequence[Sequence[str]], filled: Sequence[int]
    ) -> Prepared:
        windows = encode_windows(self._tokenizer, [words[index] for index in filled], self.artifact.max_length)
        counts = [len(own) for own in windows]
        return Prepared(texts, offsets, words, filled, counts, [one for own in windows for one in own])

    def _one_label(self, windows: Windows) -> Label:
        scores = windows[0][1]
        if len(windows) > 1:
            scores = np.average([p for _, p in windows], axis=0, weights=[len(one.ids) for one, _ in windows])
        best = int(scores.argmax())
        named = dict(zip(self.artifact.labels, scores.tolist(), strict=True))
        return Label(self.artifact.labels[best], float(scores[best]), named, len(windows))

    def _tagged(self, prepared: Prepared, all_tags: Sequence[Tags]) -> Iterator[Tagged]:
        for text, spans, words, tags in zip(prepared.texts, prepared.offsets, prepared.words, all_tags, strict=True):
            rows = zip(words, tags.tags, tags.probabilities, spans, strict=True)
            tagged = tuple(Word(word, tag, probability, *span) for word, tag, probability, span in rows)
            yield Tagged(tagged, join_spans(text, tagged) if self.artifact.task.spans else (), tags.windows)

    def _all_tags(self, prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]) -> list[Tags]:
        tags = [Tags((), (), 0)] * len(prepared.words)
        for index, windows in zip(prepared.filled, _grouped(prepared, probabilities), strict=True):
            tags[index] = self._tags(windows)
        return tags

    def _tags(self, windows: Windows) -> Tags:
        best = [
            None if at is None else _best(self.artifact.labels, scores[at])
            for one, scores in windows
            for at in one.first
        ]
        found = [(unseen_tag(self.artifact), 0.0) if pair is None else pair for pair in best]
        return Tags(tuple(t for t, _ in found), tuple(p for _, p in found), best.count(None), len(windows))

    def _probabilities(self, encoded: Sequence[Encoded]) -> list[NDArray[np.float32]]:
        """Return softmaxed logits, in the given order."""
        ids = [one.ids or [self.artifact.pad_id] for one in encoded]  # a graph cannot run on, or average over, nothing
        results: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(ids)
        for batch in self._batches([len(one) for one in ids]):
            for index, logits in zip(batch, self._run([ids[index] for index in batch]), strict=True):
                results[index] = softmax(logits if logits.ndim == 1 else logits[: len(ids[index])])
        return results

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield indices of what passes the graph together: at most ``batch_size``, and no two of very unlike lengths.

        On a CPU 16 texts of mixed lengths took a fifth longer together than one at a time (a student of 26 MB), and a
        tenth less in batches of like lengths.
        """
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lengths.__getitem__):
            if batch and (len(batch) == self.batch_size or lengths[index] > _ALIKE * lengths[batch[0]]):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _run(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the logits of one padded batch. Raises CheckError when they are not finite."""
        shape = (len(batch), max(map(len, batch)))
        input_ids, mask = np.full(shape, self.artifact.pad_id, np.int64), np.zeros(shape, np.int64)
        for row, ids in enumerate(batch):
            input_ids[row, : len(ids)], mask[row, : len(ids)] = ids, 1
        feed = {name: value for name, value in zip(INPUTS, (input_ids, mask), strict=True) if name in self._inputs}
        logits: NDArray[np.float32] = self._session.run([OUTPUT], feed)[0]
        if not np.isfinite(logits).all():
            raise CheckError(f"{self.artifact.model_path} gave values that are not numbers: export the model again")
        return logits


def load(folder: Path | str, *, threads: int = 0, batch_size: int = 0) -> Predictor:
    """Open the artifact in ``folder``; see :func:`from_artifact`. Raises ArtifactError."""
    return from_artifact(open_artifact(folder), threads=threads, batch_size=batch_size)


def from_artifact(artifact: Artifact, *, threads: int = 0, batch_size: int = 0) -> Predictor:
    """Open an artifact that was checked already, on ``threads`` cores (0: all that this process may use).

    ``batch_size`` texts run at a time (0: as many as leave answers the same).

    Raises ArtifactError when its tokenizer or its graph is unusable, ValueError for a negative number.
    """
    session = open_session(artifact.model_path, threads=threads)
    return Predictor(artifact, open_tokenizer(artifact.tokenizer_path), session, batch_size)


def unseen_tag(artifact: Artifact) -> str:
    """Return the tag of a word that the model does not see."""
    if artifact.task.spans:
        return "O"
    return "X" if "X" in artifact.labels else artifact.labels[0]


def scales_over_batch(scheme: str) -> bool:
    """Whether a scheme's activations are scaled over the whole batch, so that a text's answer depends on the others."""
    return scheme.startswith(("dynamic-", "int8", "int4"))


def _grouped(prepared: Prepared, probabilities: Sequence[NDArray[np.float32]]) -> Iterator[Windows]:
    """Yield the windows of each text with their probabilities."""
    pairs = zip(prepared.encoded, probabilities, strict=True)
    for count in prepared.counts:
        yield list(islice(pairs, count))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis, in float32, for logits of any size."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    shares: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _best(labels: Sequence[str], scores: NDArray[np.float32]) -> tuple[str, float]:
    best = int(scores.argmax())
    return labels[best], float(scores[best])


def _checked(texts: Sequence[str], allowed: str = "a str or a list of str") -> list[str]:
    """Return the texts as a list. Raises TypeError when they are not texts, or are one text."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise TypeError(f"expected {allowed}, got {type(texts).__name__}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected {allowed}, got {type(text).__name__} at index {index}")
    return list(texts)


def _check_graph(artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
    """Raise ArtifactError unless the graph takes ids (and a mask) and gives one logit a label."""
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    path, labels = artifact.model_path, len(artifact.labels)
    if INPUTS[0] not in inputs or inputs - set(INPUTS):
        raise ArtifactError(f"{path} takes {', '.join(sorted(inputs))}, not {' and '.join(INPUTS)}: export again")
    if OUTPUT not in outputs:
        raise ArtifactError(f"{path} gives {', '.join(outputs)}, not {OUTPUT}: export again")
    rank = 2 if artifact.task.kind == "text" else 3
    shape = outputs[OUTPUT]
    if len(shape) != rank or (isinstance(shape[-1], int) and shape[-1] != labels):
        raise ArtifactError(f"{path} gives logits of shape {shape}, not {rank} axes with {labels} labels: export again")
