"""README.md's table of how much of the teacher's scores students keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from math import hypot, sqrt
from pathlib import Path
from statistics import mean
from string import ascii_lowercase
from typing import Any

from students import HEADLINE, PAPER_SIZES, ROOT, shipped

RESULTS = ROOT / "benchmarks" / "results"
Made = Mapping[str, Mapping[str, Mapping[str, Any]]]  # of a recipe at a size: its rows by language and task
Rows = Mapping[tuple[str, str, str], Mapping[str, Mapping[str, Any]]]  # by language, size and recipe, then by task
RECIPES = ("teacher", "scratch", "cut-only", "taught", "distilled", "paper", "default")


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
        drop = "" if recipe == "teacher" else f"{mean(_drops(tasks)):.1f} %{_by_run(tasks)}"
        runs = f" ({one['runs']} runs)" if one["runs"] > one["seeds"] else ""
        shown = f"{one['parameters'] / 1e6:.1f} M | {one['seeds']}{runs} | {_minutes(one, cpus)}"
        mark = " †" if one["recipe_changed"] else ""
        lines.append(f"| {language} | {size} | {recipe}{mark} | {scores} | {drop} | {shown} |")
    letters = ", ".join(f"{letter}: {cpu}" for cpu, letter in cpus.items())
    about = [
        (
            f"- Test splits, in examples: {_examples()}. [models/DATA.md](models/DATA.md) has the data sets, their "
            "licences and splits; [benchmarks/README.md](benchmarks/README.md#how-accuracy-is-compared) how runs and "
            "seeds count, and what was tried."
        ),
        found["note"],
        f"- Processors: {letters}. –: not run.",
    ]
    if any(row["recipe_changed"] for row in found["rows"]):
        about.append(
            "- †: of an earlier form of this recipe; the file in models/ has changed since, and was not run again."
        )
    return "\n".join([_mean_drops(rows), "", _operations(), "", *lines, "", *about])


def _examples() -> str:
    """Return how many examples of each language and task were scored."""
    paths = sorted((RESULTS / "retention").glob("*-teacher*-test.json"))
    counts: dict[str, dict[str, int]] = {}
    for one in (json.loads(path.read_text(encoding="utf-8")) for path in paths):
        own = counts.setdefault(one["language"], {})
        own.update({task: one["tasks"][task]["examples"] for task in HEADLINE if task in one["tasks"]})
    return "; ".join(
        f"{language}: {', '.join(f'{task} {count:,}' for task, count in own.items())}"
        for language, own in counts.items()
    )


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


def _by_run(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the smallest and the largest mean drop of several runs of a row."""
    of = [tasks[task] for task in HEADLINE if task in tasks]
    kept = [
        mean(s / row["teacher_score"] for s, row in zip(run, of, strict=True))
        for run in zip(*(row["scores"] for row in of), strict=True)
    ]
    drops = sorted(100 * (1 - share) for share in kept)
    return f" ({drops[0]:.1f} to {drops[-1]:.1f})" if drops[1:] else ""


def _minutes(row: Mapping[str, Any], cpus: Mapping[str, str]) -> str:
    """Return the minutes of a row, each with the letter of its processor."""
    return ", ".join(f"{minutes:.0f} {cpus[cpu]}" for cpu, minutes in row["minutes_by_cpu"].items())


def _mean_drops(rows: Rows) -> str:
    """Return what each recipe loses at each size, and in which languages that was seen."""
    lines = []
    for size in PAPER_SIZES:
        said = []
        for recipe in reversed(RECIPES[1:]):
            if of := _made(rows, size, recipe):
                mark = "†" if any(row["recipe_changed"] for tasks in of.values() for row in tasks.values()) else ""
                loss, half = _loss(of)
                said.append(f"{recipe} {loss:.1f} ± {half:.1f} %{mark} ({_more(recipe, of, _blind(rows))})")
        if said:
            lines.append(f"- {size} compression: {'; '.join(said)}")
    lines += _of_the_same(rows)
    title = (
        "Mean drop of the test scores, in percent of those of the trimmed and fine-tuned teacher (what trimming itself "
        "costs is not counted), below 0 where the student is better; ±: 95 %, of the test examples alone, not of seeds:"
    )
    return "\n".join([title, "", *lines, "", f"{_sizes(rows)}{_papers(rows)}".strip()])


def _made(rows: Rows, size: str, recipe: str) -> Made:
    """Return the rows of a recipe at a size, by language and task."""
    return {language: tasks for (language, made, name), tasks in rows.items() if (made, name) == (size, recipe)}


def _loss(of: Made) -> tuple[float, float]:
    """Return the mean drop of these scores, and half of its 95 % interval."""
    return mean(drop for tasks in of.values() for drop in _drops(tasks)), _uncertainty(list(of.values()))


def _sizes(rows: Rows) -> str:
    """Return whether our recipe's two sizes differ by more than chance, where they were run in the same languages."""
    small, large = (_made(rows, size, "default") for size in reversed(PAPER_SIZES))
    changed = any(row["recipe_changed"] for of in (small, large) for tasks in of.values() for row in tasks.values())
    if not small or set(small) != set(large) or changed:
        return ""
    (one, half), (other, of_other) = _loss(small), _loss(large)
    told = "do not differ by more than" if abs(one - other) <= hypot(half, of_other) else "differ by more than"
    return f"The two sizes of `default` {told} the uncertainty. "


def _papers(rows: Rows) -> str:
    """Return what `paper` tells of the paper's own results."""
    paper, cut = (_made(rows, "maximum", recipe) for recipe in ("paper", "cut-only"))
    if not paper:
        return ""
    steps = sum(stage.get("training", {}).get("steps", 0) for stage in shipped("paper-e5-small")["stages"])
    worse = set(paper) == set(cut) and _loss(paper)[0] > _loss(cut)[0]
    tells = "loses more than `cut-only`, which distils nothing: that tells little about" if worse else "is not"
    return (
        f"`paper`, its method on this teacher within {steps:,} steps, {tells} the paper's own results, 8 to 13 % at "
        "maximum compression and 2 to 10 % at moderate, on mBERT and XLM-R with far more steps."
    )


def _blind(rows: Rows) -> set[tuple[str, str]]:
    """Return the languages' tasks that random weights do no worse than the teacher."""
    scratch = _made(rows, "maximum", "scratch")
    return {
        (language, task)
        for language, tasks in scratch.items()
        for task in HEADLINE
        if task in tasks and tasks[task]["drop_percent"] <= 0
    }


def _more(recipe: str, of: Made, blind: Set[tuple[str, str]]) -> str:
    """Return which scores a mean is of; of our recipe also its mean by language, the score that it loses most of, and
    what gains and tests that tell nothing hide.
    """
    drops = {language: _drops(tasks) for language, tasks in sorted(of.items())}
    everyone = [drop for own in drops.values() for drop in own]
    if recipe != "default":
        return f"{', '.join(drops)}: {len(everyone)} scores"
    drop, language, task = max(
        (float(tasks[task]["drop_percent"]), language, task)
        for language, tasks in of.items()
        for task in HEADLINE
        if task in tasks
    )
    each = ", ".join(f"{language} {mean(own):.1f}" for language, own in drops.items())
    kept = mean(max(0.0, drop) for drop in everyone)
    told = mean(
        float(tasks[task]["drop_percent"])
        for language, tasks in of.items()
        for task in HEADLINE
        if task in tasks and (language, task) not in blind
    )
    without = f"; {told:.1f} % without {', '.join(map(' '.join, sorted(blind)))}" if blind else ""
    return (
        f"{each}; {len(everyone)} scores; most in {language} {task}, {drop:.1f} %; {kept:.1f} % where a gain counts as "
        f"no loss{without}"
    )


def _uncertainty(made: Sequence[Mapping[str, Mapping[str, Any]]]) -> float:
    """Return half of the 95 % interval of a mean drop, from those of the scores that it is made of."""
    rows = [tasks[task] for tasks in made for task in HEADLINE if task in tasks]
    return sqrt(sum(row["drop_uncertainty"] ** 2 for row in rows)) / len(rows)


def _of_the_same(rows: Rows) -> list[str]:
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


def _order(item: tuple[tuple[str, str, str], Any]) -> tuple[str, int, int]:
    language, size, recipe = item[0]
    return language, ("", *PAPER_SIZES).index(size), RECIPES.index(recipe)
