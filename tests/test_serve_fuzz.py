"""Some requests of every bad kind that the benchmark sends by the thousand, to a real server."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest
from tiny_artifact import write_artifact

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TEXTS = ["a good film", "Ján Novák v Košiciach .", "Kofola, don't!", "bad"]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import serve_fuzz

    yield serve_fuzz
    for name in [name for name in sys.modules if name.startswith("serve_")]:
        del sys.modules[name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")
def test_every_kind_is_answered_as_documented(tmp_path, bench):
    from serve_kinds import World, whole
    from serve_process import TOKEN, server

    models = {task: tmp_path / task for task in ("sentiment", "ner")}
    for task, folder in models.items():
        write_artifact(folder, task)
    world = World(TEXTS, ["sentiment"], ["ner"], TOKEN)
    good = whole(json.dumps({"model": "ner", "text": TEXTS[1]}).encode(), TOKEN)

    kinds = {kind: one for kind, one in bench.KINDS.items() if kind != "slow clients"}  # these take their time

    async def all_kinds(port):
        found = bench.Found(control=(await bench.ask(port, good))[1])
        for kind, (_, make) in kinds.items():
            cases = [make(random.Random(f"{kind} {seed}"), world) for seed in range(2)]
            for case, (got, same) in zip(
                cases, await asyncio.gather(*(bench.run(port, case, good) for case in cases)), strict=True
            ):
                found.note(kind, case, got)
                assert same is None or same == (200, found.control), (kind, case)
        assert await bench.ask(port, good) == (200, found.control)
        return found

    with server(models, ("--threads", "1"), token=TOKEN) as process:
        found = asyncio.run(all_kinds(process.port))
        assert found.unexpected == []
        assert process.stop()[0] == 0
        assert process.logged() == []
    assert set(found.seen) == set(kinds)
