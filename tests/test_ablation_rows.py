"""The rows of benchmarks/ablations.py: each one is its first row with one choice changed, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_models import bundle, corpus

from edgecompress.encoder import sources
from edgecompress.encoder.bundle import save

ROOT = Path(__file__).parents[1]
NAMES = ("name", "from", "teacher")  # where a stage's input is called otherwise, because another row made it
CHANGED = {
    "stride-first": {"distill.select": "stride-first"},
    "first": {"distill.select": "first-k"},
    "last": {"distill.select": "last-k"},
    "random": {},
    "kl": {"distill.objective.logits_loss": "kl"},
    "everywhere": {"distill.objective.logits_at": "all"},
    "alpha-0": {"distill.objective.mlm": 0.0, "distill.objective.logits": 1.0},
    "alpha-25": {"distill.objective.mlm": 0.25, "distill.objective.logits": 0.75},
    "alpha-75": {"distill.objective.mlm": 0.75, "distill.objective.logits": 0.25},
    "alpha-100": {"distill.objective.mlm": 1.0, "distill.objective.logits": 0.0},
    "frozen": {"adapt.encoder": "frozen"},
    "trim-last": {},
    "undistilled": {"distill.training.steps": 0},
    "default-activation": {"truncate.method": "activation"},
    "default-first-k": {"truncate.method": "first-k"},
    "default-276": {"truncate.hidden": 276, "truncate.heads": 12},
    "default-276-first": {"truncate.hidden": 276, "truncate.heads": 12, "distill.select": "first-k"},
    "default-heads": {"truncate.attention": "first-k"},
    "default-first": {"distill.select": "first-k"},
    "default-last": {"distill.select": "last-k"},
    "default-random": {},
    "default-states": {"distill.objective.relations": 0.0},
    "default-relations": {"distill.objective.hidden": 0.0},
    "default-undistilled": {"distill.training.steps": 0},
}


@pytest.fixture(scope="module")
def ablations() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("ablations")
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def rows(ablations: Any) -> Any:
    return sys.modules[ablations.recipe_of.__module__]


def flat(options: Mapping[str, Any], before: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in options.items():
        found.update(flat(value, f"{before}.{key}") if isinstance(value, dict) else {f"{before}.{key}": value})
    return found


def options_of(rows: Any, name: str) -> dict[str, Any]:
    before, student = rows.stages(name, 600)
    entries = [{k: v for k, v in entry.items() if k not in NAMES} for entry in (*before, *student)]
    return {key: value for entry in entries for key, value in flat(entry, entry["stage"]).items()}


@pytest.mark.parametrize(("name", "changed"), CHANGED.items())
def test_one_choice_differs_from_the_first_row(rows: Any, name: str, changed: dict[str, Any]) -> None:
    base = options_of(rows, "base" if name in rows.PAPER else "default")
    found = options_of(rows, name)
    assert {key: value for key, value in found.items() if base.get(key) != value} == changed
    assert base.keys() <= found.keys()


def test_two_chained_distillations_train_as_long_as_one(rows: Any) -> None:
    before, (layers, prune, truncate, again) = rows.stages("default-chained", 600)
    assert [layers["training"]["steps"], again["training"]["steps"]] == [300, 300]
    assert (layers["from"], prune["from"]) == (before[-1]["stage"], layers["name"])
    assert "layers" in layers
    assert "layers" not in again
    assert truncate["hidden"] == 156


def test_every_row_of_the_table_is_looked_at(rows: Any) -> None:
    assert {*CHANGED, "base", "default", "default-chained"} == set(rows.VARIANTS)


def test_the_vocabulary_is_cut_last_where_the_row_says_so(rows: Any) -> None:
    assert [entry["stage"] for part in rows.stages("trim-last", 600) for entry in part] == ["adapt", "distill", "trim"]
    assert [entry["stage"] for part in rows.stages("base", 600) for entry in part] == ["trim", "adapt", "distill"]


def test_random_weights_learn_from_the_teacher_that_the_others_have(ablations: Any, tmp_path: Path) -> None:
    save(bundle("bert"), tmp_path / "model")
    corpus(tmp_path)
    files = {"slk": {"files": [str(tmp_path / "slk.txt")]}}
    raw = {"teacher": str(tmp_path / "model"), "corpora": files, "name": "base"}
    training = {"steps": 1, "batch_size": 2, "max_length": 16, "precision": "fp32"}
    before = {"stage": "adapt", "corpora": ["slk"], "training": training}
    distill = {
        "stage": "distill",
        "name": "own",
        "from": "adapt",
        "layers": 2,
        "corpora": ["slk"],
        "training": training,
    }
    folder, (own,) = ablations._from_random(raw, [before, distill], tmp_path / "out")
    assert Path(own["teacher"]) == (tmp_path / "out" / "stages" / "adapt").resolve()
    assert not {"from", "layers", "select"} & own.keys()
    adapted, made = (sources.load(str(path)).model for path in (own["teacher"], folder))
    assert made.config.num_hidden_layers == 2
    ours, theirs = made.state_dict(), adapted.state_dict()
    cut = [name for name, value in ours.items() if value.std() > 0 and value.shape == theirs[name].shape]
    assert cut
    assert not [name for name in cut if ours[name].equal(theirs[name])]
