"""README.md's tables of one choice changed at a time, and the lab note of benchmarks/README.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from students import ROOT

RESULTS = ROOT / "benchmarks" / "results"
STUDENT_T = {3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % of the t distribution with one degree of freedom less than seeds
SPREAD = (
    "±: the standard deviation over {seeds} seeds of fine-tuning (of NER alone {stdevs[ner]:.1f}), the others are of "
    "one; the last column compares equal seeds. By that spread a difference needs at least {sure:.1f} points to be "
    "more than chance (95 %): smaller ones are hints. Made on {cpus}."
)
ABOUT = {
    "paper": "Slovak, validation; {steps} steps of 8×128 tokens, far fewer than the paper's; fine-tuning "
    "without a teacher on 2,000 examples. " + SPREAD,
    "default": "Slovak, validation; {steps} steps of 16×64 tokens, a tenth of the recipe's, and fine-tuning without a "
    "teacher on 2,000 examples: what a choice gives early, not what is left of it at the end. " + SPREAD,
}
# Rows of the ablations of before a change of the code, with the means that they had: one that is made again drops out.
SINGLE_RELATIONS = {
    "default": 72.17,
    "default-activation": 70.03,
    "default-first-k": 66.78,
    "default-first": 71.43,
    "default-random": 58.74,
    "default-relations": 69.67,
}
SINGLE_LOGITS = {"kl": 78.66}


def ablations() -> str:
    """Return what each choice gives, one changed at a time: the paper's, then the default's."""
    rows = json.loads((RESULTS / "ablations" / "summary.json").read_text(encoding="utf-8"))["rows"]
    titles = {
        "paper": "The paper's choices, in its first distillation, 12 layers to 6 (the reference has, for its cost, the "
        "logits at masked positions alone, and stride, which ends with the last layer; the paper has them at all, and "
        "begins with the first layer):",
        "default": "The default's, from the teacher to 6 layers, FFN 1024 and hidden 156:",
    }
    parts = []
    for of, title in titles.items():
        group = [row for row in rows if row["of"] == of]
        if group:
            cpus = " and ".join(f"{cpu} ({rows})" for cpu, rows in _rows_by_cpu(group).items())
            sure = STUDENT_T[group[0]["seeds"]] * sqrt(2) * group[0]["stdev"]
            about = ABOUT[of].format(**group[0], sure=sure, cpus=cpus)
            parts += [title, "", *_changed(group), "", f"{about}{_earlier(group)}", ""]
    return "\n".join(parts).rstrip()


def _earlier(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the marks of rows of earlier code say."""
    marks = [_mark(row) for row in rows]
    said = ""
    if " ‡" in marks:
        first = ", as was the first row, beside which all stand" if marks[0] else ""
        said += f" ‡: made before relations were scored in single precision{first}."
    return said + (" §: made before logits were compared in single precision." if " §" in marks else "")


def _mark(row: Mapping[str, Any]) -> str:
    """Return the mark of a row of earlier code: the mean that it had then tells it from one that was made again."""
    marks = {" ‡": SINGLE_RELATIONS, " §": SINGLE_LOGITS}
    return next((mark for mark, means in marks.items() if means.get(row["name"]) == row["mean"]), "")


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
        lines.append(
            f"| {row['choice']}{_mark(row)} | {row['value']} | {scores} | {row['mean']:.1f}{spread} | {beside} |"
        )
    return lines


def tried() -> str:
    """Return what was tried on validation data, and what it gave."""
    found = json.loads((RESULTS / "retention" / "exploration.json").read_text(encoding="utf-8"))
    lines = ["| tried | gave | kept |", "|---|---|---|"]
    lines += [f"| {one['tried']} | {one['gave']} | {one['kept']} |" for one in found["tried"]]
    return "\n".join([found["what"], "", *lines])
