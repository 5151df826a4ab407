"""Compress multilingual encoders into small, checked ONNX students, and serve them without torch.

>>> import edgecompress
>>> predict = edgecompress.load("out/slovak-ner")   # a folder that `edgecompress run` wrote    # doctest: +SKIP
>>> predict("Ján býva v Košiciach.").spans                                                      # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from edgecompress.runtime.pack import AnyPredictor

__all__ = ["__version__", "load"]

__version__ = "0.1.0"  # a test holds it equal to pyproject.toml; reading the metadata would cost every command 10 ms

# Builds of onnxruntime from 1.32 on report their use to their maker over the network, and keep files and a thread for
# it, unless this is set before they are imported. Set it to 0 to let them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(folder: Path | str, *, threads: int = 0, batch_size: int = 0) -> AnyPredictor:
    """Open the artifact or pack in ``folder`` for prediction on ``threads`` cores (0: all that this process may use).

    ``batch_size`` texts run at a time (0: as many as leave answers the same).

    Raises ArtifactError when the folder is incomplete, changed or foreign.
    """
    from edgecompress.runtime import pack  # brings numpy and onnxruntime, which `import edgecompress` must not

    return pack.load_any(folder, threads=threads, batch_size=batch_size)
