"""How big an artifact is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompress.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgecompress.artifact import Artifact


def sizes(subjects: Mapping[str, Artifact]) -> list[Measurement]:
    """Return, for each subject, its parameter count, the bytes of its ONNX file, and the bytes of its whole folder.

    Weights that the ONNX file keeps in files beside it (``model.onnx.data``, ``model.onnx_data``) count with it.
    """
    measured = []
    for name, artifact in subjects.items():
        task = artifact.task.name
        model = artifact.model_path
        measured += [
            Measurement(name, task, "parameters", artifact.parameters, "parameters"),
            Measurement(name, task, "model_bytes", _bytes(list(model.parent.glob(f"{model.name}*"))), "bytes"),
            Measurement(name, task, "folder_bytes", _bytes(list(artifact.folder.rglob("*"))), "bytes"),
        ]
    return measured


def _bytes(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
