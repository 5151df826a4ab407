"""How a stage writes down what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompress.corpus import Corpus
from edgecompress.records import Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def record(stage: str, model: PreTrainedModel, details: Mapping[str, Any], **options: Any) -> Step:
    """Return the history entry of ``stage``, with its options as plain JSON and the model's size afterwards."""
    return Step(stage, {k: plain(v) for k, v in options.items()}, int(model.num_parameters()), details=dict(details))


def plain(value: Any) -> Any:
    """Return an option as JSON types. Files lose their folder: a history must not tell where it was made."""
    if isinstance(value, Corpus):
        return {"name": value.name, "files": [path.name for path in value.files], "weight": value.weight}
    if isinstance(value, Path):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
