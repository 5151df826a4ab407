"""Large requests in pieces, long runs told bit by bit."""

from __future__ import annotations

import asyncio
import threading
import time

from serving import drive, echo, made_up
from test_serve_batching import ask, begun, gated, labels

from edgecompress.serve.service import Service
from edgecompress.serve.settings import Settings


def test_a_run_takes_no_more_characters_than_a_text_may_have():
    gate, service = gated(max_chars=10)

    async def work(app):
        asked = [ask(app, "first")]
        await begun(gate)
        asked += [ask(app, *(f"{number}long text" for number in range(3))), ask(app, "a", "b"), ask(app, "123456789")]
        await asyncio.sleep(0.01)
        gate.open.set()
        return await asyncio.gather(*asked)

    answers = drive(service, work)
    assert [answer.status for answer in answers] == [200] * 4
    runs = [["first"], ["0long text"], ["a", "b"], ["123456789"], ["1long text"], ["2long text"]]
    assert gate.batches == runs
    assert labels(answers[1]) == [f"{number}long text" for number in range(3)]


def test_what_nobody_waits_for_any_more_is_not_run():
    gate, service = gated(max_batch=2, timeout=0.2)

    async def work(app):
        large = ask(app, *map(str, range(9)))
        assert (await large).code == "timeout"
        gate.open.set()
        return await ask(app, "next")

    assert labels(drive(service, work)) == ["next"]
    assert gate.batches == [["0", "1"], ["next"]]
    assert 'queue_texts{model="m"} 0.0' in service.metrics.exposition().decode()


def test_where_texts_pass_one_by_one_a_long_run_is_answered_bit_by_bit():
    second = threading.Event()

    def one_by_one(texts):
        time.sleep(0.03)
        if texts == ["b"]:
            assert second.wait(10)  # set when the answer for "a" was there
        return echo(texts)

    service = Service({"m": made_up(one_by_one, size=1)}, Settings(watch=0, max_wait_ms=20))

    async def work(app):
        asked = [ask(app, text) for text in "ab"]
        first = await asked[0]
        second.set()
        return [labels(answer) for answer in (first, await asked[1])]

    assert drive(service, work) == [["a"], ["b"]]
    assert service.metrics._registry.get_sample_value("edgecompress_batch_texts_sum", {"model": "m"}) == 2
    assert service.metrics._registry.get_sample_value("edgecompress_batch_texts_count", {"model": "m"}) == 1
