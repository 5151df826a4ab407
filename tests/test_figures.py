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

from edgecompress.tasks.examples import Example

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


def test_every_section_of_the_readmes_is_what_its_script_writes(script):
    pages = script("readme").PAGES
    assert len(pages["README.md"]) > 10
    for page, sections in pages.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert text.count(":begin -->") == len(sections)
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


def test_the_data_of_every_recipe_are_told_with_the_sizes_that_were_scored(script):
    data, told = script("readme_data"), (ROOT / "models" / "DATA.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "models").glob("*/recipe.toml")):
        recipe = script("students").shipped(path.parent.name)
        splits = [file for task in recipe["tasks"].values() for split in ("train", "validation", "test")
                  for file in task[split]]  # fmt: skip
        for file in (*splits, *(file for corpus in recipe["corpora"].values() for file in corpus["files"])):
            assert data.source_of(Path(file)).licence
    for path in sorted((ROOT / "benchmarks" / "results" / "retention").glob("*-teacher*-test.json")):
        found = json.loads(path.read_text("utf-8"))
        tasks = script("students").shipped(f"e5-small-{found['language']}")["tasks"]
        for task, row in found["tasks"].items():
            part = data.source_of(Path(tasks[task]["test"][0])).part
            line = next(line for line in told.splitlines() if line.startswith(f"| `{part}`"))
            assert f"/ {row['examples']:,} |" in line


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (
            "e5-small-swh",
            "`ner-masakhaner2/swh_Latn`, `pos/swh_Latn`, `text/swh_Latn/lafand-news-nc` may only be used non",
        ),
        ("e5-small-swh", "`text/swh_Latn/freecodecamp`, `text/swh_Latn/voa-news` came without a stated licence"),
        ("e5-small-slk", "ner (Universal NER, Slovak SNK)"),
    ],
)
def test_a_card_names_what_limits_it(recipe, says):
    assert says in (ROOT / "models" / recipe / "card.md").read_text("utf-8")


def test_a_card_says_how_far_its_times_lie_apart_where_that_is_much(script, tmp_path):
    path = ROOT / "benchmarks" / "results" / "models" / "e5-small-slk.json"
    found, cards = json.loads(path.read_text("utf-8")), script("cards")
    noises = [row for row in found["measurements"] if row["metric"] in ("noise", "waiting")]
    for row in noises:
        row["value"] = 16.3 if (row["metric"], row["settings"]["length"]) == ("noise", 128) else 1.0
    (tmp_path / "busy.json").write_text(json.dumps(found))
    assert "The turns' medians lie within ±16.3 %" in cards._noise(tmp_path / "busy.json")
    for row in noises:
        row["value"] = 16.3 if row["settings"]["length"] == "real" else 4.9  # whose times no card shows
    (tmp_path / "quiet.json").write_text(json.dumps(found))
    assert cards._noise(tmp_path / "quiet.json") == ""
    assert cards._of_teachers(1) == "The teacher's scores are of one run."


def test_what_is_said_of_sizes_and_of_the_paper_follows_the_figures(script):
    accuracy = script("readme_accuracy")

    def rows(**drops):
        made = {"small": ("maximum", "default"), "large": ("moderate", "default"), "paper": ("maximum", "paper"),
                "cut": ("maximum", "cut-only")}  # fmt: skip
        return {
            ("slk", *made[name]): {"ner": {"drop_percent": drop, "drop_uncertainty": 3.0, "recipe_changed": False}}
            for name, drop in drops.items()
        }

    assert "do not differ by more" in accuracy._sizes(rows(small=5.0, large=1.0))
    assert "`default` differ by more" in accuracy._sizes(rows(small=6.0, large=1.0))
    assert accuracy._sizes(rows(small=6.0)) == ""
    assert "loses more than `cut-only`" in accuracy._papers(rows(paper=20.0, cut=16.0))
    assert "loses more" not in accuracy._papers(rows(paper=15.0, cut=16.0))
    assert accuracy._papers(rows(small=6.0)) == ""


def test_the_drops_of_single_runs_are_told_where_there_are_several(script):
    by_run = script("readme_accuracy")._by_run
    two = {
        "ner": {"teacher_score": 80.0, "scores": [72.0, 76.0]},
        "pos": {"teacher_score": 50.0, "scores": [50.0, 50.0]},
    }
    assert by_run(two) == " (2.5 to 5.0)"
    assert by_run({"ner": {"teacher_score": 80.0, "scores": [72.0]}}) == ""


def test_a_row_that_is_made_again_loses_the_mark_of_earlier_code(script):
    rows = script("readme_ablations")
    assert rows._mark({"name": "default", "mean": rows.SINGLE_RELATIONS["default"]}) == " ‡"
    assert rows._mark({"name": "default", "mean": 50.0}) == ""
    summary = script("retention_summary")
    run = {"language": "mlt", "size": "maximum", "recipe": "default"}
    assert "`default` of mlt maximum was run before" in summary._earlier([run])
    assert summary._earlier([{**run, "created": "2026-11-30"}]) == ""
    assert summary._earlier([{**run, "language": "slk"}]) == ""


def test_joined_texts_hold_neighbouring_sentences_once(script):
    long_texts = script("long_texts")
    examples = [Example((f"{at}a", f"{at}b"), ("O", "B-PER")) for at in range(7)]
    first, second = long_texts.joined_texts(examples, 3)
    assert (first.words, first.labels) == (("0a", "0b", "1a", "1b", "2a", "2b"), ("O", "B-PER") * 3)
    assert second.words[0] == "3a"
    assert long_texts.joined_texts(examples, 1) == examples


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


def test_the_rows_between_cut_only_and_default_have_one_half_of_it_each(script):
    rows = {
        kind: script("retention_recipes").recipe_of_row("slk", kind, "maximum", 1)["stages"]
        for kind in ("default", "distilled", "taught", "cut-only")
    }
    of = {kind: {one["stage"]: one for one in stages} for kind, stages in rows.items()}
    for kind, distilled, taught in (("distilled", "default", "cut-only"), ("taught", "cut-only", "default")):
        assert of[kind]["distill"] == of[distilled]["distill"]
        named = {"name": f"{kind}-maximum-s1", "from": of[distilled]["distill"]["name"]}
        assert of[kind]["finetune"] == {**of[taught]["finetune"], **named}
        assert ("teacher" in {one.get("name") for one in rows[kind]}) == (kind == "taught")
    assert "teacher" not in of["distilled"]["finetune"]
    assert of["taught"]["distill"]["training"] == {"steps": 0}


def test_a_repeat_that_found_the_very_same_counts_once(script):
    runs = [{"seed": seed, "tasks": {"ner": {"score": score}}} for seed, score in ((0, 80), (0, 80), (0, 70), (1, 80))]
    assert [one["score"] for one in script("retention_summary").distinct("ner", runs)] == [80, 70, 80]


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
