"""Recipes: every mistake is told at once, and the plan counts what the stages will really build."""

from __future__ import annotations

import pytest
from tiny_models import corpus, task_files
from tiny_recipes import HEAD, furnish, written

from edgecompress.encoder.bundle import read_history
from edgecompress.errors import RecipeError, TaskDataError
from edgecompress.pipeline import run
from edgecompress.plan import plan
from edgecompress.recipe import read


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("home"))


def refused(path):
    with pytest.raises(RecipeError) as caught:
        plan(read(path))
    said = str(caught.value)
    assert "\n" not in said
    return said


def stage(line):
    return f"{HEAD}\n[[stages]]\n" + line.replace("; ", "\n")


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


MISTAKES = [
    ('stage="prunes"', "no stage 'prunes'; did you mean 'prune'?"),
    ('stage="prune"; corpora=["slk"]; widht=3', "stage 1 (prune): no option 'widht'"),
    ('stage="trim"; corpora=["slk"]; from="adpat"', "`from` names no earlier stage 'adpat'"),
    ('stage="trim"; corpora=["slk"]; name="a b"', "the name 'a b' is taken or not made of"),
    ('stage="trim"; corpora=["slk"]; name="teacher"', "the name 'teacher' is taken"),
    ('stage="finetune"; tasks=["topic", "topic"]', "the name 'finetune-topic' is taken"),
    ('stage="finetune"; tasks=[]', "tasks is []: give a list of one task or more"),
    ('stage="finetune"; tasks="topic"', "tasks is 'topic': give a list of one task or more"),
    ('stage="finetune"; tasks=["topic"]; task="names"', "and no `task` beside it"),
    ('stage="finetune"; tasks=["topic"]; training={epochs=1, max_length=2}', "max_length 2: this model takes 3 to 128"),
    ('stage="finetune"; tasks=["topic"]; teacher="big"; training={epochs=0}', "a teacher, and no training"),
    ('stage="finetune"; tasks=["topic"]; teacher="big"; soft={share=0, states=0}', "its states no weight"),
    (
        'stage="finetune"; tasks=["topic"]; teacher="big"; encoder="frozen"; soft={share=0, states=1}',
        "its states no weight",
    ),
    (
        'stage="distill"; corpora=["slk"]; objective={logits=1, logits_at="all", mask=0, relation_heads=4}',
        "need masked tokens: give the objective a mask above 0",
    ),
    ('stage="finetune"; tasks=["topics"]', "no task 'topics'; did you mean 'topic'?"),
    ('stage="finetune"', "option 'task' is missing"),
    (
        'stage="multitask"; tasks=["topic"]',
        "stage 1 (multitask): tasks: one encoder for several needs two or more, not 1",
    ),
    ('stage="multitask"; tasks=["topic", "names", "topic"]', "the task 'topic' of topic-train.jsonl is there twice"),
    ('stage="multitask"; tasks=["topic", "nams"]', "no task 'nams'; did you mean 'names'?"),
    ('stage="multitask"; tasks="topic"', "tasks: 'topic' is not a list"),
    ('stage="multitask"', "option 'tasks' is missing"),
    ('stage="multitask"; tasks=["topic", "names"]; sampling={alpha=1.5}', "sampling.alpha: 1.5 is above 1"),
    ('stage="multitask"; tasks=["topic", "names"]; corpora=["slk"]', "give a teacher, or no corpora"),
    ('stage="multitask"; tasks=["topic", "names"]; teacher=["a/b"]', "1 teachers for 2 tasks"),
    ('stage="multitask"; tasks=["topic", "names"]; teacher=3', "teacher: 3 is not a list"),
    (
        'stage="multitask"; tasks=["topic", "names"]; teacher="big"',
        "fine-tuned for no task 'topic', 'names': add it to",
    ),
    ('stage="finetune"; task="topic"; encoder="cold"', "encoder: 'cold' is not one of tuned, frozen"),
    (
        'stage="finetune"; task="topic"; encoder="frozen"; head="random"; training={epochs=0}',
        "a random head on a frozen",
    ),
    ('stage="finetune"; task="topic"; soft={copies=10}', "give a teacher, or no soft"),
    ('stage="multitask"; tasks=["topic", "names"]; soft={copies=10}', "give a teacher, or no soft"),
    ('stage="adapt"; corpora=["slk"]; training={max_length=129}', "max_length 129: this model takes 3 to 128 tokens"),
    ('stage="distill"; corpora=["slk"]; objective={relation_heads=4}; training={max_length=256}', "max_length 256"),
    ('stage="truncate"; corpora=["slk"]; hidden=16; heads=2; method="svd"', "heads of 8, wider than the 6"),
    (
        'stage="truncate"; corpora=["slk"]; hidden=16; method="first-k"; attention="first-k"',
        "read no text: leave corpora out",
    ),
    ('stage="distill"; corpora=["slk"]; teacher="techer"', "'techer'"),
    ('stage="finetune"; task="topic"; soft={share=2.5}', "soft.share: 2.5 is above 1, and a share is at most 1"),
    ('stage="finetune"; task="topic"; soft={soft_temperature=0}', "soft.soft_temperature: 0 is not above 0"),
    ('stage="trim"; corpora=["slk"]; size=9999', "stage 'trim': size 9999 is above the 360"),
    ('stage="trim"; corpora=["slk"]; size=0', "stage 'trim': vocab cannot be 0"),
    ('stage="prune"; corpora=["slk"]; ffn=41', "stage 'prune': ffn 41 is above the 40"),
    ('stage="prune"; corpora=["slk"]; heads=5', "heads 5 is above the 4"),
    ('stage="truncate"; corpora=["slk"]; hidden=25', "hidden 25 is above the 24"),
    ('stage="truncate"; corpora=["slk"]; hidden=14', "hidden size 14 is not divisible by 4 heads: use 12 or 16"),
    ('stage="distill"; corpora=["slk"]; layers=4', "layers 4 is above the 3"),
    ('stage="trim"; corpora=["slk"]\n[export]; stages=["trim"]', "no finetune stage 'trim'"),
    ('stage="trim"; corpora=["slk"]\n[export]; schemes=["int3"]', "no scheme 'int3'; did you mean 'int8'?"),
    ('stage="trim"; corpora=["slk"]\n[export]; schemes=[4]', "4"),
    ('stage="trim"; corpora=["slk"]\n[export]; stages="trim"', "export"),
    ('stage="trim"; corpora=["slk"]\n[bench]; students=[1]', "1"),
    ('stage="trim"; corpora=["slk"]\n[bench]; student=["x"]', "bench: no option 'student'; did you mean 'students'?"),
    ('stage="trim"; corpora=["slk"]\n[corpora.x]; files=["none.txt"]', "corpora.x.files: no file"),
    ('stage="trim"; corpora=["slk"]\n[corpora.x]; files=[]', "corpora.x.files is []: give a list of file names"),
    ('stage="trim"; corpora=["slk"]\n[corpora.x]; files=["slk.txt"]; weight=0', "weight 0 is not a number above 0"),
    ('stage="trim"; corpora=["slk"]\n[tasks.parse]; train=["slk.txt"]', "no task kind 'parse'"),
]


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


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_is_told_before_any_work(home, line, message):
    assert message in refused(written(home, stage(line)))


@pytest.mark.parametrize(("given", "expected"), [("trim", "trim"), ("roberta", "HOME/roberta"), ("a/b", "a/b")])
def test_a_stages_teacher_is_a_stage_a_folder_or_a_hub_id(home, given, expected):
    stages = (
        f'[[stages]]\nstage="trim"\ncorpora=["slk"]\n[[stages]]\nstage="distill"\ncorpora=["slk"]\nteacher="{given}"\n'
    )
    node = read(written(home, HEAD + stages)).nodes[1]
    assert node.arguments["teacher"] == expected.replace("HOME", str(home))


def test_mistakes_of_the_whole_file_come_together(home):
    said = refused(
        written(home, 'techer = "bert"\n[[stages]]\nstage = "trimm"\n[[stages]]\nstage = "prune"\nfnn = 3\n')
    )
    parts = (
        "no key 'techer'; did you mean 'teacher'?",
        "'teacher' is missing",
        "'trimm'",
        "'fnn'",
        "'corpora' is missing",
    )
    assert all(part in said for part in parts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = ", "is not valid TOML"),
        (b"\xff", "is not valid TOML"),
        (b'teacher="bert"\nstages=3', "'stages' must be a list of tables"),
        (b'teacher="bert"\nstages=[3]', "'stages' must be a list of tables"),
        (b'teacher="bert"\ncorpora=3\n[[stages]]\nstage="adapt"', "'corpora' must hold tables"),
        (b'export=3\nteacher="bert"\n[[stages]]\nstage="adapt"', "'export' must be a table"),
        (b"", "key 'teacher' is missing; key 'stages' is missing"),
    ],
)
def test_files_that_are_no_recipe(home, content, message):
    path = home / "bad.toml"
    path.write_bytes(content)
    assert message in refused(path)


def test_a_missing_recipe_is_told(tmp_path):
    assert "No such file" in refused(tmp_path / "none.toml")


def test_labels_are_read_before_any_work(home, tmp_path):
    (tmp_path / "v.jsonl").write_text('{"text": "x", "label": "other"}\n')
    text = (
        HEAD.replace("topic-validation.jsonl", str(tmp_path / "v.jsonl"))
        + '[[stages]]\nstage="finetune"\ntasks=["topic"]\n'
    )
    with pytest.raises(TaskDataError, match="training lacks: 'other'"):
        plan(read(written(home, text)))
