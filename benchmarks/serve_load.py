"""Speed over HTTP beside plain onnxruntime sessions, and how long the slowest wait at half that speed.

The server has the cores that it is given; what it is compared with has the last of them, in other turns, and one thread
for the graph as the server has; this process, the client, has a core of its own where there is one. In turns of some
seconds, every second round in reverse:

- raw sessions: a loop over tokenizers' ``encode``, numpy and ``session.run``, one text each: no class of this package.
- predictor: a loop over calls of the predictor, one text each.
- served: ``clients`` that each ask again as soon as they have their answer, one text a request.
- many: the same with 16 texts a request, as who has many asks.
- single: one such client.
- half load: as many arrivals as half of what was served, at random (a Poisson process), sent whether or not those
  before were answered. A time counts from when a request was due, so that a late client hides nothing. One server with
  texts of one length and nothing else to do would keep 1 in 100 waiting for 4.3 times a run: chance, not overhead.
- paced: as many, evenly spaced, as wrk2 and vegeta send them.

A ratio is the median of the rounds' ratios. What other programs took of either core is told with it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from serve_fuzz import answer
from serve_kinds import whole
from serve_process import Others, Process

from edgecompress.artifact import open_artifact
from edgecompress.bench import worker
from edgecompress.bench.lane import Lane

_CONNECTIONS = 64
LIMIT = 120.0
KINDS = ("sessions", "predictor", "served", "many")
_MANY = 16  # texts a request


@dataclass(frozen=True)
class Speed:
    """Texts a second by the clock, and microseconds of a core for each: these do not count what others took."""

    texts: float
    cpu: float


class RawWork:
    """What a process does that is compared with the server: a loop of each kind."""

    def open(self, folder: Path) -> None:
        """Open the artifact in both ways."""
        import onnxruntime
        from tokenizers import Tokenizer

        from edgecompress import load

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        artifact = open_artifact(folder)
        self._session = onnxruntime.InferenceSession(
            str(artifact.model_path), options, providers=["CPUExecutionProvider"]
        )
        self._wants = [node.name for node in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(str(artifact.tokenizer_path))
        self._predictor = load(folder, threads=1)

    def fitting(self, texts: Sequence[str], most: int) -> list[str]:
        """Return the texts that fit the model at once: to cut long ones is less work than to read all of them."""
        return [text for text in texts if len(self._tokenizer.encode(text).ids) <= most]

    def sessions(self, texts: Sequence[str], seconds: float) -> Speed:
        """Time plain sessions."""
        return _speed(self._one, texts, seconds)

    def predictor(self, texts: Sequence[str], seconds: float) -> Speed:
        """Time the predictor."""
        return _speed(self._predictor, texts, seconds)

    def _one(self, text: str) -> str:
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        logits = self._session.run(None, {name: feed[name] for name in self._wants})[0][0]
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares = (powers / powers.sum(axis=-1, keepdims=True)).tolist()
        return json.dumps(shares)


def _speed(call: Any, texts: Sequence[str], seconds: float) -> Speed:
    begin, ran, source = time.perf_counter(), time.process_time(), cycle(texts)
    count = 0
    while time.perf_counter() - begin < seconds:
        call(next(source))
        count += 1
    return Speed(count / (time.perf_counter() - begin), 1e6 * (time.process_time() - ran) / count)


def raw_work(pipe: Connection, cores: Sequence[int], log: str) -> None:
    """Serve RawWork as the benchmark harness serves its subjects."""
    worker.serve(pipe, cores, log, RawWork)


def measure(process: Process, ours: Lane, texts: Sequence[str], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures and turns. ``plan``: seconds a turn, rounds, clients, cores and processes of server and client."""
    seconds, rounds, clients, port = plan["seconds"], plan["rounds"], plan["clients"], process.port
    asyncio.run(closed(port, texts, clients, 1.0))
    for kind in ("sessions", "predictor"):
        ours.ask(kind, texts, 1.0, limit=LIMIT)
    cores = sorted({*plan["server_cores"], plan["client_core"]})
    others = Others(cores, plan["pids"])
    turns: list[dict[str, Any]] = []
    for number in range(rounds):
        turn: dict[str, Any] = {}
        order = ["sessions", "predictor", "served", "many", "single"]
        for kind in order if number % 2 == 0 else order[::-1]:
            if kind in ("sessions", "predictor"):
                turn[kind] = ours.ask(kind, texts, seconds, limit=LIMIT)
            elif kind in ("served", "many"):
                size, before = _MANY if kind == "many" else 1, process.cpu()
                count = size * len(asyncio.run(closed(port, texts, clients, seconds, size)))
                turn[kind] = Speed(count / seconds, 1e6 * (process.cpu() - before) / count)
            else:
                turn[kind] = asyncio.run(closed(port, texts, 1, seconds))
        for kind, seed in (("half", number), ("paced", None)):
            turn[kind] = asyncio.run(opened(port, texts, turn["served"].texts / 2, 2 * seconds, seed))
        turns.append(turn)
    return {
        **summary(turns),
        "others_percent": others.percent(),
    }


def summary(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return speeds in texts a second, times in milliseconds, and the ratios that are asked for."""
    half = [time for turn in turns for time in turn["half"]]
    single, paced = ([time for turn in turns for time in turn[kind]] for kind in ("single", "paced"))
    rows = [
        {**{kind: round(turn[kind].texts, 1) for kind in KINDS},
         **{f"{kind}_cpu_us": round(turn[kind].cpu) for kind in KINDS},
         "single_median_ms": _ms(median(turn["single"])), "half_median_ms": _ms(median(turn["half"])),
         "half_p99_ms": _ms(_percentile(turn["half"], 99)),
         "p99_over_median": round(_percentile(turn["half"], 99) / median(turn["single"]), 2)}
        for turn in turns
    ]  # fmt: skip
    return {
        "raw_sessions_texts_per_s": median(row["sessions"] for row in rows),
        "predictor_texts_per_s": median(row["predictor"] for row in rows),
        "served_texts_per_s": median(row["served"] for row in rows),
        "throughput_ratio": round(median(row["served"] / row["sessions"] for row in rows), 3),
        "many_texts_per_s": median(row["many"] for row in rows),
        "throughput_ratio_many": round(median(row["many"] / row["sessions"] for row in rows), 3),
        "throughput_ratio_predictor": round(median(row["served"] / row["predictor"] for row in rows), 3),
        **{f"{kind}_cpu_us": median(row[f"{kind}_cpu_us"] for row in rows) for kind in KINDS},
        "throughput_ratio_by_cpu": round(median(row["sessions_cpu_us"] / row["served_cpu_us"] for row in rows), 3),
        "single_median_ms": _ms(median(single)),
        "single_p99_ms": _ms(_percentile(single, 99)),
        "half_load_median_ms": _ms(median(half)),
        "half_load_p99_ms": _ms(_percentile(half, 99)),
        "half_load_requests": len(half),
        "paced_p99_ms": _ms(_percentile(paced, 99)),
        "paced_p99_over_median": round(_percentile(paced, 99) / median(single), 2),
        "p99_over_median": round(_percentile(half, 99) / median(single), 2),
        "rounds": rows,
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]


def _requests(texts: Sequence[str], size: int = 1) -> list[bytes]:
    """Return whole requests of ``size`` texts each; the last ones go round to the first text."""
    asked = [[*texts[at : at + size], *texts[: max(0, at + size - len(texts))]] for at in range(0, len(texts), size)]
    bodies: list[dict[str, Any]] = [{"texts": some} if size > 1 else {"text": some[0]} for some in asked]
    return [whole(json.dumps(body, ensure_ascii=False).encode("utf-8"), "") for body in bodies]


async def closed(port: int, texts: Sequence[str], clients: int, seconds: float, size: int = 1) -> list[float]:
    """Return the time of each answer, in seconds, when each client asks again as soon as it has its answer.

    A request has ``size`` texts.
    """
    deadline, times, source = time.perf_counter() + seconds, list[float](), cycle(_requests(texts, size))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            times.append(await _timed(reader, writer, next(source), time.perf_counter()))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


async def opened(port: int, texts: Sequence[str], rate: float, seconds: float, seed: int | None) -> list[float]:
    """Return the time of each answer, in seconds from when its request was due, for ``rate`` arrivals a second: at
    random by ``seed``, or evenly spaced for None.
    """
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    drawn, source, times = random.Random(seed), cycle(_requests(texts)), list[float]()  # noqa: S311 - load, no secret

    async def one(raw: bytes, due: float) -> None:
        pair = await free.get()
        times.append(await _timed(*pair, raw, due))
        free.put_nowait(pair)

    begin, due, asked = time.perf_counter(), 0.0, set[asyncio.Task[None]]()
    while due < seconds:
        due += 1 / rate if seed is None else drawn.expovariate(rate)
        await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
        asked.add(asyncio.create_task(one(next(source), begin + due)))
    await asyncio.gather(*asked)
    while not free.empty():
        free.get_nowait()[1].close()
    return times


async def _timed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes, begin: float) -> float:
    """Send one request over a kept connection and return the seconds from ``begin`` to the whole answer."""
    writer.write(raw)
    status, body = await answer(reader)
    assert status == 200, body
    return time.perf_counter() - begin
