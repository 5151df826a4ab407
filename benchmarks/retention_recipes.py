"""The recipes of retention.py's rows: the shipped ones, at the paper's widths, under names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from students import Entry, name_of, shipped

LANGUAGES = ("mlt", "slk", "swh")
RECIPES = ("teacher", "default", "paper", "distilled", "taught", "cut-only", "scratch")
UNTRAINED: Mapping[str, tuple[str, ...]] = {  # stages that learn nothing of a teacher
    "cut-only": ("distill", "finetune"),
    "scratch": ("distill", "finetune"),
    "distilled": ("finetune",),
    "taught": ("distill",),
}
DISTILLED_AS = {"distilled": "default", "taught": "cut-only"}  # whose stages these rows go on from
SHAPES: Mapping[str, Mapping[str, int]] = {
    "moderate": {"hidden": 276, "heads": 12},  # for the paper\'s 564 of 768, in whole heads
    "maximum": {"hidden": 156, "heads": 6},  # its 312 of 768; the numbers of heads are ours
    "shallow": {"hidden": 192, "heads": 6, "ffn": 1152, "layers": 3},  # as many parameters as maximum, half the layers
}
SHARED = ("trim", "teacher")  # stages that every run of a language has in common
LONGER = 3  # times the epochs where no copies and unlabelled lines are mixed in
FEW = 1024  # tokens


def recipe_of_row(language: str, kind: str, size: str, seed: int) -> dict[str, Any]:
    """Return the recipe of one row: the shipped one's stages, at this width, with this seed, under names of its own.

    Trimming and the fine-tuned teacher are shared by all rows of a language, what comes before the width by its sizes,
    what comes before fine-tuning by its seeds.
    """
    whole = shipped(f"e5-small-{language}")
    shared = [e for e in whole["stages"] if name_of(e) in SHARED]
    entries = [dict(e) for e in shipped("paper-e5-small")["stages"]] if kind == "paper" else whole["stages"]
    own = [] if kind == "teacher" else [dict(e) for e in entries if name_of(e) not in SHARED]
    named, shape = {name: name for name in SHARED}, SHAPES[size]
    wide = "ffn" in shape  # all stages depend on the size
    for entry in own:
        old, wide = name_of(entry), wide or entry["stage"] == "truncate"
        cut = entry["stage"] in ("prune", "truncate")
        whose = "default" if cut and kind not in ("paper", "scratch") else kind
        whose = DISTILLED_AS.get(kind, kind) if entry["stage"] == "distill" else whose
        if cut and kind == "scratch":
            entry["tokens"] = FEW  # its shape alone is used
        last = f"s{seed}" if entry["stage"] == "finetune" else old
        entry["name"] = named[old] = "-".join([whose, *([size] if wide else []), last])
        entry.update({key: named[entry[key]] for key in ("from", "teacher") if key in entry})
        entry.update({key: value for key, value in shape.items() if key in entry})
        if "corpora" in entry and kind == "paper":  # one recipe for all languages
            entry["corpora"] = [language]
        if entry["stage"] == "finetune":
            entry["training"] = {**entry["training"], "seed": seed}
    if own:
        own[0].setdefault("from", "trim")
    own = [_untrained(e) if e["stage"] in UNTRAINED.get(kind, ()) else e for e in own]
    name = own[-1]["name"] if own else "teacher"
    if own and not any(entry.get("teacher") == "teacher" for entry in own):
        shared = [e for e in shared if name_of(e) != "teacher"]  # nobody learns from it
    common = {key: whole[key] for key in ("teacher", "data", "corpora", "tasks")}
    return {**common, "name": name, "stages": [*shared, *own], "export": {"stages": [name], "schemes": []}}


def of_tasks(raw: dict[str, Any], tasks: tuple[str, ...]) -> dict[str, Any]:
    """Leave the fine-tuning of these tasks alone, where any are named."""
    stages = [
        {**e, "tasks": [t for t in e["tasks"] if t in tasks]} if tasks and "tasks" in e else e for e in raw["stages"]
    ]
    return {**raw, "stages": [e for e in stages if e.get("tasks", True)]}


def _untrained(entry: Entry) -> Entry:
    """Leave the cut of a distillation and none of its training; of fine-tuning what has no teacher."""
    if entry["stage"] == "distill":
        return {**entry, "training": {"steps": 0}}
    alone = {key: value for key, value in entry.items() if key not in ("teacher", "corpora", "soft")}
    return {**alone, "training": {**entry["training"], "epochs": entry["training"]["epochs"] * LONGER}}
