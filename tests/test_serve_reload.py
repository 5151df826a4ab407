from __future__ import annotations

import asyncio
import gc
import shutil
import weakref

import numpy as np
import pytest
from serving import call, drive, tiny_service
from tiny_artifact import table, write_artifact

from edgecompress.serve.settings import Settings

GOOD = {"text": "good"}


def swap(folder, task="sentiment", rows=None):
    """Put another artifact in the place of ``folder``, as one step."""
    fresh = folder.with_name("fresh")
    write_artifact(fresh, task, rows=rows)
    folder.rename(folder.with_name(f"old-{len(list(folder.parent.iterdir()))}"))
    fresh.rename(folder)


def opposite():
    return table("sentiment")[:, ::-1].copy()


async def label(app):
    answer = await call(app, "POST", "/v1/predict", GOOD)
    return answer.json["predictions"][0]["label"]


def test_a_swapped_artifact_is_served_after_two_looks(tmp_path, log):
    service = tiny_service(tmp_path)

    async def work(app):
        seen = [await label(app)]
        await service.look()
        await service.look()
        assert log()[-1]["event"] == "request"  # nothing has changed, nothing was loaded
        swap(tmp_path / "sentiment", rows=opposite())
        await service.look()
        seen.append(await label(app))
        await service.look()
        return [*seen, await label(app)]

    assert drive(service, work) == ["positive", "positive", "negative"]
    (line,) = [line for line in log() if line["event"] == "reloaded"]
    assert (line["model"], len(line["version"])) == ("sentiment", 12)
    assert line["version"] != line["before"]
    assert service.metrics._registry.get_sample_value(
        "edgecompress_reloads_total", {"model": "sentiment", "result": "loaded"}
    )


def test_the_old_one_is_let_go(tmp_path):
    service = tiny_service(tmp_path)
    old = weakref.ref(service.models["sentiment"])

    async def work(app):
        await label(app)
        await service.reload_all()
        return await label(app)

    assert drive(service, work) == "positive"
    gc.collect()
    assert old() is None


def spoil(folder):
    with (folder / "model.onnx").open("ab") as handle:
        handle.write(b"x")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (spoil, "has changed since the export"),
        (lambda folder: swap(folder, rows=np.full_like(table("sentiment"), np.nan)), "not numbers"),
        (lambda folder: swap(folder, rows=table("sentiment")[:1]), " ids ("),
        (lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (shutil.rmtree, "is not a folder"),
    ],
)
def test_a_broken_one_is_reported_once_and_the_old_one_kept(tmp_path, log, damage, says):
    service = tiny_service(tmp_path)

    async def work(app):
        damage(tmp_path / "sentiment")
        for _ in range(5):
            await service.look()
        kept = await label(app), (await call(app, "GET", "/readyz")).status
        shutil.rmtree(tmp_path / "sentiment", ignore_errors=True)
        write_artifact(tmp_path / "sentiment", rows=opposite())
        for _ in range(2):
            await service.look()
        return *kept, await label(app)

    assert drive(service, work) == ("positive", 200, "negative")
    (line,) = [line for line in log() if line["event"] == "reload failed"]
    assert (line["level"], says in line["error"]) == ("error", True), line
    assert service.metrics._registry.get_sample_value(
        "edgecompress_reloads_total", {"model": "sentiment", "result": "failed"}
    )


def test_another_task_is_served_and_logged(tmp_path, log):
    service = tiny_service(tmp_path)

    async def work(app):
        swap(tmp_path / "sentiment", "ner")
        await service.reload_all()
        return await call(app, "POST", "/v1/predict", {"text": "Ján"})

    assert drive(service, work).json["predictions"][0]["spans"][0]["label"] == "PER"
    changes = {line["event"]: line for line in log() if line["level"] == "warning"}
    assert set(changes) == {"task changed", "labels changed"}
    assert (changes["task changed"]["before"], changes["task changed"]["after"]) == ("sentiment", "ner")


def test_requests_are_answered_by_the_model_that_accepted_them(tmp_path):
    service = tiny_service(tmp_path, max_wait_ms=2000, max_batch=2)

    async def work(app):
        first = asyncio.create_task(call(app, "POST", "/v1/predict", GOOD))
        await asyncio.sleep(0.05)
        swap(tmp_path / "sentiment", "ner")
        await service.reload("sentiment")
        second = asyncio.create_task(call(app, "POST", "/v1/predict", GOOD))
        return await asyncio.gather(first, second)

    first, second = drive(service, work)
    assert first.json["predictions"][0]["label"] == "positive"
    assert "words" in second.json["predictions"][0]


def test_the_watch_looks_by_itself(tmp_path):
    service = tiny_service(tmp_path, watch=0.02)

    async def work(app):
        swap(tmp_path / "sentiment", rows=opposite())
        async with asyncio.timeout(20):
            while (found := await label(app)) != "negative":
                await asyncio.sleep(0.02)
        return found

    assert drive(service, work) == "negative"


def test_no_watch_when_told(tmp_path):
    assert Settings(watch=0).watch == 0
    service = tiny_service(tmp_path, watch=0)

    async def work(app):
        swap(tmp_path / "sentiment", rows=opposite())
        await asyncio.sleep(0.2)
        return await label(app)

    assert drive(service, work) == "positive"
