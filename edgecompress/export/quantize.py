"""Smaller numbers for an exported graph, and the check that it still says the same. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.errors import ArtifactError, CheckError, InputError
from edgecompress.export.compare import Comparison, batches, compare, vocabulary_of
from edgecompress.export.layouts import copy_beside
from edgecompress.export.schemes import SCHEMES, Scheme
from edgecompress.export.transform import transform
from edgecompress.files import need_space, new_folder
from edgecompress.records import Step
from edgecompress.runtime.encoding import encode, open_tokenizer
from edgecompress.runtime.predictions import Label
from edgecompress.runtime.predictor import from_artifact
from edgecompress.runtime.reading import Prediction
from edgecompress.runtime.session import open_run

MAX_ERROR = 0.5  # of the logits' spread over inputs, root mean square: past it a scheme has destroyed something


def quantize(
    artifact: Artifact,
    target: Path,
    *,
    scheme: str,
    texts: Sequence[str] = (),
    min_agreement: float = 0.9,
    replace: bool = False,
    key: str = "",
) -> Artifact:
    """Write ``artifact`` in ``scheme`` to ``target`` and return it.

    Its logits are compared with the original's at several shapes and on ``texts``; on ``texts``, the share of decisions
    (labels of texts, tags of words) that stay the same is measured too. Both are written in the history.
    Raises InputError for an unknown scheme, one that needs texts without any, or an artifact that is quantized already;
    CheckError when the logits are destroyed or fewer than ``min_agreement`` of the decisions stay: then nothing is
    written.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r}: choose from {', '.join(SCHEMES)}")
    request = Request(scheme, SCHEMES[scheme], tuple(texts), min_agreement, replace, key)
    return make(artifact, target, request)


@dataclass(frozen=True)
class Request:
    """What :func:`make` shall write: ``row`` says how, ``name`` is what the artifact's scheme is called.

    ``last`` is a step to note after the quantization.
    """

    name: str
    row: Scheme
    texts: tuple[str, ...] = ()
    min_agreement: float = 0.9
    replace: bool = False
    key: str = ""
    last: Step | None = None


def make(artifact: Artifact, target: Path, request: Request) -> Artifact:
    """Write ``artifact`` to ``target`` as ``request`` says, if it passes the checks; see :func:`quantize`."""
    if artifact.scheme != "fp32":
        raise ArtifactError(f"{artifact.folder} is already {artifact.scheme}: quantize the fp32 artifact")
    if artifact.model_path.suffix != ".onnx":
        raise ArtifactError(f"{artifact.folder} is in {artifact.model_path.suffix} format: quantize the original")
    if request.row.calibrates and not request.texts:
        raise InputError(f"scheme {request.name!r} is fitted on text: give --text FILE, a hundred lines or more")
    with new_folder(target, replace=request.replace) as draft:
        need_space(draft, 4 * artifact.model_bytes)
        copy_beside(artifact, draft)
        encoded = _encoded(artifact, request.texts)
        (draft / artifact.model_file).parent.mkdir(parents=True, exist_ok=True)
        transform(artifact, draft / artifact.model_file, request.row, encoded)
        made = seal(with_fields(artifact, folder=draft, scheme=request.name))
        found, same = check(artifact, made, encoded), agreement(artifact, made, request.texts)
        if same is not None and same < request.min_agreement:
            raise CheckError(
                f"{request.name} changes {100 * (1 - same):.1f} % of the decisions of {artifact.folder.name}, "
                f"{100 * (1 - request.min_agreement):.1f} % are allowed: nothing was written"
            )
        details: dict[str, float] = {"difference": found.largest, "error": round(found.error, 5)}
        if same is not None:
            details |= {"agreement": round(same, 4), "texts": len(request.texts)}
        step = Step("quantize", {"scheme": request.name, "rewrites": list(request.row.rewrites)}, artifact.parameters,
                    details=details, key=request.key)  # fmt: skip
        after = (request.last,) if request.last else ()
        seal(with_fields(made, history=(*artifact.history, step, *after)))
    return open_artifact(target)


def check(old: Artifact, new: Artifact, texts: Sequence[Sequence[int]]) -> Comparison:
    """Compare logits at several shapes and on ``texts`` (ids). Raises CheckError where they are destroyed."""
    found = compare(open_run(old.model_path), open_run(new.model_path), batches(vocabulary_of(old), texts))
    name = new.scheme
    if not found.error <= MAX_ERROR:
        raise CheckError(
            f"{name} destroys the logits of {old.folder.name}: they are off by {found.error:.0%} of their spread, "
            f"{MAX_ERROR:.0%} is allowed: nothing was written, choose another --scheme"
        )
    return found


def _encoded(artifact: Artifact, texts: Sequence[str]) -> list[list[int]]:
    tokenizer = open_tokenizer(artifact.tokenizer_path)
    return [one.ids for one in encode(tokenizer, [(text,) for text in texts], artifact.max_length) if one.ids]


def agreement(old: Artifact, new: Artifact, texts: Sequence[str]) -> float | None:
    """Return the share of equal decisions (labels of texts, tags of words) on ``texts``; None without any.

    One text at a time: a dynamic scheme scales activations over the whole batch.
    """
    before, after = (from_artifact(artifact, batch_size=1)(list(texts)) for artifact in (old, new))
    return equal_decisions(before, after)


def equal_decisions(before: Sequence[Prediction], after: Sequence[Prediction]) -> float | None:
    """Return the share of equal labels of texts, or tags of words, of the same texts; None where there is nothing."""
    same = [a == b for a, b in zip(_decisions(before), _decisions(after), strict=True)]
    return sum(same) / len(same) if same else None


def _decisions(predictions: Sequence[Prediction]) -> list[str]:
    found: list[str] = []
    for one in predictions:
        found += [one.label] if isinstance(one, Label) else [word.tag for word in one.words]
    return found
