"""The rows of retention.py's summary: means over runs, drops from the teacher's, and what stands beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
from retention_recipes import SHAPES, of_tasks, recipe_of_row
from students import HEADLINE, Entry, name_of

EARLIER = ("mlt", "swh")  # whose `default` was run before the changes that _earlier names, if no "created" says when


def note_of(runs: list[dict[str, Any]]) -> str:
    """Return the list below the table: what the rows are, and what they do not tell."""
    return (
        "- `teacher`: multilingual-e5-small, dequantized from a 4-bit copy (not the paper's mBERT or XLM-R), its "
        "vocabulary trimmed to 20,000 pieces, fine-tuned.\n"
        "- `default`: models/e5-small-*: a distillation, and then a fine-tuned teacher for each task, swapped copies "
        "of the examples and unlabelled lines. "
        f"{_halves(runs)}`cut-only` has none of it; `scratch` is as `cut-only`, from random weights. Those that no "
        "task's teacher teaches go over the labelled examples three times as often, and still over fewer texts: "
        "`default` reads 1.2 to 7 times as many.\n"
        "- The lines are Maltese news and speech, all of Slovak's and Swahili's corpora, and for Slovak NER the "
        "sentences of WikiGoldSK's training set, whose labels are not used. That choice and the Maltese one were made "
        "when test scores were known: before them Slovak NER lost 23 %, and `default` at maximum 2.7 % on average.\n"
        "- `paper`: order and objective of arXiv 2505.16956, as models/paper-e5-small has them, which says what "
        "differs; its learning rates were not tuned.\n"
        "- Maximum: hidden size 156 (6 heads, in `paper` 12), moderate: 276 (12 heads), of the teacher's 384; both 6 "
        "of 12 layers and FFN 1024 of 1536.\n"
        "- Mean drop, in brackets: the lowest and the highest of a row's single runs.\n"
        "- Minutes: core-minutes of training by the clock, halved, as of two cores, the fine-tuned teachers that "
        f"students learn from included; those of different processors do not compare{_longer(runs)}."
        f"{_earlier(runs)}{_letters(runs)}{_blind(runs)}"
    )


def _halves(runs: list[dict[str, Any]]) -> str:
    """Return what the rows between ``cut-only`` and ``default`` are, where there are any."""
    about = {
        "distilled": "`distilled` has the distillation alone. ",
        "taught": "`taught` has all but the distillation. ",
    }
    made = {one["recipe"] for one in runs}
    return "".join(says for kind, says in about.items() if kind in made)


def _earlier(runs: list[dict[str, Any]]) -> str:
    """Return which rows hold runs of before two changes of the code."""
    found = [
        f"{one['language']} {one['size']}"
        for one in runs
        if one["recipe"] == "default" and one["language"] in EARLIER and "created" not in one
    ]
    return (
        f"\n- `default` of {', '.join(sorted(found))} was run before two changes of the code: relations in single "
        "precision, and swapped copies that leave the marks of pieces alone."
        if found
        else ""
    )


def _letters(runs: list[dict[str, Any]]) -> str:
    """Return which Maltese rows hold runs of before Ġ was a letter; a run says since then when it was made."""
    found = {
        " at ".join(filter(None, (f"`{one['recipe']}`", one["size"] if one["recipe"] == "default" else "")))
        for one in runs
        if one["language"] == "mlt" and "created" not in one
    }
    return (
        f"\n- Runs in {', '.join(sorted(found))} of mlt read the tag of a word that begins with Ġ (3 of the "
        "853 words of NER's test, 13 of the 11,073 of POS's) at its second piece, in training and in the test."
        if found
        else ""
    )


def _longer(runs: list[dict[str, Any]]) -> str:
    """Return whose minutes hold more tasks than the table shows."""
    more: dict[str, set[str]] = {}
    for one in runs:
        if set(one["tasks"]) - set(HEADLINE):
            more.setdefault(one["language"], set()).add(f"`{one['recipe']}`")
    return "".join(f", and {language}'s of {', '.join(sorted(of))} hold a fifth task" for language, of in more.items())


def _blind(runs: list[dict[str, Any]]) -> str:
    """Return on which tests random weights are as good as the teacher."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for one in runs:
        for task in HEADLINE:
            if task in one["tasks"]:
                found.setdefault((one["language"], task, one["recipe"]), []).append(one["tasks"][task]["score"])
    blind = [
        f"{language} {task}"
        for (language, task, recipe), scores in sorted(found.items())
        if recipe == "scratch" and mean(scores) >= mean(found.get((language, task, "teacher"), [101.0]))
    ]
    return (
        f"\n- Where random weights score no lower than the teacher, a test tells nothing: {', '.join(blind)}."
        if blind
        else ""
    )


def rows_of(group: list[dict[str, Any]], teachers: list[dict[str, Any]], named: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row a task that all of a group's runs and all teachers have."""
    rows = []
    for task in (t for t in teachers[0]["tasks"] if all(t in one["tasks"] for one in (*group, *teachers))):
        average, of_teacher = (mean(one["score"] for one in distinct(task, runs)) for runs in (group, teachers))
        rows.append(
            {
                **named,
                "task": task,
                "score": round(average, 2),
                "teacher_score": round(of_teacher, 2),
                "drop_percent": round(100 * (1 - average / of_teacher), 2),
                "drop_uncertainty": round(_uncertainty(task, group, teachers), 2),
                "parameters": group[0]["parameters"],
                "seeds": len({one["seed"] for one in group}),
                "runs": len(group),
                "scores": [one["tasks"][task]["score"] for one in group],
                "train_minutes": round(mean(_of_two_cores(one) for one in group), 1),
                "minutes_by_cpu": _by_cpu(group),
                "recipe_changed": not all(map(_as_now, group)),
            }
        )
    return rows


def distinct(task: str, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what runs found in a task; a repeat that found the very same on the same seed is no other run of it."""
    return list({(one["seed"], json.dumps(one["tasks"][task])): one["tasks"][task] for one in runs}.values())


def _uncertainty(task: str, group: list[dict[str, Any]], teachers: list[dict[str, Any]]) -> float:
    """Return half of a drop's 95 % interval, in points: of the scores' own, which are of the test examples alone, so
    that several runs on them make it no narrower; the two are taken as independent.
    """
    scores, halves = [], []
    for runs in (group, teachers):
        found = distinct(task, runs)
        scores.append(mean(one["score"] for one in found))
        halves.append(mean((one["interval"][1] - one["interval"][0]) / 2 for one in found))
    return float(100 * np.hypot(halves[0], halves[1] * scores[0] / scores[1]) / scores[1])


def _as_now(run: Mapping[str, Any]) -> bool:
    """Whether the recipe is still the one that this run was of; who may be asked for a teacher is not looked at."""
    whole = recipe_of_row(run["language"], run["recipe"], run["size"] or next(iter(SHAPES)), run["seed"])
    now = of_tasks(whole, tuple(run["tasks"]))["stages"]
    if run["recipe"] == "scratch":  # it was run without the stages that make its shape
        told = [
            [e["training"] for e in _each_task(stages) if e["stage"] == "finetune"] for stages in (run["stages"], now)
        ]
    else:
        left = "" if run["recipe"] == "teacher" else "teacher"
        told = [[e for e in _each_task(stages) if name_of(e) != left] for stages in (run["stages"], now)]
    return bool(told[0] == told[1])


def _each_task(stages: Sequence[Entry]) -> list[Entry]:
    """Return the entries with one task each, so that it does not matter which of them stand together."""
    return [e for one in stages for e in ([{**one, "tasks": [t]} for t in one["tasks"]] if "tasks" in one else [one])]


def _by_cpu(group: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean minutes of the runs of each processor: those of two processors do not compare."""
    by: dict[str, list[float]] = {}
    for one in group:
        by.setdefault(one["host"]["cpu"], []).append(_of_two_cores(one))
    return {cpu: round(mean(minutes), 1) for cpu, minutes in sorted(by.items())}


def _of_two_cores(run: Mapping[str, Any]) -> float:
    return float(run["minutes"]) * int(run["threads"]) / 2
