"""README.md's tables of what students score: retention and ablations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import mean
from string import ascii_lowercase
from typing import Any

from students import HEADLINE, PAPER_SIZES, ROOT, shipped

RESULTS = ROOT / "benchmarks" / "results"
RECIPES = ("teacher", "scratch", "cut-only", "paper", "default")
STUDENT_T = {3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % of the t distribution with one degree of freedom less than seeds
SPREAD = (
    "One seed, {seeds} in the first row: ± is the standard deviation over seeds of fine-tuning, which draw the "
    "examples, too, the distillation being the same; of NER alone it is {stdevs[ner]:.1f}. The last column compares "
    "equal seeds. By that spread, a difference of one seed needs at least {sure:.1f} points to be more than chance "
    "(95 %), and what another distillation would have changed is not in it: smaller ones are hints. Made on {cpus}."
)
ABOUT = {
    "paper": "Slovak, validation; {steps} steps of 8×128 tokens, far fewer than the paper's; fine-tuning "
    "without a teacher on 2,000 examples. The row of KL is of before logits were compared in single precision. "
    + SPREAD,
    "default": "Slovak, validation; {steps} steps of 16×64 tokens, a tenth of the recipe's, and fine-tuning without a "
    "teacher on 2,000 examples: what a choice gives early, not what is left of it at the end. " + SPREAD,
}


def retention() -> str:
    """Return scores and drops by language, size and recipe."""
    found = json.loads((RESULTS / "retention" / "summary.json").read_text(encoding="utf-8"))
    rows: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in found["rows"]:
        size = "" if row["recipe"] == "teacher" else row["size"]
        rows.setdefault((row["language"], size, row["recipe"]), {})[row["task"]] = row
    cpus = {
        cpu: ascii_lowercase[i] for i, cpu in enumerate(sorted({c for r in found["rows"] for c in r["minutes_by_cpu"]}))
    }
    lines = [
        (
            "| language | student | recipe | topic F1 | sentiment F1 | NER F1 | POS acc. | mean drop | parameters "
            "| seeds | minutes |"
        ),
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (language, size, recipe), tasks in sorted(rows.items(), key=_order):
        one = next(iter(tasks.values()))
        scores = " | ".join(f"{tasks[task]['score']:.1f}" if task in tasks else "–" for task in HEADLINE)
        drop = "" if recipe == "teacher" else f"{mean(_drops(tasks)):.1f} %"
        runs = f" ({one['runs']} runs)" if one["runs"] > one["seeds"] else ""
        shown = f"{one['parameters'] / 1e6:.1f} M | {one['seeds']}{runs} | {_minutes(one, cpus)}"
        mark = " †" if one["recipe_changed"] else ""
        lines.append(f"| {language} | {size} | {recipe}{mark} | {scores} | {drop} | {shown} |")
    letters = ", ".join(f"{letter}: {cpu}" for cpu, letter in cpus.items())
    about = f"{found['note']} Processors: {letters}."
    if any(row["recipe_changed"] for row in found["rows"]):
        about += " †: of an earlier form of this recipe; the file in models/ has changed since, and was not run again."
    return "\n".join([_mean_drops(rows), "", _operations(), "", *lines, "", about, "", *_tried()])


def _operations() -> str:
    """Return how much training our recipe takes beside the paper's, in operations."""
    paths = sorted((RESULTS / "compute").glob("*.json"))
    if not paths:
        return ""
    title = (
        "Training of `default`, the fine-tuned teachers that it learns from included, in floating-point operations "
        "(`benchmarks/compute.py`), beside `paper`'s at the same size: on a CPU, where what the teacher said is "
        "remembered, and in brackets where it is asked again in every pass, as on a GPU:"
    )
    head = [f"| student | {' | '.join(path.stem for path in paths)} |", "|---|" + "---:|" * len(paths)]
    rows = [f"| {size} | {' | '.join(_beside_paper(path, size) for path in paths)} |" for size in PAPER_SIZES]
    return "\n".join([title, "", *head, *rows])


def _beside_paper(path: Path, size: str) -> str:
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    taken = {row["recipe"]: row for row in rows if row["size"] == size}
    once, again = (taken["default"][key] / taken["paper"][key] for key in ("operations", "operations_asked_again"))
    return f"× {once:.2f} (× {again:.2f})"


def _drops(tasks: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Return the drops of the headline tasks that were run."""
    return [float(tasks[task]["drop_percent"]) for task in HEADLINE if task in tasks]


def _minutes(row: Mapping[str, Any], cpus: Mapping[str, str]) -> str:
    """Return the minutes of a row, each with the letter of its processor."""
    return ", ".join(f"{minutes:.0f} {cpus[cpu]}" for cpu, minutes in row["minutes_by_cpu"].items())


def _mean_drops(rows: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, Any]]]) -> str:
    """Return what each recipe loses at each size, and in which languages that was seen."""
    lines = []
    for size in PAPER_SIZES:
        said = []
        for recipe in reversed(RECIPES[1:]):
            of = {language: tasks for (language, made, name), tasks in rows.items() if (made, name) == (size, recipe)}
            if of:
                drops = [drop for tasks in of.values() for drop in _drops(tasks)]
                mark = "†" if any(row["recipe_changed"] for tasks in of.values() for row in tasks.values()) else ""
                shown = f"{mean(drops):.1f} ± {_uncertainty(list(of.values())):.1f} %{mark}"
                said.append(f"{recipe} {shown} ({', '.join(sorted(of))}: {len(drops)} scores{_more(recipe, of)})")
        if said:
            lines.append(f"- {size} compression: {'; '.join(said)}")
    lines += _of_the_same(rows)
    steps = sum(stage.get("training", {}).get("steps", 0) for stage in shipped("paper-e5-small")["stages"])
    title = (
        "Mean drop, in percent of the teacher's scores, below 0 where the student is better; ±: from the scores' 95 % "
        "bootstrap intervals, taken as independent, though languages share topic's sentences and a student has its "
        "teacher's examples; seeds not counted. `paper` is its method on "
        f"this teacher and within this budget ({steps:,} steps); the paper itself, on mBERT and XLM-R and with far "
        "more of them, reports 8 to 13 % at maximum compression, 2 to 10 % at moderate:"
    )
    return "\n".join([title, "", *lines])


def _more(recipe: str, of: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return what a mean of our recipe hides: the score that it loses most of, and those that it gains."""
    if recipe != "default":
        return ""
    drop, language, task = max(
        (float(tasks[task]["drop_percent"]), language, task)
        for language, tasks in of.items()
        for task in HEADLINE
        if task in tasks
    )
    drops = [max(0.0, drop) for tasks in of.values() for drop in _drops(tasks)]
    return f"; most in {language} {task}, {drop:.1f} %; {mean(drops):.1f} % where a gain counts as no loss"


def _uncertainty(made: Sequence[Mapping[str, Mapping[str, Any]]]) -> float:
    """Return half of the 95 % interval of a mean drop, from those of the scores that it is made of."""
    rows = [tasks[task] for tasks in made for task in HEADLINE if task in tasks]
    return sqrt(sum(row["drop_uncertainty"] ** 2 for row in rows)) / len(rows)


def _of_the_same(rows: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Return a line a size over the languages that all its recipes have, where some have more."""
    lines = []
    for size in PAPER_SIZES:
        made = {recipe: {name[0] for name in rows if name[1:] == (size, recipe)} for recipe in RECIPES[1:]}
        sets = [languages for languages in made.values() if languages]
        common = sorted(set.intersection(*sets)) if sets else []
        if common and any(len(one) > len(common) for one in sets):
            drops = {
                recipe: mean(drop for language in common for drop in _drops(rows[language, size, recipe]))
                for recipe in reversed(RECIPES[1:])
                if made[recipe]
            }
            said = ", ".join(f"{recipe} {drop:.1f} %" for recipe, drop in drops.items())
            lines.append(f"- {size} compression, {', '.join(common)} alone: {said}")
    return lines


def _tried() -> list[str]:
    """Return what was tried on validation data, and what it gave."""
    found = json.loads((RESULTS / "retention" / "exploration.json").read_text(encoding="utf-8"))
    lines = ["| tried | gave | kept |", "|---|---|---|"]
    return [
        found["what"],
        "",
        *lines,
        *(f"| {one['tried']} | {one['gave']} | {one['kept']} |" for one in found["tried"]),
    ]


def _order(item: tuple[tuple[str, str, str], Any]) -> tuple[str, int, int]:
    language, size, recipe = item[0]
    return language, ("", *PAPER_SIZES).index(size), RECIPES.index(recipe)


def ablations() -> str:
    """Return what each choice gives, one changed at a time: the paper's, then the default's."""
    rows = json.loads((RESULTS / "ablations" / "summary.json").read_text(encoding="utf-8"))["rows"]
    titles = {
        "paper": "The paper's choices, in its first distillation, 12 layers to 6 (for its cost the reference has the "
        "logits at masked positions alone, the paper at all):",
        "default": "The default's, from the teacher to 6 layers, FFN 1024 and hidden 156:",
    }
    parts = []
    for of, title in titles.items():
        group = [row for row in rows if row["of"] == of]
        if group:
            cpus = " and ".join(f"{cpu} ({rows})" for cpu, rows in _rows_by_cpu(group).items())
            sure = STUDENT_T[group[0]["seeds"]] * sqrt(2) * group[0]["stdev"]
            parts += [title, "", *_changed(group), "", ABOUT[of].format(**group[0], sure=sure, cpus=cpus), ""]
    return "\n".join(parts).rstrip()


def _rows_by_cpu(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return how many rows each processor made."""
    counts = Counter(row["cpu"] for row in rows)
    return {cpu: f"{count} row{'s' if count > 1 else ''}" for cpu, count in counts.items()}


def _changed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of rows, the first of which has nothing changed."""
    lines = [
        "| changed | to | sentiment F1 | NER F1 | POS acc. | mean (± of seeds) | against the first row |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        scores = " | ".join(f"{row[task]:.1f}" for task in ("sentiment", "ner", "pos"))
        spread = f" ± {row['stdev']:.1f}" if "stdev" in row else ""
        beside = "" if row is rows[0] else f"{row['difference']:+.1f}"
        lines.append(f"| {row['choice']} | {row['value']} | {scores} | {row['mean']:.1f}{spread} | {beside} |")
    return lines
