"""Is `edgecompress bench` to be trusted: repeated, beside clocks outside it, and for what it adds itself.

    python benchmarks/harness.py clock ARTIFACT
    python benchmarks/harness.py repeat --teacher TEACHER SUBJECT…
    python benchmarks/harness.py slovak RETENTION/slk -o WORK
    python benchmarks/harness.py summary

``clock``: the harness's turns beside (a) an operation that waits for a known time, and (b) plain onnxruntime sessions
of the same file in a process of their own, which knows nothing of the harness and reads another clock
(CLOCK_MONOTONIC_RAW); in turns, one thread. ``repeat``: the whole benchmark twice, speedups over the teacher compared.
Results are in benchmarks/results/harness.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from rich.console import Console

from edgecompress.artifact import open_artifact
from edgecompress.bench import harness, results, worker
from edgecompress.bench.cells import REAL, Plan
from edgecompress.bench.host import host
from edgecompress.bench.lane import Lane
from edgecompress.bench.opening import How, Opened
from edgecompress.bench.results import Role
from edgecompress.bench.subjects import Target, entries
from edgecompress.commands.show import progress
from edgecompress.files import write_json
from edgecompress.report.terminal import bench_tables
from edgecompress.runtime.encoding import open_tokenizer
from edgecompress.runtime.session import core_numbers
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import read_examples

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "harness"
SCHEME = "int8-tables4"
WAIT = 4.0  # ms, about what a student takes
SHAPES = ((1, 32), (1, 128))
KNOWN = f"wait of {WAIT:g} ms"
ROUNDS, CALLS, LIMIT = 20, 150, 120.0


@click.group()
def main() -> None:
    """Measure the measuring: benchmarks/results/harness/*.json."""


def wait() -> None:
    """Return WAIT after the call, to the microsecond, by the raw clock: a sleep would last longer than it was told."""
    until = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) + int(WAIT * 1e6)
    while time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) < until:
        pass


class Waiter:
    """A session that takes a known time."""

    def run(self, _outputs: Any, _feed: Any) -> list[Any]:
        """Wait."""
        wait()
        return [np.zeros((1, 2), np.float32)]


class WaitingWork:
    """The harness's own work, with a waiter in it."""

    def __init__(self) -> None:
        self._work = worker.Work()
        self.turn = self._work.turn

    def open(self, _target: Target, _how: How) -> dict[str, float]:
        """Open nothing."""
        self._work.opened = Opened(Waiter(), 32, None, None)
        return {}

    def prepare(self, _cell: Any, _texts: Sequence[str]) -> bool:
        """Prepare as for ids."""
        self._work.prepare_ids({})
        return True


def waiting(pipe: Connection, cores: Sequence[int], log: str) -> None:
    """Serve as the harness's worker does, with a waiter."""
    worker.serve(pipe, cores, log, WaitingWork)


def plain(pipe: Connection, cores: Sequence[int], _log: str) -> None:
    """Time a callable with nothing around it, by another clock: nothing of the harness is imported for the loop."""
    import onnxruntime

    os.sched_setaffinity(0, cores)
    clock, tick = time.CLOCK_MONOTONIC_RAW, time.clock_gettime_ns
    session, feed = None, None
    while True:
        try:
            path, ids, calls = pipe.recv()[1]
        except EOFError:
            return
        if path and session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if ids is not None:
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        times = []
        first = tick(clock)
        for _ in range(calls):
            begin = tick(clock)
            session.run(None, feed) if session else wait()
            times.append((tick(clock) - begin) / 1e6)
        pipe.send(("ok", (times, (tick(clock) - first) / 1e6)))


def _compared(ours: Lane, theirs: Lane, cell: tuple[int, int], given: tuple[str, Any]) -> dict[str, float]:
    """Return medians by both clocks, and the milliseconds a call around the harness's turns and around a bare loop."""
    ours.ask("prepare", cell, [], limit=LIMIT)
    theirs.ask("turn", *given, 3, limit=LIMIT)
    medians, walls = [], []
    for number in range(ROUNDS):
        found: dict[str, tuple[float, float]] = {}
        for who in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            if who == "ours":
                turn = ours.ask("turn", 0.0, CALLS, limit=LIMIT)
                found[who] = (median(call["model"] for call in turn.calls), 1000 * turn.took / len(turn.calls))
            else:
                times, took = theirs.ask("turn", *given, CALLS, limit=LIMIT)
                found[who] = (median(times), took / CALLS)
        medians.append((found["ours"][0], found["theirs"][0]))
        walls.append(found["ours"][1] / found["theirs"][1])
    return {
        "harness_p50_ms": round(median(a for a, _ in medians), 4),
        "outside_p50_ms": round(median(b for _, b in medians), 4),
        "difference_percent": round(100 * (median(a / b for a, b in medians) - 1), 3),
        "overhead_percent": round(100 * (median(walls) - 1), 3),
    }


@main.command()
@click.argument("artifact", type=click.Path(exists=True, file_okay=False, path_type=Path))
def clock(artifact: Path) -> None:
    """Compare the harness's times with a known wait and with plain sessions': clock.json."""
    core, found = core_numbers()[:1], {}
    known = int(open_tokenizer(artifact / "tokenizer.json").get_vocab_size())  # the very ids of the harness
    with closing(Lane(core, waiting)) as ours, closing(Lane(core, plain)) as theirs:
        ours.ask("open", Target(artifact, "artifact", ""), How(), limit=LIMIT)
        found[KNOWN] = _compared(ours, theirs, (1, 32), ("", None))
    for shape in SHAPES:
        with closing(Lane(core)) as ours, closing(Lane(core, plain)) as theirs:
            target = next(iter(entries([(str(artifact), "student")], {})[0].targets.values()))
            ours.ask("open", target, How(), limit=LIMIT)
            ids = np.random.default_rng(0).integers(0, known, shape, np.int64)
            found[f"{shape[0]}x{shape[1]}"] = _compared(ours, theirs, shape, (str(artifact / "model.onnx"), ids))
    write_json(
        RESULTS / "clock.json",
        {"rows": found, "known_ms": WAIT, "rounds": ROUNDS, "calls": CALLS, "host": asdict(host())},
    )
    for name, row in found.items():
        click.echo(f"{name}: {row}")


@main.command()
@click.argument("subjects", nargs=-1, required=True)
@click.option("--teacher", required=True)
@click.option("--seconds", default=4.0, show_default=True, help="For each subject and shape.")
def repeat(subjects: Sequence[str], teacher: str, seconds: float) -> None:
    """Run the benchmark twice and compare the speedups over the teacher: repeat.json."""
    rows = entries([(teacher, "teacher"), *((one, "student") for one in subjects)], {})
    plan = Plan(batches=(1,), lengths=(32, 128), seconds=seconds, rounds=10)
    with progress(Console()):
        runs = [harness.measure(rows, {}, plan, name="repeat") for _ in range(2)]
    values = [
        {(m.subject, m.settings["length"]): m.value for m in one.measurements if m.metric == "speedup"} for one in runs
    ]
    disturbed = [
        {metric: max(m.value for m in one.measurements if m.metric == metric) for metric in ("noise", "waiting")}
        for one in runs
    ]
    found = [
        {"subject": name, "length": length, "first": first, "second": values[1][name, length],
         "difference_percent": round(100 * abs(values[1][name, length] / first - 1), 2)}
        for (name, length), first in values[0].items() if name != rows[0].name
    ]  # fmt: skip
    write_json(RESULTS / "repeat.json", {"rows": found, "disturbed": disturbed, "host": asdict(runs[0].host)})
    for row in found:
        click.echo(str(row))
    click.echo(f"as the harness says itself: {disturbed}")


@main.command()
@click.argument("models", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
def slovak(models: Path, output: Path) -> None:
    """Measure the Slovak students of the retention benchmark (its WORK/slk) on their test splits: slovak.json."""
    # not at the top: the processes that are measured import this file, and torch is not theirs to hold
    from students import made_of

    from edgecompress.export.quantize import quantize

    stages = {"teacher": "teacher", "cut-only": "cut-only-maximum-s0", "student": "default-maximum-s0"}
    tests = {task: read_examples([_split(task)], TASKS[task]) for task in TASKS}
    with progress(Console()):
        for (row, stage), task in product(stages.items(), TASKS):
            made_of(models / "stages" / f"{stage}-{task}", output / f"{row}-{task}-fp32")
        for task in TASKS:
            small = output / f"student-{task}-{SCHEME}"
            if not small.is_dir():
                quantize(open_artifact(output / f"student-{task}-fp32"), small, scheme=SCHEME)
        specs: list[tuple[str, Role]] = [
            (f"teacher={output}/teacher-{{task}}-fp32", "teacher"),
            (f"cut-only={output}/cut-only-{{task}}-fp32", "baseline"),
            (f"student={output}/student-{{task}}-fp32", "student"),
            (f"{SCHEME}={output}/student-{{task}}-{SCHEME}", "student"),
        ]
        rows = entries(specs, {task: task for task in TASKS})
        plan = Plan(batches=(1,), lengths=(32, 128, REAL), seconds=4.0, rounds=10)
        found = harness.measure(rows, tests, plan, name="slovak")
    results.write(RESULTS / "slovak.json", found)
    for table in bench_tables(found):
        Console().print(table)


def _split(task: str) -> Path:
    return Path(os.environ["EDGECOMPRESS_DATA"]) / task / "slk_Latn" / "test.jsonl"


@main.command()
def summary() -> None:
    """Write summary.json."""
    clocks, repeated = (json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("clock", "repeat"))
    rows = clocks["rows"]
    write_json(RESULTS / "summary.json", {
        "repeat_difference_percent": max(row["difference_percent"] for row in repeated["rows"]),
        "known_ms": clocks["known_ms"],
        "measured_ms": rows[KNOWN]["harness_p50_ms"],
        "outside_clock_difference_percent": max(abs(row["difference_percent"]) for row in rows.values()),
        "overhead_percent": rows["1x32"]["overhead_percent"],
        "overhead_percent_1x128": rows["1x128"]["overhead_percent"],
        "noise_percent": max(one["noise"] for one in repeated["disturbed"]),
        "waiting_percent": max(one["waiting"] for one in repeated["disturbed"]),
        "note": f"One thread of {clocks['host']['cpu']}. The largest of each; overhead: the harness's seconds a call"
        " over those of a bare loop, at 1x32.",
    })  # fmt: skip


if __name__ == "__main__":
    main()
