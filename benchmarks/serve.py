"""What `edgecompress serve` holds: beside plain sessions, against requests that nobody should send, and for long.

    python benchmarks/serve.py load ARTIFACT        # speed and waiting times
    python benchmarks/serve.py fuzz ARTIFACT…       # 20,000 requests of every bad kind, and good ones between them
    python benchmarks/serve.py soak ARTIFACT…       # half an hour
    python benchmarks/serve.py summary

The server is a process of its own; this process is the client. Texts are the packaged ones of the demo. The results are
benchmarks/results/serve/{load,fuzz,soak,summary}.json; serve_load.py, serve_fuzz.py and serve_soak.py say how.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
from serve_fuzz import WARM_UP, fuzz
from serve_kinds import World
from serve_load import LIMIT, measure, raw_work
from serve_process import TOKEN, Others, server
from serve_soak import as_requests, growth, soak

from edgecompress.artifact import open_artifact
from edgecompress.bench.host import host
from edgecompress.bench.lane import Lane
from edgecompress.files import write_json
from edgecompress.runtime.session import core_numbers
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import read_examples

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "serve"
TESTS = {"topic": ("slk", "swh"), "sentiment": ("swh",), "ner": ("slk",), "pos": ("slk",)}
PARTS = (  # file, name in the summary → name in the file, what makes it
    ("load", {name: name for name in ("throughput_ratio", "throughput_ratio_many", "p99_over_median",
                                      "paced_p99_over_median")}, "serve.py load ARTIFACT"),
    ("fuzz", {"fuzz_requests": "requests", "fuzz_unexpected": "unexpected", "fuzz_rss_growth_mb": "rss_growth_mb"},
     "serve.py fuzz ARTIFACT…"),
    ("soak", {"soak_minutes": "minutes", "soak_wrong": "wrong", "rss_growth_mb": "rss_growth_mb"},
     "serve.py soak ARTIFACT…"),
    ("page", {"page_first_prediction_s": "page_first_prediction_s", "page_transfer_mb": "page_transfer_mb.gzip",
              "page_transfer_plain_mb": "page_transfer_mb.plain"}, "page.py"),
    ("arm", {"arm_label_agreement": "arm_label_agreement"}, "arm.py"),
    ("footprint", {name: name for name in ("base_install_mb", "cold_import_s", "rss_mb")}, "footprint.py"),
)  # fmt: skip
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def texts_of(*tasks: str) -> list[str]:
    """Return the texts of the packaged test splits, mixed, always in the same order."""
    found = []
    with as_file(files("edgecompress") / "data" / "demo") as data:
        for task in tasks:
            paths = [data / task / language / "test.jsonl.gz" for language in TESTS[task]]
            found += [" ".join(example.words) for example in read_examples(paths, TASKS[task])]
    random.Random(0).shuffle(found)  # noqa: S311 - an order, no secret
    return found


def named(artifacts: Sequence[Path]) -> dict[str, Path]:
    """Return each artifact under its task's name."""
    return {open_artifact(folder).task.name: folder for folder in artifacts}


def write(name: str, found: dict[str, Any], artifacts: Sequence[Path]) -> None:
    """Write a result with the machine that made it."""
    write_json(
        RESULTS / f"{name}.json", {**found, "artifacts": [one.name for one in artifacts], "host": asdict(host())}
    )


@click.group()
def main() -> None:
    """Measure the server: benchmarks/results/serve/*.json."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server ends with this process


@main.command()
@click.argument("artifacts", nargs=-1, required=True, type=FOLDER)
@click.option("--seconds", default=3.0, show_default=True, help="Of one turn.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--clients", default=16, show_default=True, type=click.IntRange(1))
@click.option(
    "--server-cores", multiple=True, default=("1",), show_default=True, help="Measured with each, as in 1 and 0,1."
)
@click.option("--client-core", default=0, show_default=True)
@click.option("--option", "more", multiple=True, help="Given on to `serve`, as in --option=--max-batch=8.")
def load(
    artifacts: Sequence[Path], server_cores: Sequence[str], client_core: int, more: Sequence[str], **plan: Any
) -> None:
    """Measure speed and waiting times of each artifact; the first one's are the headline: load.json."""
    os.sched_setaffinity(0, [client_core])
    found: dict[str, Any] = {}
    for folder, cores in product(artifacts, server_cores):
        name = f"{folder.name}, core {cores}" if len(server_cores) > 1 else folder.name
        allowed = [int(core) for core in cores.split(",")]
        found[name] = _load(folder, more, {**plan, "server_cores": allowed, "client_core": client_core})
        click.echo(json.dumps({name: found[name]}, indent=1))
    write("load", {"figures": found, **plan, "client_core": client_core, "options": list(more)}, artifacts)


def _load(folder: Path, more: Sequence[str], plan: dict[str, Any]) -> dict[str, Any]:
    artifact = open_artifact(folder)
    with closing(Lane(plan["server_cores"][-1:], raw_work)) as ours:
        ours.ask("open", folder, limit=LIMIT)
        texts = ours.ask("fitting", texts_of(artifact.task.name), artifact.max_length, limit=LIMIT)
        options = ("--threads", "1", *more)
        with server({artifact.task.name: folder}, options, cores=plan["server_cores"]) as process:
            found = measure(process, ours, texts, {**plan, "pids": [process.popen.pid, ours.pid, os.getpid()]})
            process.stop()
    return {**found, "texts": len(texts), "server_cores": plan["server_cores"]}


@main.command("fuzz")
@click.argument("artifacts", nargs=-1, required=True, type=FOLDER)
@click.option("--requests", default=20_000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True)
def fuzz_command(artifacts: Sequence[Path], requests: int, seed: int) -> None:
    """Send requests of every bad kind: fuzz.json."""
    models = named(artifacts)
    kinds = {kind: [name for name in models if TASKS[name].kind == kind] for kind in ("text", "token")}
    if not all(kinds.values()):
        raise click.UsageError("give an artifact of a text task and one of a token task")
    world = World(texts_of(*models), kinds["text"], kinds["token"], TOKEN)
    with server(models, ("--threads", "1", "--timeout", "20"), token=TOKEN) as process:
        before = process.held()
        found = asyncio.run(fuzz(process, world, seed, requests, click.echo))
        alive = process.popen.poll() is None
        code, seconds = process.stop()
        logged = process.logged()
    steady = next((one for one in found.held if one["requests"] >= WARM_UP), found.held[-1])
    result = {
        "requests": requests, "checks": found.checks, "busy": found.busy, "unexpected": found.unexpected_count,
        "examples": found.unexpected,
        "rss_growth_mb": round(found.held[-1]["rss_mb"] - steady["rss_mb"], 2), "before": before, "held": found.held,
        "alive": alive, "exit": code, "stop_seconds": seconds, "errors_logged": len(logged), "logged": logged[:5],
        "seed": seed, "seen": {kind: dict(counted) for kind, counted in sorted(found.seen.items())},
    }  # fmt: skip
    write("fuzz", result, artifacts)
    shown = ("requests", "checks", "busy", "unexpected", "rss_growth_mb", "alive", "exit", "errors_logged")
    click.echo(json.dumps({name: result[name] for name in shown}))


@main.command()
def summary() -> None:
    """Collect what is there, of page.py, arm.py and footprint.py too: summary.json."""
    found: dict[str, Any] = {}
    for part, names, command in PARTS:
        path = RESULTS / f"{part}.json"
        if path.is_file():
            data = json.loads(path.read_text(encoding="utf-8"))
            found |= {name: _of(data, where) for name, where in names.items()}
        else:
            click.echo(
                f"{part}.json is not there, so that {', '.join(names)} are left out: python benchmarks/{command}"
            )
    write_json(RESULTS / "summary.json", found)
    click.echo(json.dumps(found, indent=1))


def _of(data: Any, where: str) -> Any:
    """Return what is at ``where``, names with dots between; of the figures of several artifacts the first one's."""
    figures = data.get("figures")
    found = next(iter(figures.values())) if figures else data
    for name in where.split("."):
        found = found[name]
    return found


@main.command("soak")
@click.argument("artifacts", nargs=-1, required=True, type=FOLDER)
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--rate", default=20.0, show_default=True, help="Requests a second, as of a Poisson process.")
def soak_command(artifacts: Sequence[Path], minutes: float, rate: float) -> None:
    """Ask at a steady rate for half an hour, with the models loaded again now and then: soak.json."""
    models, kept = named(artifacts), None
    texts = {name: texts_of(name) for name in models}
    requests = as_requests(list(models), texts, 200)
    with tempfile.TemporaryDirectory(prefix="edgecompress-soak-") as own:
        copies = {name: Path(shutil.copytree(folder, Path(own) / name)) for name, folder in models.items()}
        with server(copies, ("--threads", "1")) as process:
            before = process.held()
            others = Others(core_numbers(), [process.popen.pid, os.getpid()])
            kept = asyncio.run(soak(process, copies, requests, (rate, 60 * minutes), click.echo))
            waited = others.percent()
            code, seconds = process.stop()
            logged = process.logged()
    times = quantiles(kept.milliseconds, n=100)
    result = {
        "minutes": minutes, "rate": rate, "answers": {str(status): count for status, count in kept.answers.items()},
        "wrong": len(kept.wrong), "examples": kept.wrong[:10], "reloads": kept.reloads, **growth(kept.samples),
        "median_ms": round(times[49], 2), "p99_ms": round(times[98], 2), "others_percent": waited, "before": before,
        "exit": code, "stop_seconds": seconds, "errors_logged": len(logged), "logged": logged[:5],
        "requests": len(requests), "samples": kept.samples,
    }  # fmt: skip
    write("soak", result, artifacts)
    click.echo(json.dumps({name: value for name, value in result.items() if name not in ("samples", "examples")}))


if __name__ == "__main__":
    main()
