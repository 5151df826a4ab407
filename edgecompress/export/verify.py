"""Any two of model folder and artifact, compared: logits, decisions, padding, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompress.artifact import MANIFEST, Artifact
from edgecompress.errors import CheckError, InputError
from edgecompress.export.compare import Comparison, Run, Vocabulary, batches, compare, vocabulary_of
from edgecompress.export.schemes import UNQUANTIZED
from edgecompress.pack import Pack, open_any
from edgecompress.runtime.encoding import encode, open_tokenizer
from edgecompress.runtime.session import open_run

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOLERANCE = 1e-3  # of the largest logit, between two float32 models
PROBES = (  # what tokenizers with the same tokens cut differently: case, accents, spaces, digits, marks, other scripts
    "a", "1", "Good film, BAD Film…", "Ľudia z 3 miest (nie)!", "  dva\u00a0 biele\tznaky ", "Ġorġ ma'",
    "a\u0301 ﬁ １ 北京 🙂",
)  # fmt: skip
PLAIN = ("torch", *UNQUANTIZED)


@dataclass(frozen=True)
class Side:
    """One of the two: ``scheme`` is "torch" for a model folder, else the artifact's; ``head`` names one of a pack."""

    path: Path
    scheme: str
    run: Run
    tokenizer: Tokenizer
    words: Vocabulary
    labels: tuple[str, ...]
    artifact: Artifact | None = None
    head: str = ""

    @property
    def title(self) -> str:
        """What it is called in tables and errors."""
        return f"{self.path} ({self.head})" if self.head else str(self.path)


def verify(left: Side, right: Side, texts: Sequence[str] = ()) -> Comparison:
    """Compare the two on random ids of several shapes, and on ``texts``.

    Raises InputError when they do not have the same labels or tokens, or do not cut ``texts`` and :data:`PROBES` into
    the same ids.
    """
    if left.labels != right.labels:
        raise InputError(f"{left.title} has the labels {_few(left.labels)}, {right.title} {_few(right.labels)}: "
                         f"compare two of one task")  # fmt: skip
    longest = min(left.words.longest, right.words.longest)
    lines = [(text,) for text in (*PROBES, *texts)]
    ids, others = ([one.ids for one in encode(side.tokenizer, lines, longest)] for side in (left, right))
    tokens, same = (side.tokenizer.get_vocab(with_added_tokens=True) for side in (left, right))
    if tokens != same or ids != others:
        raise InputError(
            f"{left.title} and {right.title} do not cut texts into the same tokens: logits cannot be compared"
        )
    words = Vocabulary(left.words.size, left.words.pad, left.words.other, longest)
    return compare(left.run, right.run, batches(words, [one for one in ids[len(PROBES) :] if one]))


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
            f"{right.title} differs from {left.title} by {worst.largest:.2g} of the largest logit at {worst.where}, "
            f"{allowed:g} is allowed (--tolerance)"
        )
    if found.agreement < min_agreement:
        raise CheckError(
            f"{right.title} decides {100 * (1 - found.agreement):.1f} % otherwise than {left.title}, "
            f"{100 * (1 - min_agreement):.1f} % are allowed (--min-agreement)"
        )
    return f"largest difference {worst.largest:.1e} of the largest logit, {found.agreement:.2%} of decisions equal"


def open_pairs(first: Path, second: Path) -> list[tuple[Side, Side]]:
    """Open two to be compared, each an artifact, a pack, or a model folder (which needs torch): a pair a head.

    The heads of two packs are paired by name, and a pack beside one model gives the head that has its labels. Raises
    InputError where that leaves none or several, ArtifactError or SourceError for what cannot be opened.
    """
    left, right = (_sides(path) for path in (first, second))
    if len(left) == len(right) == 1:
        return [(left[0], right[0])]
    if len(left) > 1 and len(right) > 1:
        others = {side.head: side for side in right}
        if {side.head for side in left} != set(others):
            raise InputError(f"{first} has the heads {_heads(left)}, {second} {_heads(right)}: compare packs of the "
                             f"same heads")  # fmt: skip
        return [(side, others[side.head]) for side in left]
    pairs = [(a, b) for a in left for b in right if a.labels == b.labels]
    if len(pairs) != 1:
        several, pack = (left, first) if len(left) > 1 else (right, second)
        raise InputError(f"{pack} has the heads {_heads(several)}, of which {len(pairs)} have the labels of the other: "
                         f"compare it with an artifact that was packed, or with a pack")  # fmt: skip
    return pairs


def _heads(sides: Sequence[Side]) -> str:
    return ", ".join(side.head for side in sides)


def _sides(path: Path) -> list[Side]:
    if not (path / MANIFEST).exists() and (path / "config.json").exists():
        return [_torch_side(path)]
    opened = open_any(path)
    if isinstance(opened, Pack):
        return [replace(_side(path, head), head=name) for name, head in opened.heads.items()]
    return [_side(path, opened)]


def _side(path: Path, artifact: Artifact) -> Side:
    tokenizer = open_tokenizer(artifact.tokenizer_path)
    run = open_run(artifact.model_path, output=artifact.output)
    return Side(path, artifact.scheme, run, tokenizer, vocabulary_of(artifact), artifact.labels, artifact)


def open_side(path: Path) -> Side:
    """Open an artifact, or a model folder (which needs torch). Raises ArtifactError or SourceError."""
    (side,) = _sides(path)
    return side


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
