"""From text to labels: tokenizers, onnxruntime and numpy, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.runtime.predictions import Label, Tags
from edgecompress.runtime.reading import (
    Prediction,
    Prepared,
    all_tags,
    checked,
    checked_words,
    predictions,
    prepare,
    prepare_words,
    reading_of,
    tokenizer_of,
)
from edgecompress.runtime.running import Probabilities, graph_of, probabilities
from edgecompress.runtime.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime
    from tokenizers import Tokenizer


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
        self._graph = graph_of(session, (artifact,), batch_size)
        self._tokenizer = tokenizer
        self._reading = reading_of(artifact)
        self.artifact = artifact
        self.batch_size = self._graph.batch_size

    @overload
    def __call__(self, texts: str) -> Prediction: ...
    @overload
    def __call__(self, texts: list[str] | tuple[str, ...]) -> list[Prediction]: ...
    def __call__(self, texts: str | list[str] | tuple[str, ...]) -> Prediction | list[Prediction]:
        """Predict one text, or several. Raises TypeError for anything that is not a str or a list of them."""
        if isinstance(texts, str):
            return self._predict([texts])[0]
        return self._predict(checked(texts))

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Return the label of every text. Raises ValueError for a token task."""
        if self.artifact.task.kind != "text":
            raise ValueError(f"task {self.artifact.task.name!r} gives one label a word: use tag_words()")
        return [prediction.label for prediction in self._predict(checked(texts)) if isinstance(prediction, Label)]

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
        prepared = prepare_words(self._reading, self._tokenizer, checked_words(sentences))
        return all_tags(self.artifact, prepared, self.infer(prepared))

    async def predict_async(self, texts: Sequence[str]) -> list[Prediction]:
        """Return what calling the predictor returns; the event loop goes on while a thread works."""
        import asyncio  # here, as it takes a sixth of the time to import everything, and who calls this has it already

        return await asyncio.to_thread(self._predict, checked(texts))

    def prepare(self, texts: Sequence[str]) -> Prepared:
        """Split and tokenize texts: the first of the three steps of a prediction."""
        return prepare(self._reading, self._tokenizer, texts)

    def infer(self, prepared: Prepared) -> Probabilities:
        """Run the graph, the second step: probabilities, (labels,) a text or (its tokens, labels) for a token task."""
        return probabilities(self._graph, [one.ids for one in prepared.encoded])[0]

    def finish(self, prepared: Prepared, probabilities: Probabilities) -> list[Prediction]:
        """Turn the probabilities of :meth:`infer` into predictions, one a text: the third step."""
        return predictions(self.artifact, prepared, probabilities)

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        prepared = self.prepare(texts)
        return self.finish(prepared, self.infer(prepared))


def load(folder: Path | str, *, threads: int = 0, batch_size: int = 0) -> Predictor:
    """Open the artifact in ``folder``; see :func:`from_artifact`. Raises ArtifactError."""
    return from_artifact(open_artifact(folder), threads=threads, batch_size=batch_size)


def from_artifact(artifact: Artifact, *, threads: int = 0, batch_size: int = 0) -> Predictor:
    """Open an artifact that was checked already, on ``threads`` cores (0: all that this process may use).

    ``batch_size`` texts run at a time (0: as many as leave answers the same).

    Raises ArtifactError when its tokenizer or its graph is unusable, ValueError for a negative number.
    """
    session = open_session(artifact.model_path, threads=threads)
    return Predictor(artifact, tokenizer_of(artifact.tokenizer_path, artifact), session, batch_size)
