"""The state of one server: its models, their queues, whether it is stopping. Used in the event loop's thread alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from edgecompress.artifact import Artifact
from edgecompress.errors import EdgecompressError
from edgecompress.pack import Pack, tags_words
from edgecompress.serve.asked import Asked
from edgecompress.serve.batching import Batcher, Fragments
from edgecompress.serve.logs import event
from edgecompress.serve.memory import give_back
from edgecompress.serve.metrics import Metrics
from edgecompress.serve.models import Served, Stamp, open_model, stamp_of
from edgecompress.serve.refusal import Refusal
from edgecompress.serve.settings import Settings


class Service:
    """Models by name, all of them checked, with a queue each."""

    def __init__(self, models: Mapping[str, Served], settings: Settings) -> None:
        self.models = dict(models)
        self.settings = settings
        self.metrics = Metrics()
        self.draining = False
        self.predicting = 0  # requests
        self._batchers: dict[str, Batcher] = {}
        self._loader = ThreadPoolExecutor(1, "loader")  # one: glibc keeps what a thread has freed for that thread
        self._folders = {name: served.artifact.folder for name, served in models.items()}
        self._last_seen: dict[str, Stamp] = {}
        self._failed: dict[str, Stamp] = {}

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: models are checked before they get here, so only stopping says no."""
        return bool(self._batchers) and not self.draining

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the tasks that empty the queues and watch the folders."""
        batchers = {name: Batcher(name, self.settings, self.metrics) for name in self.models}
        tasks = [
            asyncio.create_task(batcher.work()) for batcher in batchers.values() for _ in range(self.settings.runs)
        ]
        if self.settings.watch:
            tasks.append(asyncio.create_task(self._watch()))
        for task in tasks:
            task.add_done_callback(_told)
        self._batchers = batchers
        try:
            yield
        finally:
            self._batchers = {}
            for task in tasks:
                task.cancel()
            for batcher in batchers.values():
                batcher.close()
            self._loader.shutdown(wait=False, cancel_futures=True)
            await asyncio.wait(tasks)

    async def predict(self, asked: Asked) -> tuple[Served, Fragments]:
        """Return the answering model and one JSON object a text. Raises Refusal."""
        served = self._find(asked.model)
        if asked.sentences and not tags_words(served.artifact):
            raise Refusal("bad_request", f"{served.name} gives one label a text: send text or texts, not words")
        batcher = self._batchers[served.name]
        job = batcher.submit(served, asked)
        try:
            async with asyncio.timeout(self.settings.timeout):
                return served, await job.answer
        except TimeoutError as error:
            raise Refusal(
                "timeout", f"no answer within {self.settings.timeout:g} s: try again, or send less"
            ) from error
        except EdgecompressError as error:
            event("model failed", logging.ERROR, model=served.name, error=" ".join(str(error).split()))
            raise Refusal("model_failed", f"{served.name} could not be run on this request") from error
        finally:
            batcher.discard(job)

    def refuse_waiting(self) -> None:
        """Refuse every request that still waits for a run."""
        for batcher in self._batchers.values():
            batcher.refuse_waiting()

    def _find(self, name: str | None) -> Served:
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None:
            raise Refusal("bad_request", f"model is missing: name one of {', '.join(self.models)}")
        if name not in self.models:
            raise Refusal("unknown_model", f"no model of this name is served: name one of {', '.join(self.models)}")
        return self.models[name]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.watch)
            await self.look()

    async def look(self) -> None:
        """Load again each artifact whose files have changed and then stayed the same from one look to the next."""
        for name, folder in self._folders.items():
            stamp = await asyncio.to_thread(stamp_of, folder)
            settled = self._last_seen.get(name) == stamp
            self._last_seen[name] = stamp
            if settled and stamp not in (self.models[name].stamp, self._failed.get(name)):
                await self.reload(name)

    async def reload(self, name: str) -> bool:
        """Load ``name`` from its folder and swap it in once it is checked; else keep the old one and log why."""
        folder, old, begin = self._folders[name], self.models[name], time.perf_counter()
        stamp = await asyncio.to_thread(stamp_of, folder)
        try:
            loop = asyncio.get_running_loop()
            fresh = await loop.run_in_executor(self._loader, open_model, name, folder, self.settings)
        except (EdgecompressError, OSError) as error:
            self._failed[name] = stamp
            self.metrics.reloads.labels(name, "failed").inc()
            event("reload failed", logging.ERROR, model=name, error=str(error), kept=_version(old))
            return False
        self._failed.pop(name, None)
        self.models[name] = fresh
        self.metrics.reloads.labels(name, "loaded").inc()
        event("reloaded", model=name, version=_version(fresh), before=_version(old),
              seconds=round(time.perf_counter() - begin, 3))  # fmt: skip
        for what, before, after in _changes(old, fresh):
            event(f"{what} changed", logging.WARNING, model=name, before=before, after=after)
        del old  # a request that it accepted may still hold it
        await asyncio.to_thread(give_back)
        return True

    async def reload_all(self) -> None:
        """Load every artifact again, changed or not."""
        for name in self.models:
            await self.reload(name)


def load_models(folders: Mapping[str, Path], settings: Settings) -> dict[str, Served]:
    """Open and check every artifact. Raises ArtifactError or CheckError for the first that cannot be served."""
    models = {name: open_model(name, folder, settings) for name, folder in folders.items()}
    give_back()
    return models


def _told(task: asyncio.Task[None]) -> None:
    """Log why a task that works as long as the server ended before it."""
    if not task.cancelled() and (error := task.exception()):
        event("internal error", logging.ERROR, error=f"{type(error).__name__}: {error}")


def _version(served: Served) -> str:
    return served.artifact.checksums[served.artifact.model_file][:12]


def _changes(old: Served, fresh: Served) -> list[tuple[str, object, object]]:
    said: Mapping[str, Callable[[Artifact], object]] = {
        "task": lambda head: head.task.name,
        "labels": lambda head: list(head.labels),
    }
    pairs = [(what, _said(old.artifact, say), _said(fresh.artifact, say)) for what, say in said.items()]
    return [(what, before, after) for what, before, after in pairs if before != after]


def _said(opened: Artifact | Pack, say: Callable[[Artifact], object]) -> object:
    if isinstance(opened, Pack):
        return {name: say(head) for name, head in opened.heads.items()}
    return say(opened)
