"""A served model: an opened artifact that has passed its self-check, and what is said about it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompress.artifact import Artifact
from edgecompress.errors import CheckError
from edgecompress.pack import Pack, heads_of, open_any
from edgecompress.runtime.pack import AnyPredictor, from_any
from edgecompress.runtime.predictions import Label, Tagged
from edgecompress.runtime.reading import Prediction
from edgecompress.serve.settings import Settings

CHECK_TEXT = "One short text, to see that it works: 1, 2, 3."
_SUM_TOLERANCE = 1e-3
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Served:
    """One generation of a model: a reload makes another one, and requests keep the one that they were accepted for."""

    name: str
    predictor: AnyPredictor
    stamp: Stamp
    loaded_at: float

    @property
    def artifact(self) -> Artifact | Pack:
        """What the predictor runs."""
        return self.predictor.artifact


def open_model(name: str, folder: Path, settings: Settings) -> Served:
    """Open the artifact or pack in ``folder`` and check it. Raises ArtifactError, or CheckError for a failed check."""
    stamp = stamp_of(folder)  # before reading: a change while we read is seen as a change afterwards
    predictor = from_any(open_any(folder), threads=settings.threads, batch_size=settings.max_batch)
    self_check(predictor)
    return Served(name, predictor, stamp, time.time())


def stamp_of(folder: Path) -> Stamp:
    """Return name, inode, size and time of change of every file: it differs after any swap or copy."""
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        seen = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    except OSError:  # a folder that is being swapped: the next look sees it whole
        return ()
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in seen)


def self_check(predictor: AnyPredictor) -> None:
    """Raise CheckError unless a short text gets finite probabilities of the artifact's own labels, from every head."""
    folder = predictor.artifact.folder
    (prediction,) = predictor([CHECK_TEXT])
    for name, head in heads_of(predictor.artifact).items():
        problem = _problem(prediction[name] if isinstance(prediction, Mapping) else prediction, head)
        if problem:
            raise CheckError(f"{folder} fails its self-check, {problem}: export it again")


def _problem(prediction: Prediction, artifact: Artifact) -> str:
    if isinstance(prediction, Label):
        labels, shares = {prediction.label, *prediction.probabilities}, list(prediction.probabilities.values())
        whole = abs(math.fsum(shares) - 1) <= _SUM_TOLERANCE
    elif isinstance(prediction, Tagged):
        labels, shares = {word.tag for word in prediction.words}, [word.probability for word in prediction.words]
        whole = bool(shares)
    if not labels <= set(artifact.labels):
        return f"the labels {sorted(labels - set(artifact.labels))} are not the artifact's"
    if not whole or not all(math.isfinite(share) and 0 <= share <= 1 + _SUM_TOLERANCE for share in shares):
        return "its probabilities are none"
    return ""


def describe(served: Served) -> Mapping[str, Any]:
    """Return what /v1/models says: names and sizes (bytes, tokens), no path of this machine."""
    opened = served.artifact
    about = (
        {"heads": {name: _describe(head) for name, head in opened.heads.items()}}
        if isinstance(opened, Pack)
        else _describe(opened)
    )
    return {
        "name": served.name,
        **about,
        "model_sha256": opened.checksums[opened.model_file],
        "loaded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(served.loaded_at)),
    }


def _describe(head: Artifact) -> Mapping[str, Any]:
    return {
        "task": head.task.name,
        "kind": head.task.kind,
        "spans": head.task.spans,
        "labels": list(head.labels),
        "max_length": head.max_length,
        "scheme": head.scheme,
        "parameters": head.parameters,
    }
