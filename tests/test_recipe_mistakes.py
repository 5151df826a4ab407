"""Recipes with mistakes: each is told in one line before any work, all of a file together."""

from __future__ import annotations

import pytest
from tiny_recipes import HEAD, furnish, refused, stage, written

from edgecompress.errors import TaskDataError
from edgecompress.plan import plan
from edgecompress.recipe import read


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("home"))


MISTAKES = [
    (
        'stage = "distill"; corpora = ["slk"]; objective = { lengths = [48] }',
        "lengths: 48 does not divide max_length 128",
    ),
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


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_is_told_before_any_work(home, line, message):
    assert message in refused(written(home, stage(line)))


def test_lengths_are_not_looked_at_where_nothing_is_trained(home):
    options = "objective = { relation_heads = 4, lengths = [48] }; training = { steps = 0 }"
    rows = plan(read(written(home, stage(f'stage = "distill"; corpora = ["slk"]; {options}'))))
    assert [row.stage for row in rows] == ["load", "distill"]


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
