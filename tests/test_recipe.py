"""Recipes: every mistake is told at once, and the plan counts what the stages will really build."""

from __future__ import annotations

import pytest
from tiny_models import corpus, task_files
from tiny_recipes import HEAD, furnish, refused, written

from edgecompress.encoder.bundle import read_history
from edgecompress.errors import RecipeError
from edgecompress.pipeline import run
from edgecompress.plan import plan
from edgecompress.recipe import read


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("home"))


ENDS = """
[[stages]]
stage = "adapt"
corpora = ["slk"]
[[stages]]
stage = "finetune"
name = "student"
tasks = ["topic", "names"]
[[stages]]
stage = "finetune"
name = "big"
from = "teacher"
tasks = ["topic"]
[export]
stages = ["student"]
schemes = ["dynamic-int8"]
[bench]
teacher = "big"
students = ["student"]
"""


def test_names_sources_and_tasks_are_resolved(home):
    recipe = read(written(home, HEAD + ENDS))
    assert [(node.name, node.source) for node in recipe.nodes] == [
        ("adapt", "teacher"),
        ("student-topic", "adapt"),
        ("student-names", "adapt"),
        ("big-topic", "teacher"),
    ]
    assert recipe.teacher == str(home / "bert")
    assert list(recipe.group("student")) == ["topic", "names"]
    assert recipe.nodes[2].arguments["task"].train == (home / "ner-train.jsonl",)
    assert (recipe.exports, recipe.schemes, recipe.bench_teacher, recipe.students) == (
        ("student",),
        ("dynamic-int8",),
        "big",
        ("student",),
    )


MOVABLE = """
teacher = "${TINY_TEACHER:-bert}"
data = "${TINY_DATA:-.}"
[corpora.slk]
files = ["FILE"]
[[stages]]
stage = "trim"
corpora = ["slk"]
"""


def test_a_group_holds_what_is_fine_tuned_alone(home):
    """Another stage may have the group's name: nothing of it is exported."""
    text = '[[stages]]\nstage = "distill"\nname = "student"\ncorpora = ["slk"]\n'
    recipe = read(written(home, HEAD + text + ENDS.replace('from = "teacher"\n', "", 1)))
    assert recipe.nodes[0].name == "student"
    assert [node.name for node in recipe.group("student").values()] == ["student-topic", "student-names"]


def test_a_teacher_with_another_vocabulary_is_told(home):
    text = f"{HEAD}[[stages]]\nstage = 'trim'\ncorpora = ['slk']\nsize = 99\n"
    text += "[[stages]]\nstage = 'distill'\ncorpora = ['slk']\nteacher = 'teacher'\n"
    text += "objective = {relation_heads = 4}\n"
    said = "stage 'distill': its teacher 'teacher' has another vocabulary"
    assert said in refused(written(home, text))


def test_variables_are_expanded(home, monkeypatch, tmp_path):
    corpus(tmp_path, "moved", repeat=1)
    text = MOVABLE
    assert read(written(home, text.replace("FILE", "slk.txt"))).teacher == str(home / "bert")
    monkeypatch.setenv("TINY_TEACHER", "roberta")
    monkeypatch.setenv("TINY_DATA", str(tmp_path))
    recipe = read(written(home, text.replace("FILE", "${TINY_NAME:-moved}.txt")))
    assert recipe.teacher == str(home / "roberta")
    assert recipe.corpora["slk"].files == (tmp_path / "moved.txt",)
    assert "the environment variable TINY_NONE is not set" in refused(
        written(home, text.replace("FILE", "${TINY_NONE}"))
    )


TAUGHT = """
[[stages]]
stage = "finetune"
name = "small"
from = "teacher"
tasks = ["topic"]
teacher = "TEACHER"
"""


def test_each_task_learns_from_the_teacher_of_that_task(home):
    recipe = read(written(home, HEAD + ENDS.partition("[export]")[0] + TAUGHT.replace("TEACHER", "big")))
    assert recipe.nodes[-1].arguments["teacher"] == "big-topic"
    assert plan(recipe)[-1].name == "small-topic"
    other = read(written(home, HEAD + ENDS.partition("[export]")[0] + TAUGHT.replace("TEACHER", "student-names")))
    with pytest.raises(RecipeError, match="'small-topic': its teacher 'student-names' is not fine-tuned for the same"):
        plan(other)


SHARED = """
[[stages]]
stage = "finetune"
name = "big"
from = "teacher"
tasks = ["topic", "names"]
training = {epochs = 1, max_length = 32, precision = "fp32"}
[[stages]]
stage = "multitask"
name = "shared"
from = "teacher"
tasks = ["topic", "names"]
teacher = "big"
corpora = ["slk"]
soft = {lines = 4, copies = 1}
training = {epochs = 1, max_length = 32, precision = "fp32"}
[[stages]]
stage = "finetune"
name = "small"
from = "shared"
tasks = ["topic", "names"]
encoder = "frozen"
head = "trained"
training = {epochs = 0}
"""


def test_several_tasks_share_an_encoder(home, tmp_path):
    """From the recipe to the folders: planned as built, the encoder's tensors in each student's file the same bytes."""
    from safetensors import safe_open

    recipe = read(written(home, HEAD + SHARED, "shared"))
    node = recipe.nodes[2]
    assert (node.name, node.arguments["teacher"]) == ("shared", ("big-topic", "big-names"))
    assert node.arguments["tasks"] == (recipe.tasks["topic"], recipe.tasks["names"])
    rows = {row.name: row for row in plan(recipe)}
    results = run(recipe, tmp_path)
    tensors = {}
    for name, result in results.items():
        with safe_open(result.folder / "model.safetensors", "np") as file:
            tensors[name] = {key.removeprefix("bert."): file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
        assert read_history(result.folder)[-1].parameters == rows[name].parameters, name
    for name in ("small-topic", "small-names"):
        assert {key: tensors[name][key] for key in tensors["shared"]} == tensors["shared"]
        assert [step.stage for step in read_history(results[name].folder)] == ["multitask", "finetune"]
    assert all(result.reused for result in run(recipe, tmp_path).values())
    task_files(home, "ner", 7)
    again = read(written(home, HEAD + SHARED, "shared"))
    try:  # what learns from the changed examples, or from who learnt from them, is made again
        assert [name for name, result in run(again, tmp_path).items() if result.reused] == ["big-topic"]
    finally:
        task_files(home, "ner", 8)


UNFIT = [
    ('tasks = ["topic", "names"]\ntraining', 'tasks = ["topic"]\ntraining', "'big' was fine-tuned for no task 'names'"),
    ('tasks = ["topic", "names"]\nteacher = "big"', 'tasks = ["names", "topic"]\nteacher = ["big-topic", "big-names"]',
     "'shared': its teacher 'big-topic' is not fine-tuned for the same task"),
    ('from = "shared"', 'from = "big-topic"', "'small-topic': head 'trained': 'big-topic' has none for this task"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "message"), UNFIT)
def test_what_does_not_fit_the_other_stages_is_told(home, before, after, message):
    assert before in SHARED
    assert message in refused(written(home, (HEAD + SHARED).replace(before, after), "unfit"))


@pytest.mark.parametrize(("given", "expected"), [("trim", "trim"), ("roberta", "HOME/roberta"), ("a/b", "a/b")])
def test_a_stages_teacher_is_a_stage_a_folder_or_a_hub_id(home, given, expected):
    stages = (
        f'[[stages]]\nstage="trim"\ncorpora=["slk"]\n[[stages]]\nstage="distill"\ncorpora=["slk"]\nteacher="{given}"\n'
    )
    node = read(written(home, HEAD + stages)).nodes[1]
    assert node.arguments["teacher"] == expected.replace("HOME", str(home))
