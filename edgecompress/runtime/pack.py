"""Several tasks from one pass: what :mod:`edgecompress.runtime.predictor` does for an artifact, for a pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from edgecompress.pack import Pack, open_any
from edgecompress.runtime.predictions import Tags
from edgecompress.runtime.predictor import Predictor, from_artifact
from edgecompress.runtime.reading import (
    Prediction,
    Prepared,
    Reading,
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

    from edgecompress.artifact import Artifact

Predictions = Mapping[str, Prediction]  # by head
_Found = TypeVar("_Found")
_Finish = Callable[["Artifact", Prepared, Probabilities], Sequence[_Found]]


class PackPredictor:
    """An opened pack. Call it with a text for a mapping from heads to predictions, or with a list for a list of them.

    A head answers what its artifact's own predictor answers, up to rounding, in every way that
    :class:`~edgecompress.runtime.predictor.Predictor` describes. All heads come from one pass where they read the same
    ids: token tasks read words joined by spaces, and text tasks without a ``word_pattern`` the text as it is, so that
    a text whose ids differ between the two passes twice.
    """

    def __init__(
        self, pack: Pack, tokenizer: Tokenizer, session: onnxruntime.InferenceSession, batch_size: int = 0
    ) -> None:
        self._graph = graph_of(session, list(pack.heads.values()), batch_size)
        self._tokenizer = tokenizer
        self.artifact = pack
        self.batch_size = self._graph.batch_size

    @overload
    def __call__(self, texts: str) -> Predictions: ...
    @overload
    def __call__(self, texts: list[str] | tuple[str, ...]) -> list[Predictions]: ...
    def __call__(self, texts: str | list[str] | tuple[str, ...]) -> Predictions | list[Predictions]:
        """Predict one text, or several. Raises TypeError for anything that is not a str or a list of them."""
        if isinstance(texts, str):
            return self._predict([texts])[0]
        return self._predict(checked(texts))

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[Mapping[str, Tags]]:
        """Return, by token head, tags, probabilities and counts for sentences that are already split into words.

        Heads of text tasks say nothing about words. Raises ValueError for a pack without a token head.
        """
        tagging = {name: head for name, head in self.artifact.heads.items() if head.task.kind == "token"}
        if not tagging:
            raise ValueError(f"the heads {', '.join(self.artifact.heads)} give one label a text: call the predictor")
        words = checked_words(sentences)
        read = [(names, prepare_words(reading, self._tokenizer, words)) for reading, names in readings(tagging).items()]
        return self._finished(read, len(words), all_tags)

    async def predict_async(self, texts: Sequence[str]) -> list[Predictions]:
        """Return what calling the predictor returns; the event loop goes on while a thread works."""
        import asyncio  # here, as it takes a sixth of the time to import everything, and who calls this has it already

        return await asyncio.to_thread(self._predict, checked(texts))

    def _predict(self, texts: Sequence[str]) -> list[Predictions]:
        read = [
            (names, prepare(reading, self._tokenizer, texts))
            for reading, names in readings(self.artifact.heads).items()
        ]
        return self._finished(read, len(texts), predictions)

    def _finished(
        self, read: Sequence[tuple[Sequence[str], Prepared]], count: int, finish: _Finish[_Found]
    ) -> list[Mapping[str, _Found]]:
        """Run what was read, every sequence of ids once, and return what the heads make of it, by text."""
        rows: dict[tuple[int, ...], int] = {}
        for _, prepared in read:
            for one in prepared.encoded:
                rows.setdefault(tuple(one.ids), len(rows))
        shares = dict(zip(self.artifact.heads, probabilities(self._graph, list(rows)), strict=True))
        found: dict[str, Sequence[_Found]] = {}
        for names, prepared in read:
            for name in names:
                own = [shares[name][rows[tuple(one.ids)]] for one in prepared.encoded]
                found[name] = finish(self.artifact.heads[name], prepared, own)
        order = [name for name in self.artifact.heads if name in found]
        return [{name: found[name][index] for name in order} for index in range(count)]


AnyPredictor = Predictor | PackPredictor


def readings(heads: Mapping[str, Artifact]) -> dict[Reading, list[str]]:
    """Return the ways in which heads read a text, and which heads read in each."""
    alike: dict[tuple[str | None, int], list[str]] = {}
    for name, head in heads.items():
        alike.setdefault((head.word_pattern, head.max_length), []).append(name)
    return {reading_of(*(heads[name] for name in names)): names for names in alike.values()}


def load_any(folder: Path | str, *, threads: int = 0, batch_size: int = 0) -> AnyPredictor:
    """Open the artifact or the pack in ``folder``; see :func:`from_any`. Raises ArtifactError."""
    return from_any(open_any(folder), threads=threads, batch_size=batch_size)


def from_any(opened: Artifact | Pack, *, threads: int = 0, batch_size: int = 0) -> AnyPredictor:
    """Open what was checked already, on ``threads`` cores (0: all that this process may use).

    ``batch_size`` texts run at a time (0: as many as leave answers the same).
    Raises ArtifactError when its tokenizer or its graph is unusable, ValueError for a negative number.
    """
    if isinstance(opened, Pack):
        return from_pack(opened, threads=threads, batch_size=batch_size)
    return from_artifact(opened, threads=threads, batch_size=batch_size)


def from_pack(pack: Pack, *, threads: int = 0, batch_size: int = 0) -> PackPredictor:
    """Open a pack that was checked already; see :func:`from_any`."""
    session = open_session(pack.model_path, threads=threads)
    return PackPredictor(pack, tokenizer_of(pack.tokenizer_path, *pack.heads.values()), session, batch_size)
