"""Smaller numbers for an exported graph, and the check that it still says the same. No torch here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace as with_fields
from pathlib import Path

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.errors import ArtifactError, CheckError, InputError, MissingExtraError
from edgecompress.export.quiet import quiet
from edgecompress.export.schemes import SCHEMES
from edgecompress.files import new_folder
from edgecompress.records import Step
from edgecompress.runtime.predictions import Label
from edgecompress.runtime.predictor import Predictor, from_artifact


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

    On ``texts``, the share of decisions (labels of texts, tags of words) that stay the same is measured and written
    in the history.
    Raises InputError for an unknown scheme or an artifact that is quantized already, CheckError when fewer than
    ``min_agreement`` of the decisions stay: then nothing is written.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r}: choose from {', '.join(SCHEMES)}")
    if artifact.scheme != "fp32":
        raise ArtifactError(f"{artifact.folder} is already {artifact.scheme}: quantize the fp32 artifact")
    with new_folder(target, replace=replace) as draft:
        for name in artifact.checksums:
            if Path(name).name != artifact.model_file and not name.startswith(artifact.model_file):
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.folder / name, draft / name)
        _dynamic(artifact.model_path, draft / artifact.model_file, scheme)
        draft_artifact = seal(with_fields(artifact, folder=draft, scheme=scheme))
        agreement = _agreement(artifact, draft_artifact, texts)
        if agreement is not None and agreement < min_agreement:
            raise CheckError(
                f"{scheme} changes {100 * (1 - agreement):.1f} % of the decisions of {artifact.folder.name}, "
                f"{100 * (1 - min_agreement):.1f} % are allowed: nothing was written"
            )
        details = {} if agreement is None else {"agreement": round(agreement, 4), "texts": len(texts)}
        step = Step("quantize", {"scheme": scheme}, artifact.parameters, details=details, key=key)
        seal(with_fields(draft_artifact, history=(*artifact.history, step)))
    return open_artifact(target)


def _dynamic(source: Path, target: Path, scheme: str) -> None:
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError("quantizing needs onnx: pip install 'edgecompress[compress]'") from error
    row = SCHEMES[scheme]
    model = onnx.load(str(source))
    del model.graph.value_info[:]  # shapes noted by the exporter are stale once nodes are replaced
    with quiet():
        quantize_dynamic(
            model,
            str(target),
            op_types_to_quantize=list(row.operators),
            per_channel=row.per_channel,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def _agreement(old: Artifact, new: Artifact, texts: Sequence[str]) -> float | None:
    """Return the share of equal decisions (labels of texts, tags of words) on ``texts``; None without any.

    One text at a time: a dynamic scheme scales activations over the whole batch.
    """
    decisions = [_decisions(from_artifact(artifact, batch_size=1), texts) for artifact in (old, new)]
    same = [a == b for a, b in zip(*decisions, strict=True)]
    return sum(same) / len(same) if same else None


def _decisions(predictor: Predictor, texts: Sequence[str]) -> list[str]:
    found: list[str] = []
    for one in predictor(list(texts)):
        found += [one.label] if isinstance(one, Label) else [word.tag for word in one.words]
    return found
