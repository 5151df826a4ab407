import pytest

from edgecompress.bench.cells import PRESETS, REAL, Plan, lengths, named, numbers, preset
from edgecompress.bench.turns import Timed, measurements, sample
from edgecompress.bench.worker import Turn
from edgecompress.errors import InputError


def test_grids_are_read_once_each_in_order():
    assert numbers("8, 1,8", "--batch", 1) == (8, 1)
    assert lengths("128,real,32") == (128, REAL, 32)
    assert Plan(batches=(1, 8), lengths=(32, REAL)).cells == ((1, 32), (1, REAL), (8, 32), (8, REAL))
    assert named((8, REAL)) == "8×real"


@pytest.mark.parametrize("text", ["", "1,", "-1", "1.5", "0", "x"])
def test_what_is_no_grid_is_named(text):
    with pytest.raises(InputError, match=r"--batch .*give whole numbers from 1"):
        numbers(text, "--batch", 1)
    with pytest.raises(InputError, match=r"--length .*or real"):
        lengths(text)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_keeps_the_budget_and_sets_the_grid(name):
    plan = preset(name, Plan(seconds=7.0, device="cuda"))
    assert (plan.seconds, plan.device, plan.preset) == (7.0, "cuda", name)
    assert (plan.batches, plan.lengths, plan.threads, plan.headline) == (
        PRESETS[name].batches, PRESETS[name].lengths, PRESETS[name].threads, PRESETS[name].headline,
    )  # fmt: skip
    assert plan.lengths == (REAL,)


def test_the_sample_has_the_lengths_of_the_texts_and_fills_its_batches():
    texts = ["x" * length for length in range(1, 1001)]
    some = sample(texts, 8)
    assert len(some) == 32
    assert sum(map(len, some)) / 32 == pytest.approx(500, rel=0.02)
    assert some == sample(list(reversed(texts)), 8)
    assert [len(sample(texts[:3], batch)) for batch in (1, 2, 8)] == [3, 4, 8]


def test_several_threads_have_no_waiting_and_one_turn_no_noise():
    one = Timed([turn(2.0)])
    of = {m.metric for m in measurements("s", "ner", one, None, (1, 32), {"threads": 2, "device": "cpu"})}
    assert not {"waiting", "noise"} & of


def turn(*milliseconds, took=0.0):
    calls, ran = [{"model": one} for one in milliseconds], sum(milliseconds) / 1000
    return Turn(calls, ran, took or ran)


def test_figures_of_known_times():
    student = Timed([turn(2.0, 4.0, took=0.008), turn(3.0, 3.0)], energy=0.4)
    teacher = Timed([turn(9.0), turn(6.0)])
    found = {m.metric: m for m in measurements("s", "ner", student, teacher, (2, 32), {"threads": 1, "device": "cpu"})}
    assert found["latency_p50"].value == 3.0
    assert found["latency_mean"].value == 3.0
    assert found["throughput"].value == pytest.approx(1000 * 8 / 12, abs=1e-3)
    assert found["speedup"].value == pytest.approx(2.5)  # of the turns' 3 and 2
    assert found["speedup"].interval is None  # of two turns nothing can be said
    assert found["noise"].value == 0.0
    assert found["waiting"].value == pytest.approx(100 * 2 / 14, abs=1e-3)
    assert found["energy"].value == pytest.approx(0.05)
    assert found["latency_p99"].settings == {
        "threads": 1,
        "device": "cpu",
        "batch": 2,
        "length": 32,
        "iterations": 4,
        "part": "model",
    }
    alone = Timed([turn(1.0), turn(3.0)])
    of = {m.metric: m.value for m in measurements("s", "ner", alone, None, (1, 32), {"device": "cuda"})}
    assert of["noise"] == 50.0
    assert "speedup" not in of
    assert not {"energy", "waiting"} & of.keys()
