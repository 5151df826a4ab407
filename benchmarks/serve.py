"""How much of the predictor's own speed is left over HTTP, and how long the slowest wait.

    python benchmarks/serve.py ARTIFACT TEXTS.jsonl

One server process with one thread a run; raw calls of the predictor on the same texts with one thread; both in turns of
``--seconds``, after a warm-up. Clients are asyncio streams in this process, so they take time from the server where
there are few cores. Written to benchmarks/results/serve/summary.json:

- throughput_ratio: texts a second over HTTP, ``--clients`` at once with one text a request, over those of raw calls
  with one text each; the medians of the turns.
- p99_over_single_median: the 99th percentile of answers at half that load (arrivals at random, as of a Poisson
  process), over the median of one client alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

import click

import edgecompress
from edgecompress.bench.host import host
from edgecompress.files import write_json
from edgecompress.runtime.pack import AnyPredictor

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "serve"


@click.command()
@click.argument("artifact", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("lines", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=5.0, show_default=True, help="Of one turn.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--clients", default=16, show_default=True, type=click.IntRange(1))
@click.option(
    "--option", "more", multiple=True, help="Passed on to `edgecompress serve`, as in --option=--max-batch=8."
)
def main(artifact: Path, lines: Path, seconds: float, rounds: int, clients: int, more: Sequence[str]) -> None:
    """Measure the server with ARTIFACT on the texts of LINES (JSON lines with "text")."""
    texts = [json.loads(line)["text"] for line in lines.read_text(encoding="utf-8").splitlines()]
    with server(artifact, more) as port:
        found = measure(artifact, texts, port, (seconds, rounds, clients))
    summary = {
        **found,
        "artifact": artifact.name, "texts": len(texts), "seconds": seconds, "rounds": rounds, "clients": clients,
        "options": list(more), "host": asdict(host()),
    }  # fmt: skip
    write_json(RESULTS / "summary.json", summary)
    click.echo(json.dumps(found, indent=1))


@contextmanager
def server(artifact: Path, more: Sequence[str]) -> Iterator[int]:
    """Yield the port of a server in a process of its own, which is asked to stop at the end."""
    code = "from edgecompress.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", f"m={artifact}", "--port", "0", "--threads", "1", *more]
    environment = {name: value for name, value in os.environ.items() if name != "EDGECOMPRESS_TOKEN"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        yield int(address.rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def measure(artifact: Path, texts: Sequence[str], port: int, plan: tuple[float, int, int]) -> dict[str, float]:
    """Return the figures of the summary; times are in milliseconds, speeds in texts a second."""
    seconds, rounds, clients = plan
    raw_call = edgecompress.load(artifact, threads=1)
    raw, served = [], []
    raw_speed(raw_call, texts, 1.0)
    asyncio.run(closed(port, texts, clients, 1.0))
    for _ in range(rounds):
        raw.append(raw_speed(raw_call, texts, seconds))
        served.append(len(asyncio.run(closed(port, texts, clients, seconds))) / seconds)
    single = median(asyncio.run(closed(port, texts, 1, seconds)))
    half = asyncio.run(opened(port, texts, median(served) / 2, seconds * rounds))
    p99 = quantiles(half, n=100)[98]
    return {
        "raw_texts_per_s": round(median(raw), 1),
        "served_texts_per_s": round(median(served), 1),
        "throughput_ratio": round(median(served) / median(raw), 3),
        "single_median_ms": round(single * 1000, 2),
        "half_load_median_ms": round(median(half) * 1000, 2),
        "half_load_p99_ms": round(p99 * 1000, 2),
        "p99_over_single_median": round(p99 / single, 2),
    }


def raw_speed(predictor: AnyPredictor, texts: Sequence[str], seconds: float) -> float:
    """Return texts a second of calls with one text each."""
    begin = time.perf_counter()
    for count, text in enumerate(cycle(texts), 1):
        predictor(text)
        if time.perf_counter() - begin >= seconds:
            return count / (time.perf_counter() - begin)
    raise AssertionError("no texts")


async def closed(port: int, texts: Sequence[str], clients: int, seconds: float) -> list[float]:
    """Return the time of each answer, in seconds, when each client asks again as soon as it has its answer."""
    deadline, times = time.perf_counter() + seconds, list[float]()
    source = cycle(texts)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            times.append(await ask(reader, writer, next(source)))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


async def opened(port: int, texts: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Return the time of each answer, in seconds from its arrival, for ``rate`` arrivals a second at random."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(64):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    drawn, source, times = random.Random(0), cycle(texts), list[float]()  # noqa: S311 - load, no secret

    async def one(text: str) -> None:
        begin = time.perf_counter()
        pair = await free.get()
        await ask(*pair, text)
        times.append(time.perf_counter() - begin)
        free.put_nowait(pair)

    begin, due, asked = time.perf_counter(), 0.0, set[asyncio.Task[None]]()
    while due < seconds:
        due += drawn.expovariate(rate)
        await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
        asked.add(asyncio.create_task(one(next(source))))
    await asyncio.gather(*asked)
    return times


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> float:
    """Send one text over a kept connection and return the seconds to the whole answer."""
    body = json.dumps({"text": text}).encode()
    begin = time.perf_counter()
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
