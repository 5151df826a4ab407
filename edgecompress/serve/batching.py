"""Requests of one model run together: up to so many texts, or after so many milliseconds.

The event loop only keeps the queue; splitting, tokenizing, the graph and writing JSON happen in a thread. While a run
is on, requests gather by themselves, so that batches grow with the load; ``max_wait_ms``, 0 unless asked for, also
holds a run back for more, which a small model is rarely slow enough to be worth.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from edgecompress.runtime.pack import Predictions
from edgecompress.runtime.predictions import Tags, to_json
from edgecompress.runtime.reading import Prediction
from edgecompress.serve.asked import Asked
from edgecompress.serve.metrics import Metrics
from edgecompress.serve.models import Served
from edgecompress.serve.refusal import Refusal
from edgecompress.serve.settings import Settings

Fragments = list[str]  # one JSON object a text


@dataclass(frozen=True, eq=False)
class Job:
    """An accepted request: it is answered by the generation of the model that accepted it."""

    served: Served
    asked: Asked
    answer: asyncio.Future[Fragments]
    since: float


class Batcher:
    """The queue of one model, and the tasks that empty it. All methods belong to the event loop's thread."""

    def __init__(self, name: str, settings: Settings, metrics: Metrics) -> None:
        self.waiting = 0  # texts
        self._name = name
        self._settings = settings
        self._metrics = metrics
        self._jobs: deque[Job] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(settings.runs, thread_name_prefix=f"serve-{name}")

    def submit(self, served: Served, asked: Asked) -> Job:
        """Queue a request. Raises Refusal when the queue has no room for its texts."""
        if self.waiting + asked.count > self._settings.queue:
            raise Refusal("queue_full", f"{self.waiting} texts are waiting, {self._settings.queue} may: try again")
        loop = asyncio.get_running_loop()
        job = Job(served, asked, loop.create_future(), loop.time())
        self._jobs.append(job)
        self._count(asked.count)
        self._changed.set()
        return job

    def discard(self, job: Job) -> None:
        """Forget a request that nobody waits for any more, if it has not been run yet."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._count(-job.asked.count)

    async def work(self) -> None:
        """Run batches until cancelled. ``settings.runs`` of these may be at work side by side."""
        while True:
            await self._execute(await self._collect())

    def refuse_waiting(self) -> None:
        """Refuse what still waits for a run."""
        while self._jobs:
            job = self._jobs.popleft()
            self._count(-job.asked.count)
            _fail(job, Refusal("draining", "the server stopped before this request was run"))

    def close(self) -> None:
        """Refuse what still waits, and let the threads end."""
        self.refuse_waiting()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, change: int) -> None:
        self.waiting += change
        self._metrics.queue.labels(self._name).set(self.waiting)

    async def _collect(self) -> list[Job]:
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

    def _take(self) -> list[Job]:
        """Take the oldest requests of one generation that fit a batch together; one that is too large goes alone."""
        taken: list[Job] = []
        room = self._settings.collected
        while self._jobs:
            job = self._jobs[0]
            if taken and (job.asked.count > room or job.served is not taken[0].served):
                break
            self._jobs.popleft()
            self._count(-job.asked.count)
            if not job.answer.done():
                taken.append(job)
                room -= job.asked.count
        return taken

    async def _execute(self, jobs: Sequence[Job]) -> None:
        """Run the batch and answer its requests; after an error each runs alone, so that one fails and not all."""
        if not jobs:
            return
        begin = time.perf_counter()
        done = asyncio.get_running_loop().run_in_executor(self._pool, run, jobs[0].served, [job.asked for job in jobs])
        await asyncio.wait({done})
        error = done.exception()
        if error is None:
            self._observe(sum(job.asked.count for job in jobs), time.perf_counter() - begin)
            for job, fragments in zip(jobs, done.result(), strict=True):
                if not job.answer.done():
                    job.answer.set_result(fragments)
        elif len(jobs) > 1:
            for job in jobs:
                await self._execute([job])
        else:
            _fail(jobs[0], error)

    def _observe(self, texts: int, seconds: float) -> None:
        self._metrics.batch.labels(self._name).observe(texts)
        self._metrics.run.labels(self._name).observe(seconds)
        self._metrics.texts.labels(self._name).inc(texts)


def _fail(job: Job, error: BaseException) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)


def run(served: Served, batch: Sequence[Asked]) -> list[Fragments]:
    """Label the texts and the sentences of several requests in one go; return each request's JSON objects, in order."""
    texts = [text for asked in batch for text in asked.texts]
    sentences = [sentence for asked in batch for sentence in asked.sentences]
    labelled: Iterator[Prediction | Predictions] = iter(served.predictor(texts) if texts else ())
    tagged: Iterator[Tags | Mapping[str, Tags]] = iter(served.predictor.tag(sentences) if sentences else ())
    found = [[*islice(labelled, len(asked.texts)), *islice(tagged, len(asked.sentences))] for asked in batch]
    return [[json.dumps(to_json(one), ensure_ascii=False, allow_nan=False) for one in row] for row in found]
