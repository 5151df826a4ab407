"""Real texts at a steady rate for long: every answer is compared, memory is sampled, the model is loaded again.

Growth in half an hour is told in two ways: the slope of a line through the samples of the last two thirds, and the last
two minutes' median over the fifth minute's.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from serve_fuzz import ask
from serve_kinds import whole
from serve_process import Process

SAMPLE, RELOAD = 10.0, 180.0  # seconds
HALF_HOUR = 1800.0


@dataclass
class Kept:
    """What a soak saw: seconds and what the process held then, answers by status, and answers that were not right."""

    samples: list[dict[str, float]] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    reloads: int = 0
    milliseconds: list[float] = field(default_factory=list)


async def soak(
    process: Process,
    models: Mapping[str, Path],
    requests: Sequence[bytes],
    plan: tuple[float, float],
    say: Callable[[str], None],
) -> Kept:
    """Ask at ``plan``'s rate (a second) for its seconds. What is right was answered to each request before."""
    rate, seconds = plan
    right = [(await ask(process.port, raw))[1] for raw in requests]
    kept, begin = Kept(), time.perf_counter()
    tasks = [
        asyncio.create_task(_sample(process, kept, begin, say)),
        asyncio.create_task(_reload(process, models, kept)),
    ]
    drawn, due, asked = random.Random(0), 0.0, set[asyncio.Task[None]]()  # noqa: S311 - arrivals, no secret
    while due < seconds:
        due += drawn.expovariate(rate)
        await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
        number = drawn.randrange(len(requests))
        task = asyncio.create_task(_one(process.port, requests[number], right[number], kept))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    for task in tasks:
        task.cancel()
    kept.samples.append({"seconds": round(time.perf_counter() - begin, 1), **process.held()})
    return kept


async def _one(port: int, raw: bytes, right: bytes, kept: Kept) -> None:
    begin = time.perf_counter()
    try:
        status, body = await ask(port, raw)
    except (OSError, asyncio.IncompleteReadError) as error:
        status, body = 0, repr(error).encode()
    kept.milliseconds.append(1000 * (time.perf_counter() - begin))
    kept.answers[status] += 1
    if status != 200 or body != right:
        kept.wrong.append(
            {"status": status, "said": body[:300].decode("utf-8", "replace"), "right": right[:300].decode()}
        )


async def _sample(process: Process, kept: Kept, begin: float, say: Callable[[str], None]) -> None:
    """Note what the process holds, and scrape its figures as Prometheus would."""
    scrape = whole(b"", "", path="/metrics", method="GET")
    while True:
        status, _ = await ask(process.port, scrape)
        kept.answers[status] += 1
        kept.samples.append({"seconds": round(time.perf_counter() - begin, 1), **process.held()})
        if len(kept.samples) % 6 == 0:
            say(f"{kept.samples[-1]} {dict(kept.answers)} {len(kept.wrong)} wrong, {kept.reloads} reloads")
        await asyncio.sleep(SAMPLE)


async def _reload(process: Process, models: Mapping[str, Path], kept: Kept) -> None:
    """Have all models loaded again: by files that look new to the watch, and by the signal, in turns."""
    while True:
        await asyncio.sleep(RELOAD)
        kept.reloads += 1
        if kept.reloads % 2:
            for folder in models.values():
                os.utime(folder / "model.onnx")
        else:
            process.popen.send_signal(signal.SIGHUP)


def growth(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the larger of both kinds of growth, and each, in MB; see the top of this file."""
    end = samples[-1]["seconds"]
    late = [one for one in samples if one["seconds"] >= end / 3]
    slope = linear_regression([one["seconds"] for one in late], [one["rss_mb"] for one in late]).slope
    fifth = [one["rss_mb"] for one in samples if 240 <= one["seconds"] < 300] or [samples[0]["rss_mb"]]
    last = [one["rss_mb"] for one in samples if one["seconds"] >= end - 120]
    ways = {
        "rss_slope_mb_in_30_minutes": round(slope * HALF_HOUR, 2),
        "rss_end_over_minute_5_mb": round(median(last) - median(fifth), 2),
    }
    return {"rss_growth_mb": max(ways.values()), **ways}


def as_requests(models: Sequence[str], texts: Mapping[str, Sequence[str]], each: int) -> list[bytes]:
    """Return requests with real texts of mixed length: single ones, four at once, several joined to a long one."""
    found = []
    for model in models:
        some = texts[model][:each]
        bodies: list[dict[str, Any]] = [{"text": text} for text in some]
        bodies += [{"texts": some[begin : begin + 4]} for begin in range(0, len(some), 16)]
        bodies += [{"text": " ".join(some[begin : begin + 12])} for begin in range(0, len(some), 25)]
        found += [whole(json.dumps({"model": model, **body}).encode(), "") for body in bodies]
    return found
