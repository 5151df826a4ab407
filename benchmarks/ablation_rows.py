"""The rows of benchmarks/ablations.py: what each one changes of the recipe that it starts from, and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from students import Entry, name_of, shipped

SHIPPED = {"paper": "paper-e5-small", "default": "e5-small-slk"}


@dataclass(frozen=True)
class Variant:
    """One row: the ``choice`` that is changed, to which ``value``; ``changes``: options of stages, by the stage's name
    (dictionaries among them are merged); where the student's weights come from; when the vocabulary is trimmed.
    """

    choice: str
    value: str
    changes: Mapping[str, Entry] = field(default_factory=dict)
    start: Literal["cut", "random"] = "cut"
    trim: Literal["first", "last"] = "first"
    chained: bool = False


def _objective(**weights: Any) -> dict[str, Entry]:
    return {"distill": {"objective": weights}}


PAPER: Mapping[str, Variant] = {
    "base": Variant("reference", "stride, MSE, α 0.5, adapted, trimmed first; logits at the masked positions alone"),
    "stride-first": Variant(
        "start", "every other layer from the first on, as the paper has it", {"distill": {"select": "stride-first"}}
    ),
    "first": Variant("start", "first layers", {"distill": {"select": "first-k"}}),
    "last": Variant("start", "last layers", {"distill": {"select": "last-k"}}),
    "random": Variant("start", "random weights", start="random"),
    "kl": Variant("loss", "KL", _objective(logits_loss="kl")),
    "everywhere": Variant("logits", "at every position, as the paper has them", _objective(logits_at="all")),
    "alpha-0": Variant("α", "0 (logits alone)", _objective(mlm=0.0, logits=1.0)),
    "alpha-25": Variant("α", "0.25", _objective(mlm=0.25, logits=0.75)),
    "alpha-75": Variant("α", "0.75", _objective(mlm=0.75, logits=0.25)),
    "alpha-100": Variant("α", "1 (masked LM alone)", _objective(mlm=1.0, logits=0.0)),
    "frozen": Variant("teacher", "not adapted", {"adapt": {"encoder": "frozen"}}),
    "trim-last": Variant("trim", "last", trim="last"),
    "undistilled": Variant("none", "layers cut, no distillation", {"distill": {"training": {"steps": 0}}}),
}
MODERATE = {"truncate": {"hidden": 276, "heads": 12}}
DEFAULT: Mapping[str, Variant] = {
    "default": Variant("the default's", "principal directions, heads aligned, stride, one distillation"),
    "default-activation": Variant("hidden size", "largest activations", {"truncate": {"method": "activation"}}),
    "default-first-k": Variant("hidden size", "first 156, norms as they were", {"truncate": {"method": "first-k"}}),
    "default-276": Variant("hidden size", "276, as at moderate compression", MODERATE),
    "default-276-first": Variant(
        "hidden size, layers", "276, the first layers", {**MODERATE, "distill": {"select": "first-k"}}
    ),
    "default-heads": Variant("attention", "first 156 places, across heads", {"truncate": {"attention": "first-k"}}),
    "default-first": Variant("layers", "first", {"distill": {"select": "first-k"}}),
    "default-last": Variant("layers", "last", {"distill": {"select": "last-k"}}),
    "default-random": Variant("start", "random weights", start="random"),
    "default-chained": Variant("distillations", "two, half as long: layers first, then width", chained=True),
    "default-states": Variant("loss", "hidden states alone", _objective(relations=0.0)),
    "default-relations": Variant("loss", "relations alone", _objective(hidden=0.0)),
    "default-undistilled": Variant("none", "cut, no distillation", {"distill": {"training": {"steps": 0}}}),
}
VARIANTS: Mapping[str, Variant] = {**PAPER, **DEFAULT}


def recipe_of(name: str) -> str:
    """Return the folder in models/ of the recipe that a row starts from."""
    return SHIPPED["paper" if name in PAPER else "default"]


def stages(name: str, steps: int) -> tuple[list[Entry], list[Entry]]:
    """Return the stages up to the teacher, which many rows share, and those of the row's student."""
    of = {name_of(entry): entry for entry in reversed(shipped(recipe_of(name))["stages"])}
    return (_of_paper if name in PAPER else _of_default)(name, VARIANTS[name], of, steps)


def _of_paper(name: str, variant: Variant, of: Mapping[str, Entry], steps: int) -> tuple[list[Entry], list[Entry]]:
    changed = variant.changes.get("adapt", {})
    adapted = "-".join(["adapt", *changed.values(), *(["whole"] if variant.trim == "last" else [])])
    adapt = _changed(_changed(of["adapt"], {"name": adapted, "training": {"steps": steps}}), changed)
    other = {"select": "stride", "objective": {"logits_at": "masked"}}  # where the first row is not the recipe
    own = {"name": f"distill-{name}", "from": adapted, "training": {"steps": steps}, **other}
    distill = _changed(_changed(of["distill"], own), variant.changes.get("distill", {}))
    if variant.trim == "last":
        return [adapt], [distill, {**of["trim"], "name": "trimmed-last"}]
    return [of["trim"], adapt], [distill]


def _of_default(name: str, variant: Variant, of: Mapping[str, Entry], steps: int) -> tuple[list[Entry], list[Entry]]:
    """Return them: the FFN is pruned alike for all rows but the one that takes layers out first."""
    cuts = [
        _changed(of["prune"], {"from": "trim"}),
        _changed(of["truncate"], {"name": f"truncate-{name}", **variant.changes.get("truncate", {})}),
    ]
    own = {"name": f"distill-{name}", "training": {"steps": steps}}
    distill = _changed(_changed(of["distill"], own), variant.changes.get("distill", {}))
    if not variant.chained:
        return [of["trim"]], [*cuts, distill]
    half = _changed(distill, {"training": {"steps": steps // 2}})
    layers = {**half, "name": f"layers-{name}", "from": "trim"}
    cuts[0] = {**cuts[0], "name": f"prune-{name}", "from": layers["name"]}
    return [of["trim"]], [layers, *cuts, {key: value for key, value in half.items() if key != "layers"}]


def _changed(entry: Entry, changes: Mapping[str, Any]) -> Entry:
    """Return a stage with options in place of its own; options of options are merged."""
    merged = {key: {**entry.get(key, {}), **value} for key, value in changes.items() if isinstance(value, dict)}
    return {**entry, **changes, **merged}
