"""What each choice gives, one changed at a time: the paper's (arXiv 2505.16956), and the default recipe's own.

    export EDGECOMPRESS_DATA=/the/folder
    python benchmarks/ablations.py run --only base --only default --seeds 3 -o WORK
    python benchmarks/ablations.py run -o WORK
    python benchmarks/ablations.py summary

paper: its first distillation alone, e5-small to 6 layers in Slovak: how the student starts (stride, first, last,
random weights), the distance between logits (MSE, KL) and where it is taken (masked positions, all), α between masked
LM and logits, the teacher adapted to the language or not, the vocabulary trimmed first or last. This teacher has no
masked-LM head; where the encoder is not adapted, a head is fitted to it as it is. default: the cut of
models/e5-small-slk to 6 layers, FFN 1024 and hidden 156, and its distillation. Training is shorter than either
recipe's by far, the same for all rows. Each student is then fine-tuned on a part of three tasks, seed by seed,
without a teacher; scores are of the validation splits. Rows that WORK or the results hold already are not made again:
stop it, run it again, and it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import torch
from ablation_rows import PAPER, VARIANTS, recipe_of, stages
from rich.console import Console
from students import ROOT, Entry, random_weights, shipped

from edgecompress import pipeline
from edgecompress import recipe as recipes
from edgecompress.bench.host import host
from edgecompress.commands.show import progress
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import read_history
from edgecompress.files import write_json

RESULTS = ROOT / "benchmarks" / "results" / "ablations"
TASKS = ("sentiment", "ner", "pos")
TUNING = {"epochs": 3, "examples": 2000, "batch_size": 16}
RATES = {"paper": 2e-4, "default": 5e-4}  # the narrow students of the default want more


@click.group()
def main() -> None:
    """Measure, and write benchmarks/results/ablations/*.json."""


@main.command()
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    help="Rows to make, again too. Default: all that have no result.",
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Of fine-tuning, from 0 on.")
@click.option("--steps", default=600, show_default=True, type=click.IntRange(1), help="Of adapting and of distilling.")
@click.option("--again", is_flag=True, help="Rows that have a result, too; what WORK holds is not trained again.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
def run(names: Sequence[str], seeds: int, steps: int, *, again: bool, output: Path) -> None:
    """Make the students, row by row, and score them."""
    for name in names or VARIANTS:
        if not names and not again and (RESULTS / f"{name}.json").exists():
            click.echo(f"{name} is there: --only {name}, or --again, makes it again")
            continue
        with progress(Console()), pipeline.exclusive(output):
            found = _row(name, range(seeds), steps, output)
        write_json(RESULTS / f"{name}.json", found)
        click.echo(f"{name}: " + ", ".join(f"{task} {mean(scores):.1f}" for task, scores in found["scores"].items()))


def _row(name: str, seeds: Sequence[int], steps: int, out: Path) -> dict[str, Any]:
    variant = VARIANTS[name]
    before, student = stages(name, steps)
    raw = {**_common(name), "name": name}
    if variant.start == "random":
        raw["teacher"], student = _from_random(raw, [*before, *student], out)
        before = []
    tuning = {**TUNING, "learning_rate": RATES["paper" if name in PAPER else "default"]}
    tunes = [_tuning(f"{name}-s{seed}", student[-1]["name"], {**tuning, "seed": seed}) for seed in seeds]
    pipeline.run(_plan({**raw, "stages": [*before, *student, *tunes]}), out)
    results = {task: [_best(pipeline.folder_of(out, f"{name}-s{seed}-{task}")) for seed in seeds] for task in TASKS}
    learnt = read_history(pipeline.folder_of(out, student[-1]["name"]))
    return {
        "choice": variant.choice, "value": variant.value, "scores": results, "steps": steps, "tuning": tuning,
        "stages": [*before, *student],
        "parameters": learnt[-1].parameters, "loss": [s.details.get("loss") for s in learnt if s.stage == "distill"],
        "threads": torch.get_num_threads(), "host": asdict(host()),
    }  # fmt: skip


def _from_random(raw: Mapping[str, Any], entries: Sequence[Entry], out: Path) -> tuple[str, list[Entry]]:
    """Write a student of the shape that ``entries`` cut, with random weights, and return it with its distillation."""
    *before, distill = entries
    shaped = {**distill, "name": f"shape-{raw['name']}", "training": {"steps": 0}}
    pipeline.run(_plan({**raw, "stages": [*before, shaped]}), out)
    shape = sources.load(str(pipeline.folder_of(out, shaped["name"])))
    teacher = pipeline.folder_of(out, str(distill.get("teacher") or distill["from"]))
    alone = {key: value for key, value in distill.items() if key not in ("from", "layers", "select")}
    folder = random_weights(shape.model, shape.tokenizer, out / f"random-{raw['name']}", 0)
    return str(folder), [{**alone, "teacher": str(teacher.resolve())}]


def _tuning(name: str, source: str, training: Mapping[str, Any]) -> Entry:
    return {"stage": "finetune", "name": name, "from": source, "tasks": list(TASKS), "training": dict(training)}


def _best(folder: Path) -> float:
    """Return the validation score of the epoch that was kept."""
    return round(float(read_history(folder)[-1].details["best"]), 2)


def _plan(raw: Mapping[str, Any]) -> recipes.Recipe:
    return recipes.parse(dict(raw), ROOT / "models" / recipe_of(str(raw["name"])), "ablations")


def _common(name: str) -> dict[str, Any]:
    whole = shipped(recipe_of(name))
    return {key: whole[key] for key in ("teacher", "data", "corpora")} | {
        "tasks": {task: whole["tasks"][task] for task in TASKS},
    }


@main.command()
def summary() -> None:
    """Put the rows together: summary.json, from which README.md's table is written.

    A row stands beside the first one of its group seed by seed: seeds draw the examples, too.
    """
    rows: list[dict[str, Any]] = []
    first: dict[str, tuple[list[float], dict[str, Any]]] = {}  # of a group: its scores by seed, and how it was made
    for name in VARIANTS:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            click.echo(f"{name} has not been run: python benchmarks/ablations.py run --only {name} -o WORK")
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        by_seed = [mean(scores) for scores in zip(*(found["scores"][task] for task in TASKS), strict=True)]
        scores = {task: round(mean(found["scores"][task]), 2) for task in TASKS}
        spread: dict[str, Any] = {"mean": round(mean(by_seed), 2), "seeds": len(by_seed)}
        if len(by_seed) > 1:
            spread["stdev"] = round(stdev(by_seed), 2)
            spread["stdevs"] = {task: round(stdev(found["scores"][task]), 2) for task in TASKS}
        said = {"choice": VARIANTS[name].choice, "value": VARIANTS[name].value}
        of = "paper" if name in PAPER else "default"
        alike = {key: found[key] for key in ("steps", "tuning")}
        beside, made = first.setdefault(of, (by_seed, alike))
        if alike != made:
            raise click.ClickException(f"{path} has {alike}, the first row {made}: make one of them again (--only)")
        pairs = list(zip(by_seed, beside, strict=False))
        spread["difference"] = round(mean(one - other for one, other in pairs), 2)
        spread["pairs"] = len(pairs)
        same = {"steps": found["steps"], "parameters": found["parameters"], "cpu": found["host"]["cpu"]}
        rows.append({"of": of, "name": name, **said, **same, **scores, **spread})
    write_json(RESULTS / "summary.json", {"rows": rows})


if __name__ == "__main__":
    main()
