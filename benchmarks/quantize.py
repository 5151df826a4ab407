"""Our artifacts beside optimum's of the very same students: milliseconds, bytes, and what quantization costs in score.

    make .venv-optimum/.ready                                          # the peer's environment
    export EDGECOMPRESS_DATA=/the/folder
    python benchmarks/quantize.py speed --optimum-cli .venv-optimum/bin/optimum-cli -o WORK
    python benchmarks/quantize.py scores slk --models RETENTION/slk --optimum-cli .venv-optimum/bin/optimum-cli -o WORK
    python benchmarks/quantize.py ladder RETENTION/slk/artifacts/default-maximum-s0-ner-fp32 --validation FILE -o WORK
    python benchmarks/quantize.py summary

``speed``: a 6×312 student of XLM-R (FFN 2048, 40,000 pieces) and a 3×448 one with ReLU and 64-wide heads, of about as
many parameters, both with random weights, which speed does not depend on; XLM-R base in float32 as their teacher.
``scores``: the default students of the retention benchmark (its WORK folder), on their validation splits. The peer is
`optimum-cli export onnx` and `optimum-cli onnxruntime quantize --avx512_vnni`. All on one thread, subjects in turns.
Results are in benchmarks/results/quantize.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import click
import quantize_sides as sides
from rich.console import Console
from students import made_of

from edgecompress.artifact import Artifact, open_artifact, seal
from edgecompress.bench.host import host
from edgecompress.bench.latency import latencies, medians
from edgecompress.commands.show import progress
from edgecompress.export.graph import read, write
from edgecompress.export.ladder import Judge, climb
from edgecompress.export.naming import without_token_types
from edgecompress.export.quantize import quantize
from edgecompress.export.tune import tune
from edgecompress.files import write_json
from edgecompress.tasks.examples import read_examples

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "quantize"
DEFAULT, SMALLEST = "int8-tables4", "int4"
SHAPES = ((1, 32), (1, 128))
TASKS = ("topic", "sentiment", "ner", "pos")
XLMR_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
STUDENTS: Mapping[str, dict[str, Any]] = {
    "6x312": {"hidden_size": 312, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 2048,
              "vocab_size": 40_000},
    "3x448 ReLU": {"hidden_size": 448, "num_hidden_layers": 3, "num_attention_heads": 7, "intermediate_size": 2048,
                   "vocab_size": 27_000, "hidden_act": "relu"},
}  # fmt: skip
_WORK = click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
_PEER = click.option("--optimum-cli", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def main() -> None:
    """Measure, and write benchmarks/results/quantize/*.json."""


@main.command()
@_PEER
@_WORK
@click.option("--seconds", default=3.0, show_default=True, help="Timed for each subject and shape.")
def speed(optimum_cli: Path, output: Path, seconds: float) -> None:
    """Time teacher, peer and ours in one run: speed.json."""
    subjects: dict[str, Artifact | Path] = {}
    with progress(Console()):
        teacher = sides.model(output / "teacher", {**XLMR_BASE, "vocab_size": 250_002})
        subjects["teacher fp32"] = sides.exported(teacher, output / "teacher-fp32")
        for name, shape in STUDENTS.items():
            folder = sides.model(output / name.replace(" ", "-"), shape)
            plain = sides.exported(folder, output / f"{folder.name}-fp32")
            subjects |= {f"{name} {s}": sides.quantized(plain, s) for s in (DEFAULT, SMALLEST)}
            subjects[f"{name} peer"] = sides.peer(optimum_cli, folder, "text-classification")
        found = latencies(subjects, SHAPES, seconds=seconds, rounds=10)
    times = {name: {f"{b}x{n}": ms for (b, n), ms in of.items()} for name, of in medians(found).items()}
    sizes = {
        name: (one.model_path if isinstance(one, Artifact) else one).stat().st_size for name, one in subjects.items()
    }
    peak = sides.int8_peak()
    write_json(RESULTS / "speed.json", {
        "milliseconds": times, "bytes": sizes, "int8_peak_gops": round(peak, 1),
        "operations_1x128": {name: sides.operations(shape, 128) for name, shape in STUDENTS.items()},
        "seconds": seconds, "host": asdict(host()),
    })  # fmt: skip
    for name, of in times.items():
        click.echo(f"{name}: {sizes[name] / 1e6:.2f} MB, " + ", ".join(f"{k} {v:.2f} ms" for k, v in of.items()))


@main.command()
@click.argument("language")
@click.option("--models", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--free", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="WORK of the retention benchmark with the shallow students, to stand beside them.")  # fmt: skip
@_PEER
@_WORK
def scores(language: str, models: Path, free: Path | None, optimum_cli: Path, output: Path) -> None:
    """Score and time the four default students of LANGUAGE in fp32, ours and the peer's int8: scores-LANGUAGE.json."""
    data, rows, output = Path(os.environ["EDGECOMPRESS_DATA"]), [], output / language
    output.mkdir(parents=True, exist_ok=True)
    with progress(Console()):
        for task in TASKS:
            name = f"default-maximum-s0-{task}"
            plain = _of_stage(models, name, output)
            subset = "ner-masakhaner2" if (task, language) == ("ner", "swh") else task
            judge = Judge(read_examples((data / subset / f"{language}_Latn" / "validation.jsonl",), plain.task))
            kind = "text-classification" if plain.task.kind == "text" else "token-classification"
            if not (output / name).is_symlink():
                (output / name).symlink_to((models / "stages" / name).resolve())
            made = {
                "fp32": plain,
                "peer": _as_artifact(plain, sides.peer(optimum_cli, output / name, kind), output / f"{name}-p"),
            }
            for scheme in (DEFAULT, SMALLEST):
                target = output / f"{name}-{scheme}"
                made[scheme] = open_artifact(target) if target.is_dir() else quantize(plain, target, scheme=scheme)
            made["tuned"] = _tuned(plain, output)
            if free:
                made["free fp32"] = _of_stage(free, f"default-shallow-s0-{task}", output)
                made["free tuned"] = _tuned(made["free fp32"], output)
            found = {who: round(judge.score(one, 1.0), 2) for who, one in made.items()}
            graphs: dict[str, Artifact | Path] = {**made, "peer": sides.peer(optimum_cli, output / name, kind)}
            timed = medians(latencies(graphs, SHAPES, seconds=4.0, rounds=10))
            times = {who: {f"{b}x{n}": ms for (b, n), ms in of.items()} for who, of in timed.items()}
            size = {who: one.model_path.stat().st_size for who, one in made.items()}
            rows.append({"task": task, "scores": found, "bytes": size, "milliseconds": times})
            click.echo(f"{task}: {found}")
    write_json(RESULTS / f"scores-{language}.json", {"language": language, "rows": rows, "host": asdict(host())})


def _of_stage(models: Path, name: str, output: Path) -> Artifact:
    return made_of(models / "stages" / name, output / f"{name}-fp32")


def _tuned(plain: Artifact, output: Path) -> Artifact:
    target = output / plain.folder.name.replace("fp32", "tuned")
    return open_artifact(target) if target.is_dir() else tune(plain, target, scheme=DEFAULT).artifact


def _as_artifact(plain: Artifact, graph: Path, folder: Path) -> Artifact:
    """Put the peer's graph where ours is, so that the same predictor runs it."""
    if folder.is_dir():
        return open_artifact(folder)
    model = read(graph)
    without_token_types(model)
    folder.mkdir(parents=True)
    write(model, folder / plain.model_file)
    (folder / "tokenizer.json").write_bytes(plain.tokenizer_path.read_bytes())
    return seal(replace(plain, folder=folder, scheme="peer"))


@main.command()
@click.argument("artifact", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--validation", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_WORK
def ladder(artifact: Path, validation: Path, output: Path) -> None:
    """Try every scheme on one real student: ladder.json."""
    plain = open_artifact(artifact)
    judge = Judge(read_examples((validation,), plain.task))
    with progress(Console()):
        found = climb(plain, output / "chosen", judge)
    machine = host()
    write_json(RESULTS / "ladder.json", {
        "rungs": [asdict(rung) for rung in found.rungs], "chosen": found.chosen, "metric": found.metric,
        "note": f"In bold the one that is kept. {found.metric} on {len(judge.examples)} validation examples; error: of "
        f"the logits' spread over inputs, root mean square, random ids included; one thread of {machine.cpu}.",
        "host": asdict(machine),
    })  # fmt: skip


@main.command()
def summary() -> None:
    """Write summary.json from speed.json and the scores."""
    timed = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    ms, size = timed["milliseconds"], timed["bytes"]
    first, free = STUDENTS
    peer, ours = ms[f"{first} peer"], ms[f"{first} {DEFAULT}"]
    best = min(
        (f"{name} {scheme}" for name in STUDENTS for scheme in (DEFAULT, SMALLEST)), key=lambda who: ms[who]["1x128"]
    )
    floor = timed["operations_1x128"][first] / timed["int8_peak_gops"] / 1e6
    floor_ratio = round(ours["1x128"] / floor, 2)
    smallest = ms["teacher fp32"]["1x128"] / ms[f"{free} {SMALLEST}"]["1x128"]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("scores-*.json"))]
    drops = {
        f"{run['language']} {row['task']}": {
            who: round(row["scores"]["fp32"] - row["scores"][who], 2) for who in (DEFAULT, SMALLEST, "peer")
        }
        for run in runs
        for row in run["rows"]
    }
    students = {f"{run['language']} {row['task']}": _beside_peer(row) for run in runs for row in run["rows"]}
    write_json(RESULTS / "summary.json", {
        "peer_latency_ratio_1x32": round(peer["1x32"] / ours["1x32"], 3),
        "peer_latency_ratio_1x128": round(peer["1x128"] / ours["1x128"], 3),
        "peer_size_ratio": round(size[f"{first} {DEFAULT}"] / size[f"{first} peer"], 3),
        "peer_smallest_ratio": round(size[f"{first} {SMALLEST}"] / size[f"{first} peer"], 3),
        "peer_free_shape_ratio_1x128": round(peer["1x128"] / ms[f"{free} {DEFAULT}"]["1x128"], 3),
        "teacher_latency_ratio_1x128": round(ms["teacher fp32"]["1x128"] / ms[best]["1x128"], 2),
        "best_student": best,
        "xlmr_student_mb": round(size[f"{first} {SMALLEST}"] / 1e6, 2),
        "floor_ratio": floor_ratio,
        "task_drop_points": {task: of[DEFAULT] for task, of in drops.items()},
        "drops": drops,
        "students": students,
        "free_shape": _free_shape([row for run in runs for row in run["rows"]]),
        "note": f"`peer`: optimum's int8. One thread of {timed['host']['cpu']}, medians, in turns. The XLM-R shapes of "
        f"the first table have random weights: their size and time alone mean something. {first} {DEFAULT} at 1×128 "
        f"takes {floor_ratio} times (floor_ratio) what its products of constants alone would take at the int8 peak "
        f"that was measured there; {free} {SMALLEST} is {smallest:.1f} times as fast as the teacher; no stage changes "
        f"an activation, so that none makes {free} of this teacher: it shows what a shape gives. Points below "
        "fp32: one seed, on validation data, one text at a time; "
        "where there are 99 of them (topic), one text is a point."
        f"{timed.get('remark', '')}",
    })  # fmt: skip


def _beside_peer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return, for a real student, the peer's milliseconds over ours, and our bytes over the peer's."""
    ms, size = row["milliseconds"], row["bytes"]
    return {
        **{f"{who} {at}": round(ms["peer"][at] / ms[who][at], 3) for who in (DEFAULT, "tuned") for at in ms[who]},
        **{f"{who} bytes": round(size[who] / size["peer"], 3) for who in (DEFAULT, SMALLEST)},
    }


def _free_shape(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the shallow student beside the deep one of as many parameters: mean score, and speed beside the peer."""
    having = [row for row in rows if "free tuned" in row["scores"]]
    if not having:
        return {}
    means = {who: mean(row["scores"][who] for row in having) for who in ("fp32", "tuned", "peer", "free tuned")}
    faster = [row["milliseconds"]["peer"]["1x128"] / row["milliseconds"]["free tuned"]["1x128"] for row in having]
    ner = next(row["scores"] for row in having if row["task"] == "ner")
    return {
        **{f"mean score {who}": round(value, 2) for who, value in means.items()},
        **{f"ner {who}": ner[who] for who in ("tuned", "free tuned")},
        "peer over free tuned 1x128": round(mean(faster), 3),
    }


if __name__ == "__main__":
    main()
