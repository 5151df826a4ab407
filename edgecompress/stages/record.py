"""How a stage writes down what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompress.corpus import HUB, Corpus, dataset_parts
from edgecompress.records import Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def record(stage: str, model: PreTrainedModel, details: Mapping[str, Any], **options: Any) -> Step:
    """Return the history entry of ``stage``, with its options as plain JSON and the model's size afterwards."""
    return Step(stage, {k: plain(v) for k, v in options.items()}, int(model.num_parameters()), details=dict(details))


def plain(value: Any) -> Any:
    """Return an option as JSON types. Files lose their folder: a history must not tell where it was made."""
    if isinstance(value, Corpus):
        named = {"datasets": [_last(name) for name in value.datasets]} if value.datasets else {}
        return {"name": value.name, "files": [path.name for path in value.files], "weight": value.weight, **named}
    if isinstance(value, Path):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _last(dataset: str) -> str:
    """Return a data set's name; of a local folder the last part alone."""
    name, configuration, column = dataset_parts(dataset)
    shown = Path(name).name if Path(name).is_dir() else name
    return HUB + ":".join(part for part in (shown, configuration, column) if part)
