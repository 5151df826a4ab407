"""Any two of model folder and artifact, compared: logits, decisions, padding, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompress.artifact import MANIFEST, Artifact, open_artifact
from edgecompress.errors import CheckError, InputError
from edgecompress.export.compare import Comparison, Run, Vocabulary, batches, compare, vocabulary_of
from edgecompress.export.schemes import UNQUANTIZED
from edgecompress.runtime.encoding import encode, open_tokenizer
from edgecompress.runtime.session import open_run

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOLERANCE = 1e-3  # of the largest logit, between two float32 models
PLAIN = ("torch", *UNQUANTIZED)


@dataclass(frozen=True)
class Side:
    """One of the two: ``scheme`` is "torch" for a model folder, else the artifact's."""

    path: Path
    scheme: str
    run: Run
    tokenizer: Tokenizer
    words: Vocabulary
    labels: tuple[str, ...]
    artifact: Artifact | None = None


def verify(left: Side, right: Side, texts: Sequence[str] = ()) -> Comparison:
    """Compare the two on random ids of several shapes, and on ``texts``.

    Raises InputError when they do not have the same labels or do not cut the same texts into the same ids.
    """
    if left.labels != right.labels:
        raise InputError(f"{left.path} has the labels {_few(left.labels)}, {right.path} {_few(right.labels)}: compare "
                         f"two of one task")  # fmt: skip
    longest = min(left.words.longest, right.words.longest)
    lines = [(text,) for text in texts or ("a", "1")]
    ids, others = ([one.ids for one in encode(side.tokenizer, lines, longest)] for side in (left, right))
    if left.words.size != right.words.size or ids != others:
        raise InputError(
            f"{left.path} and {right.path} do not cut texts into the same tokens: logits cannot be compared"
        )
    words = Vocabulary(left.words.size, left.words.pad, left.words.other, longest)
    return compare(left.run, right.run, batches(words, [one for one in ids if one] if texts else []))


def judge(left: Side, right: Side, found: Comparison, tolerance: float | None, min_agreement: float) -> str:
    """Return what is proved, in one line. Raises CheckError past the tolerance, or below the agreement.

    Without a tolerance, 1e-3 of the largest logit is allowed between float32 models, and any difference where one is
    quantized: then the agreement decides.
    """
    plain = left.scheme in PLAIN and right.scheme in PLAIN
    allowed = TOLERANCE if tolerance is None and plain else tolerance
    worst = max(found.rows, key=lambda row: row.largest)
    if allowed is not None and not worst.largest <= allowed:
        raise CheckError(
            f"{right.path} differs from {left.path} by {worst.largest:.2g} of the largest logit at {worst.where}, "
            f"{allowed:g} is allowed (--tolerance)"
        )
    if found.agreement < min_agreement:
        raise CheckError(
            f"{right.path} decides {100 * (1 - found.agreement):.1f} % otherwise than {left.path}, "
            f"{100 * (1 - min_agreement):.1f} % are allowed (--min-agreement)"
        )
    return f"largest difference {worst.largest:.1e} of the largest logit, {found.agreement:.2%} of decisions equal"


def open_side(path: Path) -> Side:
    """Open an artifact, or a model folder (which needs torch). Raises ArtifactError or SourceError."""
    if (path / MANIFEST).exists() or not (path / "config.json").exists():
        artifact = open_artifact(path)
        tokenizer = open_tokenizer(artifact.tokenizer_path)
        words = vocabulary_of(artifact)
        return Side(path, artifact.scheme, open_run(artifact.model_path), tokenizer, words, artifact.labels, artifact)
    return _torch_side(path)


def _torch_side(path: Path) -> Side:
    from edgecompress.encoder import sources
    from edgecompress.export.parity import torch_run
    from edgecompress.export.parity import vocabulary_of as of_bundle

    bundle = sources.load(str(path))
    config = bundle.model.config
    if not type(bundle.model).__name__.endswith(("ForSequenceClassification", "ForTokenClassification")):
        raise InputError(f"{path} is a {type(bundle.model).__name__}: give a fine-tuned model, which has labels")
    labels = tuple(config.id2label[i] for i in range(config.num_labels))
    tokenizer = bundle.tokenizer.backend_tokenizer
    return Side(path, "torch", torch_run(bundle), tokenizer, of_bundle(bundle), labels)


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:4]) + (f", … ({len(labels)})" if len(labels) > 4 else "")  # noqa: PLR2004
