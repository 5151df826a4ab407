"""What README.md and the summaries say is what the committed results say."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("EDGECOMPRESS_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a script of benchmarks/, and leave nothing of it."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def test_every_section_of_the_readme_is_what_its_script_writes(script):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = script("readme").SECTIONS
    assert len(sections) > 10
    for name, body in sections.items():
        shown = text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"\n<!-- {name}:end -->")[0]
        assert shown == body(), f"{name}: run python benchmarks/readme.py"


@pytest.mark.parametrize(
    ("name", "folder"), [("retention", "retention"), ("ablations", "ablations"), ("quantize", "quantize")]
)
def test_a_summary_is_that_of_its_results(script, monkeypatch, tmp_path, name, folder):
    module, results = script(name), ROOT / "benchmarks" / "results" / folder
    for path in results.glob("*.json"):
        if path.name != "summary.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    done = CliRunner().invoke(module.main, ["summary"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found, committed = (json.loads((one / "summary.json").read_text("utf-8")) for one in (tmp_path, results))
    assert found == committed, f"run python benchmarks/{name}.py summary"


@pytest.mark.parametrize("recipe", sorted((ROOT / "models").glob("*/recipe.toml")), ids=lambda path: path.parent.name)
def test_a_card_is_what_its_script_writes(script, recipe):
    if not SHARED.is_dir():
        pytest.skip(f"a recipe is read with its data: no {SHARED} (EDGECOMPRESS_DATA)")
    shown = (recipe.parent / "card.md").read_text("utf-8")
    assert shown == script("cards").text_of(recipe), "run python benchmarks/cards.py"


def test_operations_are_counted_of_the_recipes_as_they_are(script):
    compute = script("compute")
    for path in sorted((ROOT / "benchmarks" / "results" / "compute").glob("*.json")):
        for row in json.loads(path.read_text("utf-8"))["rows"]:
            now = compute.row_of(path.stem, row["recipe"], row["size"])["stages"]
            assert row["of"] == now, f"{path.name}: run python benchmarks/compute.py {path.stem} -o WORK"


def test_operations_of_a_token_are_those_of_its_matrices(script):
    """Of a layer: four of the hidden size squared, two of the FFN; attention's two grow with the length."""
    compute = script("compute")
    shape = compute.Shape(layers=3, hidden=24, ffn=40, heads=4)
    layer = 4 * 24 * 24 + 2 * 24 * 40 + 2 * 10 * 24
    assert compute.forward(shape, 10, 100, 0.5) == 2 * (3 * layer + 0.5 * 24 * (24 + 100))


def score(language, recipe, scores, **more):
    tasks = {task: {"score": value, "interval": [value - 3, value + 3]} for task, value in scores.items()}
    size = None if recipe == "teacher" else "maximum"
    named = {"language": language, "recipe": recipe, "size": size, "seed": 0, "tasks": tasks, "stages": []}
    return {**named, "minutes": 10.0, "threads": 1, "parameters": 5, "host": {"cpu": "one"}, **more}


def test_drops_are_relative_to_the_mean_of_teachers_and_seeds(script, monkeypatch, tmp_path):
    retention = script("retention")
    runs = [
        score("slk", "teacher", {"topic": 80.0, "ner": 50.0}),
        score("slk", "teacher", {"topic": 90.0, "ner": 50.0}, repeat=1),
        score("slk", "default", {"topic": 68.0, "ner": 55.0}),
        score("slk", "default", {"topic": 85.0}, seed=1, threads=2, host={"cpu": "other"}),
    ]
    for at, run in enumerate(runs):
        (tmp_path / f"{at}-test.json").write_text(json.dumps(run))
    monkeypatch.setattr(retention, "RESULTS", tmp_path)
    assert CliRunner().invoke(retention.main, ["summary"], catch_exceptions=False).exit_code == 0
    rows = json.loads((tmp_path / "summary.json").read_text("utf-8"))["rows"]
    (row,) = [row for row in rows if row["recipe"] == "default"]  # ner is not of every run, and is left out
    assert (row["task"], row["score"], row["teacher_score"]) == ("topic", 76.5, 85.0)
    assert row["drop_percent"] == pytest.approx(10.0)
    assert row["drop_uncertainty"] == pytest.approx(100 * 3 * (1 + 0.9**2) ** 0.5 / 85, abs=0.01)
    assert (row["seeds"], row["minutes_by_cpu"]) == (2, {"one": 5.0, "other": 10.0})
    assert row["recipe_changed"]


def test_a_row_of_the_ablations_stands_beside_the_first_seed_by_seed(script, monkeypatch, tmp_path):
    ablations = script("ablations")

    def row(scores, steps=600):
        return {"scores": dict.fromkeys(ablations.TASKS, scores), "steps": steps, "tuning": {}, "parameters": 1,
                "host": {"cpu": "one"}}  # fmt: skip

    for name, found in {"base": row([50.0, 60.0, 70.0]), "kl": row([51.0])}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    monkeypatch.setattr(ablations, "RESULTS", tmp_path)
    assert CliRunner().invoke(ablations.main, ["summary"], catch_exceptions=False).exit_code == 0
    first, other = json.loads((tmp_path / "summary.json").read_text("utf-8"))["rows"]
    assert (first["mean"], first["stdev"], first["difference"]) == (60.0, 10.0, 0.0)
    assert (other["mean"], other["difference"], other["pairs"]) == (51.0, 1.0, 1)
    (tmp_path / "kl.json").write_text(json.dumps(row([51.0], steps=60)))
    assert "make one of them again" in CliRunner().invoke(ablations.main, ["summary"]).output
