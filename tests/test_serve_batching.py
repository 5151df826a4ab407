from __future__ import annotations

import asyncio
import threading

import pytest
from serving import JSON, call, drive, echo, made_up, tiny_service

from edgecompress.errors import CheckError
from edgecompress.serve.service import Service
from edgecompress.serve.settings import Settings

TEXTS = ["good film", "bad", "", "film film film good", "Ján Novák", "bad bad good", "good", "."]


class Gate:
    """A model that notes its batches, and whose runs wait until ``open`` is set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.begun.set()
        assert self.open.wait(10)
        return echo(texts)


def gated(**limits):
    gate = Gate()
    return gate, Service({"m": made_up(gate)}, Settings(**{"watch": 0, **limits}))


async def begun(gate):
    while not gate.begun.is_set():
        await asyncio.sleep(0.001)


def ask(app, *texts):
    return asyncio.create_task(call(app, "POST", "/v1/predict", {"texts": list(texts)}))


def labels(answer):
    assert answer.status == 200, answer
    return [one["label"] for one in answer.json["predictions"]]


def test_requests_that_come_during_a_run_share_the_next():
    gate, service = gated()

    async def work(app):
        asked = [ask(app, "first")]
        await begun(gate)
        asked += [ask(app, str(number)) for number in range(10)]
        while service.predicting < 11:
            await asyncio.sleep(0.001)
        gate.open.set()
        return await asyncio.gather(*asked)

    answers = drive(service, work)
    assert [labels(answer) for answer in answers] == [["first"], *([str(number)] for number in range(10))]
    assert gate.batches == [["first"], [str(number) for number in range(10)]]
    figures = service.metrics.exposition().decode()
    assert 'edgecompress_batch_texts_count{model="m"} 2.0' in figures
    assert 'edgecompress_texts_total{model="m"} 11.0' in figures
    assert 'edgecompress_queue_texts{model="m"} 0.0' in figures


def test_a_run_waits_for_company_when_told():
    gate, service = gated(max_wait_ms=10_000, max_batch=3)
    gate.open.set()

    async def work(app):
        asked = [ask(app, "a")]
        await asyncio.sleep(0.05)
        assert gate.batches == []
        asked += [ask(app, "b"), ask(app, "c")]
        return await asyncio.gather(*asked)

    drive(service, work)
    assert gate.batches == [["a", "b", "c"]]


def test_a_run_waits_no_longer_than_told():
    gate, service = gated(max_wait_ms=30)
    gate.open.set()

    async def work(app):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await ask(app, "a")
        return loop.time() - begin

    assert 0.03 <= drive(service, work) < 5


def test_batches_are_no_larger_than_told_and_keep_small_requests_whole():
    gate, service = gated(max_batch=4)

    async def work(app):
        asked = [ask(app, "first")]
        await begun(gate)
        for size in (3, 2, 2, 6, 1):
            asked.append(ask(app, *(f"{size}{number}" for number in range(size))))
            await asyncio.sleep(0.01)
        gate.open.set()
        return await asyncio.gather(*asked)

    answers = drive(service, work)
    assert [len(batch) for batch in gate.batches] == [1, 3, 4, 4, 3]
    assert gate.batches[-1] == ["10", "64", "65"]  # what is left of the large one goes behind the others
    assert labels(answers[4]) == [f"6{number}" for number in range(6)]


def test_max_batch_of_one_shares_nothing():
    gate, service = gated(max_batch=1)
    gate.open.set()
    drive(service, lambda app: asyncio.gather(*(ask(app, str(number)) for number in range(5))))
    assert [len(batch) for batch in gate.batches] == [1] * 5


@pytest.mark.parametrize("task", ["sentiment", "ner", "pos"])
def test_answers_are_those_of_one_at_a_time(tmp_path, task):
    service = tiny_service(tmp_path, (task,), max_wait_ms=20)
    alone = [service.models[task].predictor(text) for text in TEXTS]

    async def work(app):
        return await asyncio.gather(*(ask(app, text) for text in TEXTS))

    together = [answer.json["predictions"][0] for answer in drive(service, work)]
    for one, other in zip(alone, together, strict=True):
        if task == "sentiment":
            assert (one.label, pytest.approx(one.probabilities)) == (other["label"], other["probabilities"])
        else:
            assert [(word.text, word.tag, word.start) for word in one.words] == [
                (word["text"], word["tag"], word["start"]) for word in other["words"]
            ]
    runs = service.metrics._registry.get_sample_value("edgecompress_batch_texts_count", {"model": task})
    assert runs < len(TEXTS)


def test_texts_and_words_share_a_run(tmp_path):
    service = tiny_service(tmp_path, ("ner",), max_wait_ms=20)
    words = {"words": [["Ján", "Novák"], []]}

    async def work(app):
        return await asyncio.gather(
            ask(app, "Ján Novák"), call(app, "POST", "/v1/predict", words, JSON), ask(app, "film", "Ján")
        )

    first, second, third = drive(service, work)
    assert [span["text"] for span in first.json["predictions"][0]["spans"]] == ["Ján Novák"]
    assert [one["tags"] for one in second.json["predictions"]] == [["B-PER", "I-PER"], []]
    assert [[word["tag"] for word in one["words"]] for one in third.json["predictions"]] == [["O"], ["B-PER"]]
    assert service.metrics._registry.get_sample_value("edgecompress_batch_texts_count", {"model": "ner"}) == 1


def test_a_full_queue_refuses_and_recovers():
    gate, service = gated(queue=3, max_texts=3)

    async def work(app):
        asked = [ask(app, "first")]
        await begun(gate)
        asked += [ask(app, "a", "b")]
        await asyncio.sleep(0.01)
        refused = await ask(app, "c", "d")
        asked += [ask(app, "e")]
        await asyncio.sleep(0.01)
        gate.open.set()
        return refused, await asyncio.gather(*asked)

    refused, answers = drive(service, work)
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "queue_full", "1")
    assert [answer.status for answer in answers] == [200] * 3
    assert [text for batch in gate.batches for text in batch] == ["first", "a", "b", "e"]


@pytest.mark.parametrize("size", [1, 2, 32])
def test_one_bad_request_does_not_fail_its_company(size):
    def picky(texts):
        if "poison" in texts:
            raise CheckError("no")
        return echo(texts)

    service = Service({"m": made_up(picky, size=size)}, Settings(watch=0, max_wait_ms=20))

    async def work(app):
        return await asyncio.gather(ask(app, "a"), ask(app, "poison"), ask(app, "b"))

    first, bad, last = drive(service, work)
    assert (labels(first), bad.status, bad.code, labels(last)) == (["a"], 500, "model_failed", ["b"])


def test_a_request_that_takes_too_long_is_told_and_not_run():
    gate, service = gated(timeout=0.2)

    async def work(app):
        first = ask(app, "first")
        await begun(gate)
        waiting = await ask(app, "late")
        assert (await first).code == "timeout"
        assert 'queue_texts{model="m"} 0.0' in service.metrics.exposition().decode()  # it holds no place any more
        gate.open.set()
        return waiting, await ask(app, "next")

    late, answered = drive(service, work)
    assert (late.status, late.code, late.headers["retry-after"]) == (503, "timeout", "1")
    assert labels(answered) == ["next"]
    assert gate.batches == [["first"], ["next"]]


def test_the_loop_goes_on_while_a_model_runs():
    gate, service = gated()

    async def work(app):
        asked = ask(app, "slow")
        await begun(gate)
        alive = await call(app, "GET", "/healthz")
        gate.open.set()
        await asked
        return alive

    assert drive(service, work).status == 200


def test_runs_overlap_when_told():
    gate, service = gated(runs=2, max_batch=1)

    async def work(app):
        asked = [ask(app, "a"), ask(app, "b")]
        async with asyncio.timeout(20):
            while len(gate.batches) < 2:
                await asyncio.sleep(0.001)
        both = [list(batch) for batch in gate.batches]  # begun, and neither has ended: the gate is shut
        gate.open.set()
        return both, [answer.status for answer in await asyncio.gather(*asked)]

    both, statuses = drive(service, work)
    assert [len(batch) for batch in both] == [1, 1]
    assert statuses == [200, 200]


def test_what_still_waits_at_the_end_is_refused():
    gate, service = gated()

    async def work(app):
        asked = [ask(app, "first")]
        await begun(gate)
        asked.append(ask(app, "never run"))
        await asyncio.sleep(0.01)
        return asked[1]

    async def main():
        from edgecompress.serve.app import build

        app = build(service)
        async with service.running():
            waiting = await work(app)
        gate.open.set()
        return await waiting

    answer = asyncio.run(main())
    assert (answer.status, answer.code) == (503, "draining")
