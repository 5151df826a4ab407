"""Options are checked against a stage's own signature, and every problem is told at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecompress.binding import Context, bind, parameters
from edgecompress.corpus import Corpus
from edgecompress.errors import RecipeError
from edgecompress.options import Objective, Selection, TaskFiles
from edgecompress.stages import STAGES

CORPUS, TASK = Corpus("slk", (Path("slk.txt"),)), TaskFiles("topic")


def bound(stage, **options):
    context = Context({"slk": CORPUS}, {"topic": TASK})
    return bind(STAGES[stage].run, options, stage, context), context.problems


def test_plain_values_become_a_stages_arguments():
    given, problems = bound("trim", corpora=["slk"], size=5, keep=["a", "b"])
    assert not problems
    assert given == {"corpora": (CORPUS,), "size": 5, "keep": ("a", "b")}
    assert bound("finetune", task="topic") == ({"task": TASK}, [])


def test_a_selection_is_a_nested_table_and_its_files_start_from_the_root(tmp_path):
    context = Context({"slk": CORPUS}, root=tmp_path)
    (tmp_path / "keep.txt").touch()
    table = {"coverage": 1, "keep_files": ["keep.txt"], "alphabet": ["sk"], "fill": "script"}
    given = bind(STAGES["trim"].run, {"corpora": ["slk"], "size": 5, "selection": table}, "trim", context)
    assert not context.problems
    assert given["selection"] == Selection(1.0, (tmp_path / "keep.txt",), ("sk",), fill="script")
    _, problems = bound("trim", corpora=["slk"], selection={"fill": "all", "alfabet": ["sk"], "keep_files": ["none"]})
    assert "trim: selection.keep_files: no file none" in problems
    assert any("'all' is not one of none, rank, script" in problem for problem in problems)
    assert any("did you mean 'alphabet'" in problem for problem in problems)


def test_nested_tables_change_the_stages_own_defaults():
    given, problems = bound("distill", corpora=["slk"], objective={"mlm": 1}, training={"batch_size": 4})
    assert not problems
    assert given["objective"] == Objective(mlm=1.0)
    assert isinstance(given["objective"].mlm, float)
    assert given["training"] == replace(parameters(STAGES["distill"].run)["training"].default, batch_size=4)


@pytest.mark.parametrize(
    ("stage", "table", "steps", "epochs"),
    [
        ("distill", {"epochs": 2}, 0, 2.0),
        ("finetune", {"steps": 7}, 7, 0.0),
        ("finetune", {"learning_rate": 1e-3}, 0, 5.0),
        ("distill", {"steps": 0}, 0, 0.0),
        ("distill", {"steps": 3, "epochs": 2}, 3, 2.0),
    ],
)
def test_steps_and_epochs_replace_one_another(stage, table, steps, epochs):
    given, problems = bound(
        stage, **({"corpora": ["slk"]} if stage == "distill" else {"task": "topic"}), training=table
    )
    assert not problems
    assert (given["training"].steps, given["training"].epochs) == (steps, epochs)


WRONG = [
    ("prune", {"corpora": ["slk"], "fnn": 3}, "prune: no option 'fnn'; did you mean 'ffn'?"),
    ("prune", {"corpora": ["slk"], "zzz": 3}, "no option 'zzz'; choose from corpora, ffn, heads"),
    ("finetune", {"task": "topic", "states": 1.0}, "option 'states' here: it belongs in soft = { states = … }"),
    ("finetune", {"task": "topic", "temperature": 2}, "'temperature'; did you mean soft = { soft_temperature = … }?"),
    ("finetune", {"task": "topic", "soft": {"seed": 1}}, "soft: no option 'seed' here: it belongs in training = {"),
    ("trim", {"corpora": ["slk"], "coverage": 0.99}, "here: it belongs in selection = { coverage = … }"),
    ("trim", {"corpora": ["slk"], "selection": {"size": 3}}, "it belongs in the stage's own table, size = …"),
    ("prune", {"corpora": ["slk"], "states": 1.0}, "no option 'states'; choose from corpora, ffn, heads"),
    ("prune", {}, "prune: option 'corpora' is missing"),
    ("prune", {"corpora": ["sk"]}, "corpora: no corpus 'sk'; did you mean 'slk'?"),
    ("prune", {"corpora": "slk"}, "corpora: 'slk' is not a list"),
    ("prune", {"corpora": [3]}, "no corpus 3"),
    ("prune", {"corpora": ["slk"], "ffn": "8"}, "ffn: '8' is not a whole number"),
    ("prune", {"corpora": ["slk"], "ffn": 8.0}, "ffn: 8.0 is not a whole number"),
    ("prune", {"corpora": ["slk"], "ffn": True}, "ffn: True is not a whole number"),
    ("prune", {"corpora": ["slk"], "ffn": -8}, "ffn: -8 is negative"),
    ("truncate", {"hidden": 8, "method": "first"}, "method: 'first' is not one of first-k, activation, svd"),
    ("distill", {"corpora": ["slk"], "teacher": 3}, "teacher: 3 is not a text"),
    ("distill", {"corpora": ["slk"], "training": 3}, "training: 3 is not a table"),
    ("distill", {"corpora": ["slk"], "training": {"step": 3}}, "training: no option 'step'; did you mean 'steps'?"),
    ("distill", {"corpora": ["slk"], "training": {"steps": "3"}}, "training.steps: '3' is not a whole number"),
    ("distill", {"corpora": ["slk"], "training": {"batch_size": 0}}, "training.batch_size: 0 is not above 0"),
    ("distill", {"corpora": ["slk"], "training": {"precision": "fp8"}}, "'fp8' is not one of auto, fp32, bf16"),
    ("distill", {"corpora": ["slk"], "objective": {"mlm": "x"}}, "objective.mlm: 'x' is not a number"),
    ("prune", {"corpora": [], "ffn": 8}, "corpora is empty: give at least one"),
    ("adapt", {"corpora": ["slk"], "mask": 2}, "mask: 2.0 is above 1, and a share is at most 1"),
    ("adapt", {"corpora": ["slk"], "mask": float("nan")}, "mask: nan is not a finite number"),
    ("adapt", {"corpora": ["slk"], "training": {"learning_rate": float("inf")}}, "inf is not a finite number"),
    ("adapt", {"corpora": ["slk"], "training": {"dropout": 1.5}}, "training.dropout: 1.5 is above 1"),
    ("finetune", {"task": "topik"}, "task: no task 'topik'; did you mean 'topic'?"),
    ("trim", {"corpora": ["slk"], "keep": [1]}, "keep: 1 is not a text"),
]


@pytest.mark.parametrize(("stage", "options", "message"), WRONG)
def test_a_wrong_option_is_one_problem(stage, options, message):
    _, problems = bound(stage, **options)
    assert len(problems) == 1
    assert message in problems[0]


def test_all_problems_come_together():
    context = Context()
    bind(STAGES["prune"].run, {"fnn": 1, "heads": "x"}, "stage 1 (prune)", context)
    with pytest.raises(RecipeError) as caught:
        context.check("recipe r")
    said = str(caught.value)
    assert said.startswith("recipe r: ")
    assert "\n" not in said
    assert all(part in said for part in ("'fnn'", "'corpora' is missing", "heads: 'x'"))
