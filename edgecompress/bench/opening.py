"""Opening a subject in the process that runs it: each kind becomes a session, and with labels a predictor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompress.artifact import TOKENIZER_FILE, Artifact, open_artifact
from edgecompress.bench.subjects import Target
from edgecompress.errors import ArtifactError, InputError
from edgecompress.runtime.encoding import open_tokenizer
from edgecompress.runtime.predictor import Predictor
from edgecompress.runtime.running import INPUTS
from edgecompress.runtime.session import open_session
from edgecompress.tasks import TASKS
from edgecompress.words import DEFAULT_WORD_PATTERN

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

_TYPES = "token_type_ids"
_SMALL_VOCABULARY = 32  # ids below this exist in every model
_ANY_LENGTH = 1 << 30
_SHIFTED = ("roberta", "xlm-roberta", "camembert")  # their positions start after the padding id


@dataclass(frozen=True)
class How:
    """``threads`` from 1; ``device`` "cpu" or "cuda"; ``dtype`` of a torch model's weights and arithmetic."""

    threads: int = 1
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Opened:
    """``session`` runs ids and mask; ``artifact`` says how texts become them and logits become labels, None for a file
    with nothing beside it.
    """

    session: Any
    vocabulary: int
    artifact: Artifact | None
    tokenizer: Tokenizer | None

    def predictor(self, batch: int) -> Predictor:
        """Return what turns texts into predictions, ``batch`` at a time (0: as it is served).

        Raises InputError without labels.
        """
        if self.artifact is None or self.tokenizer is None:
            raise InputError(
                "a score, or the time for real texts, needs the tokenizer.json and the config.json with labels beside "
                "the ONNX file: put them there, or measure fixed lengths alone"
            )
        return Predictor(self.artifact, self.tokenizer, self.session, batch)


def open_target(target: Target, how: How) -> Opened:
    """Open ``target``. Raises ArtifactError or SourceError for what cannot be opened."""
    return _OPENERS[target.kind](target, how)


def _artifact(target: Target, how: How) -> Opened:
    artifact = open_artifact(target.path)
    tokenizer = open_tokenizer(artifact.tokenizer_path)
    session = open_session(artifact.model_path, threads=how.threads, device=how.device)
    return Opened(session, known_ids(tokenizer), artifact, tokenizer)


def _onnx(target: Target, how: How) -> Opened:
    session = open_session(target.path, threads=how.threads, device=how.device)
    _check_inputs(session)
    tokenizer = tokenizer_beside(target.path)
    return Opened(_OneText(session), known_ids(tokenizer), _described(target), tokenizer)


def _torch(target: Target, how: How) -> Opened:
    from edgecompress.export.torch_session import open_torch

    return open_torch(target, how)


_OPENERS: Mapping[str, Callable[[Target, How], Opened]] = {"artifact": _artifact, "onnx": _onnx, "torch": _torch}


def _described(target: Target) -> Artifact | None:
    """Return what the config.json beside somebody else's ONNX file says, None without labels or a task."""
    path = target.path.with_name("config.json")
    if not path.is_file() or not target.task:
        return None
    try:
        return from_config(json.loads(path.read_text(encoding="utf-8")), target)
    except (ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} is not a model's configuration ({error}): restore it") from error


def from_config(config: Mapping[str, Any], target: Target, *, max_length: int = 0) -> Artifact | None:
    """Describe a model by its transformers configuration; None where that names no labels."""
    names = config.get("id2label") or {}
    if not names:
        return None
    task, pad = TASKS[target.task], int(config.get("pad_token_id") or 0)
    shift = pad + 1 if config.get("model_type") in _SHIFTED else 0
    longest = int(config.get("max_position_embeddings") or _ANY_LENGTH) - shift
    return Artifact(
        folder=target.path if target.path.is_dir() else target.path.parent,
        task=task,
        labels=tuple(names[key] for key in sorted(names, key=int)),
        max_length=max_length or longest,
        scheme="",
        parameters=0,
        pad_id=pad,
        word_pattern=DEFAULT_WORD_PATTERN if task.kind == "token" else None,
        model_file=target.path.name,
    )


class _OneText:
    """A session that is fed token types as well, all 0, where its graph wants them."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._wanted = {node.name for node in session.get_inputs()}

    def get_inputs(self) -> list[Any]:
        """Those that a text gives."""
        return [node for node in self._session.get_inputs() if node.name in INPUTS]

    def get_outputs(self) -> list[Any]:
        """Those of the graph."""
        return list(self._session.get_outputs())

    def run(self, outputs: Any, feed: dict[str, Any]) -> Any:
        """Run the graph."""
        types = {_TYPES: np.zeros_like(feed[INPUTS[0]])}
        return self._session.run(outputs, {k: v for k, v in {**types, **feed}.items() if k in self._wanted})


def ids_of(opened: Opened, shape: tuple[int, int]) -> dict[str, Any]:
    """Return random ids of this (batch, length), all attended to, for the inputs that the session wants."""
    return random_feed(opened.session, opened.vocabulary, shape)


def random_feed(session: Any, vocabulary: int, shape: tuple[int, int]) -> dict[str, Any]:
    """Return random ids below ``vocabulary``, all attended to and of one text, for the inputs that ``session`` wants.

    Raises ArtifactError for a session that wants other inputs than an encoder's.
    """
    _check_inputs(session)
    ids = np.random.default_rng(0).integers(0, vocabulary, shape, np.int64)
    known = {INPUTS[0]: ids, INPUTS[1]: np.ones(shape, np.int64), _TYPES: np.zeros(shape, np.int64)}
    return {node.name: known[node.name] for node in session.get_inputs()}


def _check_inputs(session: Any) -> None:
    if unknown := sorted({node.name for node in session.get_inputs()} - {*INPUTS, _TYPES}):
        raise ArtifactError(f"a graph to be timed takes {', '.join(unknown)}: give an encoder's ONNX file")


def tokenizer_beside(path: Path) -> Tokenizer | None:
    """Open the ``tokenizer.json`` in the folder of an ONNX file; None without one. Raises ArtifactError."""
    words = path.with_name(TOKENIZER_FILE)
    return open_tokenizer(words) if words.is_file() else None


def known_ids(tokenizer: Tokenizer | None) -> int:
    """Return how many ids a model knows at least, by its tokenizer."""
    return int(tokenizer.get_vocab_size()) if tokenizer else _SMALL_VOCABULARY


def longest(opened: Opened) -> int:
    """Return how many tokens the subject takes, as far as that is known."""
    return opened.artifact.max_length if opened.artifact else _ANY_LENGTH
