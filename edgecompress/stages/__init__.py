"""The stages a recipe is made of: plain functions ``(bundle, *, options) -> Bundle``, one file each.

A stage's signature is its schema: the recipe and the command line are checked against it, and its docstring is the
command's help. To add a stage, write the function and add its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgecompress.stages.adapt import adapt
from edgecompress.stages.distill import distill
from edgecompress.stages.finetune import finetune
from edgecompress.stages.prune import prune
from edgecompress.stages.trim import trim
from edgecompress.stages.truncate import truncate

if TYPE_CHECKING:
    from edgecompress.encoder.bundle import Bundle


@dataclass(frozen=True)
class Stage:
    """``run`` does the work; ``sizes`` names the options that set the size of an axis, for plans and early checks."""

    run: Callable[..., Bundle]
    sizes: Mapping[str, str] = field(default_factory=dict)  # option → axis


STAGES: Mapping[str, Stage] = {
    "trim": Stage(trim, {"size": "vocab"}),
    "adapt": Stage(adapt),
    "distill": Stage(distill, {"layers": "layers"}),
    "prune": Stage(prune, {"ffn": "ffn", "heads": "heads"}),
    "truncate": Stage(truncate, {"hidden": "hidden", "heads": "heads"}),
    "finetune": Stage(finetune),
}
