"""Requests of one model run together: up to so many texts, or after so many milliseconds.

The event loop only keeps the queue; splitting, tokenizing, the graph and writing JSON happen in a thread. While a run
is on, requests gather by themselves, so that batches grow with the load; ``max_wait_ms``, 0 unless asked for, also
holds a run back for more, which a small model is rarely slow enough to be worth.

A run takes no more characters than one text may have. What a large request has beyond that goes to the end of the
queue: others wait for one piece of it and not for all, and what nobody waits for any more is not run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, islice, takewhile
from typing import Any

from edgecompress.runtime.pack import Predictions
from edgecompress.runtime.predictions import Tags
from edgecompress.runtime.reading import Prediction
from edgecompress.serve.asked import Asked
from edgecompress.serve.metrics import Metrics
from edgecompress.serve.models import Served
from edgecompress.serve.refusal import Refusal
from edgecompress.serve.settings import Settings

Fragments = list[str]  # one JSON object a text
# Seconds for each request of a run, after which what is done is told: telling takes the core's time, too
_EARLY = 0.0005


@dataclass(eq=False)
class Job:
    """An accepted request: it is answered by the generation of the model that accepted it.

    ``sizes`` are characters of its texts; those before ``next`` are in a run or done; ``found`` are the results so far.
    """

    served: Served
    asked: Asked
    answer: asyncio.Future[Fragments]
    since: float
    sizes: Sequence[int]
    next: int = 0
    found: dict[int, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many texts are in no run yet."""
        return len(self.sizes) - self.next

    def fitting(self, room: int, characters: int) -> int:
        """Return how many of the texts that are left fit into so much room, one after the other."""
        ends = accumulate(self.sizes[self.next : self.next + room])
        return sum(1 for _ in takewhile(lambda end: end <= characters, ends))


@dataclass(frozen=True, eq=False)
class Piece:
    """What a run does of a request: its texts from ``begin`` on."""

    job: Job
    begin: int
    asked: Asked


class Batcher:
    """The queue of one model, and the tasks that empty it. All methods belong to the event loop's thread."""

    def __init__(self, name: str, settings: Settings, metrics: Metrics) -> None:
        self.waiting = 0  # texts
        self._settings = settings
        self._waiting_texts = metrics.queue.labels(name)
        self._batch, self._run = metrics.batch.labels(name), metrics.run.labels(name)
        self._texts = metrics.texts.labels(name)
        self._jobs: deque[Job] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(settings.runs, thread_name_prefix=f"serve-{name}")

    def submit(self, served: Served, asked: Asked) -> Job:
        """Queue a request. Raises Refusal when the queue has no room for its texts."""
        if self.waiting + asked.count > self._settings.queue:
            raise Refusal("queue_full", f"{self.waiting} texts are waiting, {self._settings.queue} may: try again")
        loop = asyncio.get_running_loop()
        job = Job(served, asked, loop.create_future(), loop.time(), asked.sizes)
        self._jobs.append(job)
        self._count(asked.count)
        self._changed.set()
        return job

    def discard(self, job: Job) -> None:
        """Forget what has not been run yet of a request that nobody waits for any more."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._count(-job.left)

    async def work(self) -> None:
        """Run batches until cancelled. ``settings.runs`` of these may be at work side by side."""
        while True:
            await self._execute(await self._collect())

    def refuse_waiting(self) -> None:
        """Refuse what still waits for a run."""
        while self._jobs:
            job = self._jobs.popleft()
            self._count(-job.left)
            _fail(job, Refusal("draining", "the server stopped before this request was run"))

    def close(self) -> None:
        """Refuse what still waits, and let the threads end."""
        self.refuse_waiting()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, change: int) -> None:
        self.waiting += change
        self._waiting_texts.set(self.waiting)

    async def _collect(self) -> list[Piece]:
        async with self._turn:
            while not self._jobs:
                self._changed.clear()
                await self._changed.wait()
            loop = asyncio.get_running_loop()
            deadline = self._jobs[0].since + self._settings.max_wait_ms / 1000
            timer = loop.call_at(deadline, self._changed.set)
            while self._jobs and self.waiting < self._settings.collected and loop.time() < deadline:
                self._changed.clear()
                await self._changed.wait()
            timer.cancel()
            return self._take()

    def _take(self) -> list[Piece]:
        """Take the oldest requests of one generation that fit a run together; of one that is too large, a part alone.

        What is left of that one goes behind all others.
        """
        taken: list[Piece] = []
        room, characters = self._settings.collected, self._settings.max_chars
        while self._jobs and not (taken and self._jobs[0].served is not taken[0].job.served):
            job = self._jobs[0]
            fits = job.fitting(room, characters)
            if taken and fits < job.left:
                break
            self._jobs.popleft()
            if job.answer.done():
                self._count(-job.left)
                continue
            taken.append(self._part(job, max(fits, 1)))
            if job.left:
                self._jobs.append(job)
                break
            room, characters = room - fits, characters - sum(job.sizes)
        return taken

    def _part(self, job: Job, count: int) -> Piece:
        piece = Piece(job, job.next, job.asked.part(job.next, job.next + count))
        job.next += count
        self._count(-count)
        return piece

    async def _execute(self, pieces: Sequence[Piece]) -> None:
        """Run the batch and answer its requests; after an error each runs alone, so that one fails and not all."""
        if not pieces:
            return
        begin, loop = time.perf_counter(), asyncio.get_running_loop()
        left = deque(pieces)

        def done_with(found: list[Fragments]) -> None:
            for fragments in found:
                _answer(left.popleft(), fragments)

        def early(found: list[Fragments]) -> None:
            loop.call_soon_threadsafe(done_with, found)

        running = loop.run_in_executor(self._pool, run_groups, list(pieces), early)
        await asyncio.wait({running})
        error = running.exception()
        if error is None:
            self._observe(sum(piece.asked.count for piece in pieces), time.perf_counter() - begin)
            done_with(running.result())
        elif len(pieces) > 1:
            for piece in list(left):
                await self._execute([piece])
        else:
            _fail(pieces[0].job, error)

    def _observe(self, texts: int, seconds: float) -> None:
        self._batch.observe(texts)
        self._run.observe(seconds)
        self._texts.inc(texts)


def _answer(piece: Piece, fragments: Fragments) -> None:
    """Note what was found, and answer the request when nothing is missing."""
    job = piece.job
    job.found.update(enumerate(fragments, piece.begin))
    if len(job.found) == len(job.sizes) and not job.answer.done():
        job.answer.set_result([job.found[index] for index in range(len(job.sizes))])


def _fail(job: Job, error: BaseException) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)


def _groups(pieces: Sequence[Piece], most: int) -> Iterator[list[Piece]]:
    """Yield what passes the graph together: neighbours of at most ``most`` texts, or one piece."""
    group: list[Piece] = []
    for piece in pieces:
        if group and sum(one.asked.count for one in (*group, piece)) > most:
            yield group
            group = []
        group.append(piece)
    yield group


def run_groups(pieces: Sequence[Piece], early: Callable[[list[Fragments]], None]) -> list[Fragments]:
    """Run what passes the graph together, one group after the other, and return the results that are not told yet.

    Those in front do not wait for those behind: results are given to ``early`` every now and then, in a run of few at
    once, in a run of many, when the core has more to do, less often.
    """
    served, found, since = pieces[0].job.served, list[Fragments](), time.perf_counter()
    pause = _EARLY * len(pieces)
    for group in _groups(pieces, served.predictor.batch_size):
        if found and time.perf_counter() - since > pause:
            early(found)
            found, since = [], time.perf_counter()
        found += run(served, [piece.asked for piece in group])
    return found


def run(served: Served, batch: Sequence[Asked]) -> list[Fragments]:
    """Label the texts and the sentences of several requests in one go; return each request's JSON objects, in order."""
    texts = [text for asked in batch for text in asked.texts]
    sentences = [sentence for asked in batch for sentence in asked.sentences]
    labelled: Iterator[Prediction | Predictions] = iter(served.predictor(texts) if texts else ())
    tagged: Iterator[Tags | Mapping[str, Tags]] = iter(served.predictor.tag(sentences) if sentences else ())
    found = [[*islice(labelled, len(asked.texts)), *islice(tagged, len(asked.sentences))] for asked in batch]
    return [[_to_json(one) for one in row] for row in found]


def _to_json(one: Prediction | Predictions | Tags | Mapping[str, Tags]) -> str:
    """Return what predictions.to_json does, as text; those of several heads stand by name in "heads"."""
    return _encode({"heads": dict(one)} if isinstance(one, Mapping) else one)


def _fields(one: Any) -> dict[str, Any]:
    """Return a prediction's fields, as dataclasses.asdict does for a whole tree in five times the time."""
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_fields).encode
