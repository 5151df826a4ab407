"""From an artifact's float graph to the file of a scheme: rewritten, proved equal, then quantized. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecompress.artifact import Artifact
from edgecompress.errors import CheckError
from edgecompress.export.compare import Batch, batches, compare, padded, vocabulary_of
from edgecompress.export.graph import read, write
from edgecompress.export.naming import without_notes
from edgecompress.export.packed import pack_weights
from edgecompress.export.rewrite import rewrite
from edgecompress.export.schemes import Scheme
from edgecompress.export.tables import quantize_tables
from edgecompress.export.weights import WEIGHTS
from edgecompress.runtime.session import open_run, runtime_errors

CALIBRATION_TEXTS = 64
_FLOAT_BITS = 32
_EXACT, _APPROXIMATE = 1e-3, 2e-2  # of the largest logit, for a graph that was only rewritten; with a tanh Gelu


def transform(artifact: Artifact, target: Path, scheme: Scheme, texts: Sequence[Sequence[int]] = ()) -> None:
    """Write the graph of ``artifact`` to ``target`` as ``scheme`` says; ``texts`` (ids) are for calibration.

    Raises CheckError when the rewritten graph, still in floats, does not give the original's logits, or onnxruntime's
    quantizer cannot do its part.
    """
    with TemporaryDirectory(prefix=".graph-", dir=target.parent) as scratch:
        path = Path(scratch) / "model.onnx"
        model = read(artifact.model_path)
        if sum(rewrite(model, scheme.rewrites).values()):
            rewritten = path.with_name("float.onnx")
            write(model, rewritten)
            _prove(artifact, rewritten, scheme)
            model = read(rewritten)
        if scheme.tables < _FLOAT_BITS:
            quantize_tables(model, scheme.tables)
        if scheme.weights != "float":
            write(model, path)
            _quantize(artifact, path, scheme, texts)
            model = read(path)
        if scheme.packed:
            pack_weights(model)
        without_notes(model)
        write(model, target)


def _prove(artifact: Artifact, path: Path, scheme: Scheme) -> None:
    allowed = _APPROXIMATE if "fast-gelu" in scheme.rewrites else _EXACT
    found = compare(open_run(artifact.model_path), open_run(path), batches(vocabulary_of(artifact)))
    if not found.largest <= allowed:
        raise CheckError(
            f"rewriting moves the logits of {artifact.folder.name} by {found.largest:.2g} of the largest, {allowed:g} "
            f"is allowed: nothing was written, choose dynamic-int8 (no rewriting) and report this model's type"
        )


def _quantize(artifact: Artifact, path: Path, scheme: Scheme, texts: Sequence[Sequence[int]]) -> None:
    from google.protobuf.message import EncodeError

    # what onnxruntime's quantizers raise, protobuf above 2 GB, and the sessions that calibration opens
    failures = (ValueError, RuntimeError, AttributeError, KeyError, EncodeError, *runtime_errors())
    try:
        WEIGHTS[scheme.weights](path, scheme.options, calibration(artifact, texts))
    except failures as error:
        why = " ".join(str(error).split())[:200]
        raise CheckError(
            f"onnxruntime's quantizer cannot do {artifact.folder.name} ({why}): nothing was written, choose another "
            f"--scheme"
        ) from error


def calibration(artifact: Artifact, texts: Sequence[Sequence[int]]) -> list[Batch]:
    """Return the first texts (ids) as batches of one: a dynamic scheme scales activations over the whole batch."""
    return [("", *padded([ids], artifact.pad_id)) for ids in texts[:CALIBRATION_TEXTS]]
