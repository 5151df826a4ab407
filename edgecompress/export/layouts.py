"""An artifact's files arranged as other hosts expect them; it stays an artifact. No torch here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace as with_fields
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.errors import CheckError, InputError
from edgecompress.export.compare import batches, compare, vocabulary_of
from edgecompress.export.schemes import UNQUANTIZED
from edgecompress.files import new_folder
from edgecompress.records import Step
from edgecompress.runtime.session import open_run

OPERATORS = "required_operators.config"
_CONVERTER = "onnxruntime.tools.convert_onnx_models_to_ort"
TOLERANCE = (
    0.02  # of the largest logit: ORT format fixes the fusions, and a quantized model rounds otherwise after them
)


def convert(artifact: Artifact, target: Path, *, layout: str, replace: bool = False) -> Artifact:
    """Write ``artifact`` to ``target`` in another layout and return it.

    optimum: ``model.onnx`` beside ``config.json`` (what an export writes). transformers.js: ``onnx/model.onnx``, or
    ``onnx/model_quantized.onnx`` for a quantized one. ort: ``model.ort``, optimized, and ``required_operators.config``,
    from which a reduced onnxruntime is built. Raises InputError for another layout, CheckError when the converted file
    does not give the same logits.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: choose from {', '.join(LAYOUTS)}")
    with new_folder(target, replace=replace) as draft:
        copy_beside(artifact, draft)
        model_file = LAYOUTS[layout](artifact, draft)
        step = Step("convert", {"layout": layout}, artifact.parameters)
        made = seal(with_fields(artifact, folder=draft, model_file=model_file, history=(*artifact.history, step)))
        _check(artifact, made)
    return open_artifact(target)


def copy_beside(artifact: Artifact, folder: Path) -> None:
    """Copy everything of the artifact but its graph and what belongs to the graph."""
    for name in artifact.checksums:
        if not name.startswith(artifact.model_file) and PurePosixPath(name).name != OPERATORS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.folder / name, folder / name)


def _check(old: Artifact, new: Artifact) -> None:
    found = compare(open_run(old.model_path), open_run(new.model_path), batches(vocabulary_of(old)))
    if found.largest > TOLERANCE:
        raise CheckError(
            f"the converted {old.folder.name} differs by {found.largest:.2g} of the largest logit, {TOLERANCE:g} is "
            f"allowed: nothing was written"
        )


def _optimum(artifact: Artifact, folder: Path) -> str:
    return _moved(artifact, folder, "model.onnx")


def _transformers_js(artifact: Artifact, folder: Path) -> str:
    return _moved(artifact, folder, f"onnx/model{'' if artifact.scheme in UNQUANTIZED else '_quantized'}.onnx")


def _moved(artifact: Artifact, folder: Path, model_file: str) -> str:
    """Copy the graph under another name. Raises InputError where that cannot be."""
    source = artifact.model_path
    _check_one_file(artifact)
    (folder / model_file).parent.mkdir(exist_ok=True)
    shutil.copyfile(source, folder / model_file)
    return model_file


def _check_one_file(artifact: Artifact) -> None:
    """Raise InputError for ORT format, or weights beside the graph."""
    source = artifact.model_path
    if source.suffix != ".onnx":
        raise InputError(f"{artifact.folder} is in ORT format, which cannot be turned back: convert the original")
    if [path for path in source.parent.glob(f"{source.name}?*") if path.is_file()]:
        raise InputError(f"{artifact.folder} keeps its weights in files of their own: quantize it first")


def _ort(artifact: Artifact, folder: Path) -> str:
    """Convert with onnxruntime's own tool, in a process of its own: it prints, and is told by the environment."""
    _check_one_file(artifact)
    with TemporaryDirectory(prefix="edgecompress-") as scratch:
        given = Path(scratch) / "model.onnx"
        shutil.copyfile(artifact.model_path, given)
        words = [sys.executable, "-m", _CONVERTER, str(given), "--output_dir", scratch, "--optimization_style", "Fixed"]
        # "extended": without the layouts that only the converting CPU would like
        environment = {**os.environ, "ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL": "extended"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        made, operators = list(Path(scratch).glob("*.ort")), list(Path(scratch).glob("*.config"))
        if done.returncode or not (made and operators):
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise CheckError(f"onnxruntime could not convert {artifact.folder.name} to ORT format: {why}")
        shutil.copyfile(made[0], folder / "model.ort")
        shutil.copyfile(operators[0], folder / OPERATORS)
    return "model.ort"


LAYOUTS: Mapping[str, Callable[[Artifact, Path], str]] = {
    "optimum": _optimum,
    "transformers.js": _transformers_js,
    "ort": _ort,
}
