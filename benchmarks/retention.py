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
    paper     models/paper-e5-small, the method of arXiv 2505.16956
    cut-only  as default, without any distillation
    scratch   the same shape with random weights, fine-tuned
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from students import HEADLINE, PAPER_SIZES, ROOT, Entry, name_of, random_weights, shipped

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
LANGUAGES = ("mlt", "slk", "swh")
RECIPES = ("teacher", "default", "paper", "cut-only", "scratch")
SHAPES: Mapping[str, Mapping[str, int]] = {
    "moderate": {"hidden": 276, "heads": 12},  # the paper's 564 and 312 of 768, of this teacher's 384; heads are ours
    "maximum": {"hidden": 156, "heads": 6},
    "shallow": {"hidden": 192, "heads": 6, "ffn": 1152, "layers": 3},  # as many parameters as maximum, half the layers
}
SHARED = ("trim", "teacher")  # stages that every run of a language has in common
LONGER = 3  # times the epochs where no copies and unlabelled lines are mixed in
RESAMPLES = 300
FEW = 1024  # tokens


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
        raw = _of_tasks(recipe_of_row(language, kind, size, seed), tasks)
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
        "repeat": repeat,
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
    if kind in ("cut-only", "scratch"):
        own = [_untrained(e) for e in own]
    name = own[-1]["name"] if own else "teacher"
    if own and not any(entry.get("teacher") == "teacher" for entry in own):
        shared = [e for e in shared if name_of(e) != "teacher"]  # nobody learns from it
    common = {key: whole[key] for key in ("teacher", "data", "corpora", "tasks")}
    return {**common, "name": name, "stages": [*shared, *own], "export": {"stages": [name], "schemes": []}}


def _of_tasks(raw: dict[str, Any], tasks: tuple[str, ...]) -> dict[str, Any]:
    """Leave the fine-tuning of these tasks alone, where any are named."""
    stages = [
        {**e, "tasks": [t for t in e["tasks"] if t in tasks]} if tasks and "tasks" in e else e for e in raw["stages"]
    ]
    return {**raw, "stages": [e for e in stages if e.get("tasks", True)]}


def _untrained(entry: Entry) -> Entry:
    """Leave the cut of a distillation and none of its training; of fine-tuning what has no teacher."""
    if entry["stage"] == "distill":
        return {**entry, "training": {"steps": 0}}
    if entry["stage"] != "finetune":
        return entry
    alone = {key: value for key, value in entry.items() if key not in ("teacher", "corpora", "soft")}
    return {**alone, "training": {**entry["training"], "epochs": entry["training"]["epochs"] * LONGER}}


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
        for row in _rows(group, teachers[language], {"language": language, "size": size, "recipe": kind})
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
    write_json(RESULTS / "summary.json", {"rows": rows, "mean_drops": dropped, "note": _note(runs)})


def _note(runs: list[dict[str, Any]]) -> str:
    threads = sorted({one["threads"] for one in runs})
    return (
        "Test splits. The teacher is multilingual-e5-small, dequantized from a 4-bit copy (not the paper's mBERT "
        "or XLM-R), its vocabulary trimmed to 20,000 pieces, fine-tuned. `paper`: the method of arXiv 2505.16956,"
        " as models/paper-e5-small has it, which says what differs; `default`: models/e5-small-*; `cut-only` and "
        "`scratch`: the same shape without distillation, from that cut (along principal directions, where `paper` "
        "keeps the first dimensions) and from random weights. "
        f"{_alike(runs)}"
        "for three times the epochs of `default`, which alone has swapped copies and unlabelled lines beside the "
        "examples; the teacher has neither. Drop: relative to the teacher, mean of the tasks (–: not run). "
        "Seeds vary fine-tuning: a run's distillation is done once a size; where a row says runs, teacher and "
        "distillation were made again, scores are means of the runs, and drops are from the teachers' mean, not from "
        "the one that a student learnt from. Minutes: core-minutes of training halved, as "
        "of two cores, by the clock and with other work beside them, the fine-tuned teachers that `default` learns "
        f"from included (runs of {' or '.join(map(str, threads))} threads); those of different processors do not "
        "compare, and swh's of `a` hold a fifth task (WikiANN). Rows that are not there have not been run."
    )


def _alike(runs: list[dict[str, Any]]) -> str:
    """Return of which rows the note says that their tasks are fine-tuned alike."""
    changed = any(one["recipe"] == "paper" and not _as_now(one) for one in runs)
    if changed:
        return "`cut-only` and `scratch` are fine-tuned alike (this form of `paper` with other settings), "
    return "`paper`, `cut-only` and `scratch` are fine-tuned alike, "


def _rows(group: list[dict[str, Any]], teachers: list[dict[str, Any]], named: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for task in (t for t in teachers[0]["tasks"] if all(t in one["tasks"] for one in (*group, *teachers))):
        average = mean(one["tasks"][task]["score"] for one in group)
        of_teacher = mean(one["tasks"][task]["score"] for one in teachers)
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
                "train_minutes": round(mean(_of_two_cores(one) for one in group), 1),
                "minutes_by_cpu": _by_cpu(group),
                "recipe_changed": not all(map(_as_now, group)),
            }
        )
    return rows


def _uncertainty(task: str, group: list[dict[str, Any]], teachers: list[dict[str, Any]]) -> float:
    """Return half of a drop's 95 % interval, in points: of the scores' own, which are of the test examples alone, so
    that several runs on them make it no narrower; the two are taken as independent.
    """
    scores, halves = [], []
    for runs in (group, teachers):
        found = [one["tasks"][task] for one in runs]
        scores.append(mean(one["score"] for one in found))
        halves.append(mean((one["interval"][1] - one["interval"][0]) / 2 for one in found))
    return float(100 * np.hypot(halves[0], halves[1] * scores[0] / scores[1]) / scores[1])


def _as_now(run: Mapping[str, Any]) -> bool:
    """Whether the recipe is still the one that this run was of; who may be asked for a teacher is not looked at."""
    whole = recipe_of_row(run["language"], run["recipe"], run["size"] or next(iter(SHAPES)), run["seed"])
    now = _of_tasks(whole, tuple(run["tasks"]))["stages"]
    if run["recipe"] == "scratch":  # it was run without the stages that make its shape
        told = [[e["training"] for e in stages if e["stage"] == "finetune"] for stages in (run["stages"], now)]
    else:
        left = "" if run["recipe"] == "teacher" else "teacher"
        told = [[e for e in stages if name_of(e) != left] for stages in (run["stages"], now)]
    return bool(told[0] == told[1])


def _by_cpu(group: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean minutes of the runs of each processor: those of two processors do not compare."""
    by: dict[str, list[float]] = {}
    for one in group:
        by.setdefault(one["host"]["cpu"], []).append(_of_two_cores(one))
    return {cpu: round(mean(minutes), 1) for cpu, minutes in sorted(by.items())}


def _of_two_cores(run: Mapping[str, Any]) -> float:
    return float(run["minutes"]) * int(run["threads"]) / 2


if __name__ == "__main__":
    main()
