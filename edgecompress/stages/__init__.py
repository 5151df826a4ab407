"""The stages a recipe is made of: plain functions ``(bundle, *, options) -> Bundle``, one file each.

A stage's signature is its schema: the recipe and the command line are checked against it, and its docstring is the
command's help. To add a stage, write the function and add its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgecompress.stages.adapt import adapt
from edgecompress.stages.adapt import check as check_adapt
from edgecompress.stages.distill import distill
from edgecompress.stages.finetune import check as check_finetune
from edgecompress.stages.finetune import finetune
from edgecompress.stages.multitask import check as check_multitask
from edgecompress.stages.multitask import multitask
from edgecompress.stages.prune import prune
from edgecompress.stages.trim import trim
from edgecompress.stages.truncate import truncate

if TYPE_CHECKING:
    from edgecompress.encoder.bundle import Bundle


@dataclass(frozen=True)
class Stage:
    """``run`` does the work; ``sizes`` names the options that set the size of an axis, for plans and early checks;
    ``check`` yields what is wrong with options that fit the signature.
    """

    run: Callable[..., Bundle]
    sizes: Mapping[str, str] = field(default_factory=dict)  # option → axis
    check: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _given: ()


STAGES: Mapping[str, Stage] = {
    "trim": Stage(trim, {"size": "vocab"}),
    "adapt": Stage(adapt, check=check_adapt),
    "distill": Stage(distill, {"layers": "layers"}),
    "prune": Stage(prune, {"ffn": "ffn", "heads": "heads"}),
    "truncate": Stage(truncate, {"hidden": "hidden", "heads": "heads"}),
    "multitask": Stage(multitask, check=check_multitask),
    "finetune": Stage(finetune, check=check_finetune),
}
