"""How much of the teacher's accuracy a student keeps: recipe by recipe, language by language, seed by seed.

    export EDGECOMPRESS_DATA=/the/folder
    python benchmarks/retention.py run slk --recipe default --size maximum -o WORK
    python benchmarks/retention.py run slk --recipe default --size maximum --split test -o WORK
    python benchmarks/retention.py summary

Every run is a recipe like those in models/, and WORK keeps its stages: stop it, run it again, and it goes on; what two
runs share is done once. Two languages side by side, each with OMP_NUM_THREADS=1, use two cores better than one language
with both. Choose on the validation split; the test split is for the figures that are published. Results are in
benchmarks/results/retention, one file a run. The rows:

    teacher   e5-small trimmed to the language, fine-tuned
    default   models/e5-small-LANGUAGE, at the paper's ratios
    paper     models/paper-e5-small, in the order and with the objective of arXiv 2505.16956
    distilled default's distilled encoder, fine-tuned as cut-only: no teacher of the tasks, no copies, no further lines
    taught    cut-only's encoder, fine-tuned as default: by the teachers of the tasks, with copies and further lines
    cut-only  as default, without any distillation
    scratch   the same shape with random weights, fine-tuned
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
import torch
from retention_recipes import LANGUAGES, RECIPES, SHAPES, of_tasks, recipe_of_row
from retention_summary import note_of, rows_of
from rich.console import Console
from students import HEADLINE, PAPER_SIZES, ROOT, random_weights

from edgecompress import deliver, pipeline
from edgecompress import recipe as recipes
from edgecompress.artifact import Artifact
from edgecompress.bench.host import host
from edgecompress.bench.quality import predict
from edgecompress.commands.show import progress
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import read_history
from edgecompress.files import write_json
from edgecompress.runtime.predictor import from_artifact
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples
from edgecompress.tasks.scores import score

RESULTS = ROOT / "benchmarks" / "results" / "retention"
RESAMPLES = 300


@click.group()
def main() -> None:
    """Measure, and write benchmarks/results/retention/*.json."""


@main.command()
@click.argument("language", type=click.Choice(LANGUAGES))
@click.option("--recipe", "kind", type=click.Choice(RECIPES), default="default", show_default=True)
@click.option("--size", type=click.Choice(list(SHAPES)), default="maximum", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--split", type=click.Choice(["validation", "test"]), default="validation", show_default=True)
@click.option("--repeat", default=0, show_default=True, type=click.IntRange(0), help="Which other WORK of equal seeds.")
@click.option("--task", "tasks", multiple=True, type=click.Choice(HEADLINE), help="Of these alone. Default: all.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
def run(language: str, kind: str, size: str, seed: int, *, tasks: tuple[str, ...], output: Path, **more: Any) -> None:
    """Make one student for LANGUAGE (or fine-tune the teacher) and score it on its four tasks."""
    out, split, repeat = output / language, more["split"], more["repeat"]
    with progress(Console()), pipeline.exclusive(out):
        raw = of_tasks(recipe_of_row(language, kind, size, seed), tasks)
        if kind == "scratch":
            raw = _from_scratch(raw, out)
        name, plan = raw["name"], recipes.parse(raw, ROOT / "models" / f"e5-small-{language}", f"{language} {kind}")
        results = pipeline.run(plan, out)
        made = deliver.artifacts(plan, results, out)[0][f"{name} fp32"]
        found = {
            task: _scored(artifact, read_examples(getattr(plan.tasks[task], split), TASKS[artifact.task.name]))
            for task, artifact in made.items()
        }
    first, headline = next(iter(made.values())), {task: made[task] for task in HEADLINE if task in made}
    row = {
        "language": language, "recipe": kind, "size": None if kind == "teacher" else size, "seed": seed, "split": split,
        "repeat": repeat, "created": datetime.now(UTC).date().isoformat(),
        "parameters": first.parameters, "tasks": found,
        "minutes": _minutes(headline, out), "threads": torch.get_num_threads(),
        "stages": raw["stages"], "host": asdict(host()),
    }  # fmt: skip
    again = f"-again{repeat}" if repeat else ""
    target = RESULTS / f"{language}-{name}{again}-{split}.json"
    if more_there := set(_tasks_in(target)) - set(found):
        raise click.ClickException(
            f"{target} holds {', '.join(sorted(more_there))}, too, and is left as it is: run all tasks, or remove it"
        )
    write_json(target, row)
    click.echo(
        f"{language} {name} {split}: " + ", ".join(f"{task} {value['score']:.1f}" for task, value in found.items())
    )


def _tasks_in(target: Path) -> dict[str, Any]:
    return dict(json.loads(target.read_text(encoding="utf-8"))["tasks"]) if target.exists() else {}


def _from_scratch(raw: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return a recipe that fine-tunes random weights of the shape that ``raw`` gives."""
    seed = raw["stages"][-1]["training"]["seed"]
    cuts = [e for e in raw["stages"] if e["stage"] != "finetune"]
    plan = recipes.parse({**raw, "stages": cuts, "export": {}}, ROOT / "models" / f"e5-small-{out.name}", raw["name"])
    cut = list(pipeline.run(plan, out).values())[-1]
    shape = sources.load(str(cut.folder))
    folder = random_weights(shape.model, shape.tokenizer, out / f"random-s{seed}-{cut.key[:8]}", seed)
    tunes = [{**e, "from": "teacher", "head": "random"} for e in raw["stages"] if e.get("name") == raw["name"]]
    return {**raw, "teacher": str(folder), "stages": tunes}


def _scored(artifact: Artifact, examples: tuple[Example, ...]) -> dict[str, Any]:
    """Return the headline score with a 95 % bootstrap interval over examples (percentiles of resampled scores)."""
    predictor = from_artifact(artifact)
    said, _ = predict(predictor, examples)
    gold, headline = [example.labels for example in examples], artifact.task.metrics[0]
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, len(gold), len(gold))
        drawn.append(score(artifact.task, [gold[i] for i in chosen], [said[i] for i in chosen])[headline])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "metric": headline,
        "score": round(score(artifact.task, gold, said)[headline], 2),
        "interval": [round(float(low), 2), round(float(high), 2)],
        "examples": len(gold),
    }


def _minutes(made: Mapping[str, Artifact], out: Path) -> float:
    """Return the training time of a row: every stage that any of its artifacts went through, the fine-tuned teachers
    that they learnt from included, counted once.
    """
    taught = {str(s.options["teacher"]) for a in made.values() for s in a.history if s.options.get("teacher")}
    teachers = [read_history(pipeline.folder_of(out, name)) for name in sorted(taught)]
    steps = [step for history in (*(a.history for a in made.values()), *teachers) for step in history]
    return round(sum({step.key: step.seconds for step in steps}.values()) / 60, 1)


@main.command()
def summary() -> None:
    """Average the test runs over seeds and repeats, and compare them with the teacher's, averaged: summary.json."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*-test.json"))]
    teachers: dict[str, list[dict[str, Any]]] = {}
    for one in (r for r in runs if r["recipe"] == "teacher"):
        teachers.setdefault(one["language"], []).append(one)
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in runs:
        for size in PAPER_SIZES if one["size"] is None else (one["size"],):
            groups.setdefault((one["language"], size, one["recipe"]), []).append(one)
    rows = [
        row
        for (language, size, kind), group in groups.items()
        if language in teachers
        for row in rows_of(group, teachers[language], {"language": language, "size": size, "recipe": kind})
    ]
    if not rows:
        raise click.ClickException(
            f"no test run of a teacher in {RESULTS}: run `… run LANGUAGE --recipe teacher --split test`"
        )
    headline = [row for row in rows if row["task"] in HEADLINE and row["recipe"] != "teacher"]
    means: dict[tuple[str, str], list[float]] = {}
    for row in headline:
        means.setdefault((row["size"], row["recipe"]), []).append(row["drop_percent"])
    dropped = [{"size": size, "recipe": kind, "mean_drop_percent": round(mean(drops), 2), "scores": len(drops)}
               for (size, kind), drops in means.items()]  # fmt: skip
    write_json(RESULTS / "summary.json", {"rows": rows, "mean_drops": dropped, "note": note_of(runs)})


if __name__ == "__main__":
    main()
