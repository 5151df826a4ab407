"""The plan counts what the stages will really build."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest
from tiny_models import FAMILIES, bundle
from tiny_recipes import HEAD, furnish, written

from edgecompress.encoder import sources
from edgecompress.encoder.bundle import read_history, save
from edgecompress.encoder.heads import bare
from edgecompress.errors import RecipeError, TaskDataError
from edgecompress.pipeline import run
from edgecompress.plan import plan
from edgecompress.recipe import read


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("home"))


EVERYTHING = """
[[stages]]
stage = "adapt"
corpora = ["slk"]
training = {steps = 1, max_length = 16}
[[stages]]
stage = "distill"
corpora = ["slk"]
layers = 2
objective = {relation_heads = 4}
training = {steps = 0}
[[stages]]
stage = "prune"
corpora = ["slk"]
ffn = 30
heads = 2
tokens = 256
[[stages]]
stage = "truncate"
hidden = 16
tokens = 256
name = "narrow"
method = "first-k"
attention = "first-k"
[[stages]]
stage = "trim"
corpora = ["slk"]
SIZE
[[stages]]
stage = "finetune"
name = "student"
tasks = ["topic", "names"]
training = {epochs = 1, max_length = 32}
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plan_counts_what_is_built(home, tmp_path, family):
    size = {"roberta": 360, "modernbert": 360, "xlm-roberta": 225, "deberta-v2": 225}.get(family, 240)
    text = HEAD.replace('"bert"', f'"{family}"') + EVERYTHING.replace("SIZE", f"size = {size}")
    if family == "modernbert":
        wider = written(home, text, family)
        with pytest.raises(RecipeError, match="'prune': heads 2: wider heads would turn at other speeds here"):
            plan(read(wider))
        with pytest.raises(RecipeError, match="'narrow': heads of 3 cannot be turned in pairs"):
            plan(read(written(home, text.replace("heads = 2\n", "").replace("hidden = 16", "hidden = 12"), family)))
        text = text.replace("heads = 2\n", "")
    recipe = read(written(home, text, family))
    rows = {row.name: row for row in plan(recipe)}
    assert rows["teacher"].parameters == bundle(family).parameters
    assert not rows["narrow"].at_most
    assert rows["trim"].at_most
    for name, result in run(recipe, tmp_path).items():
        made = sources.load(str(result.folder))
        assert made.history[-1].parameters == made.parameters == rows[name].parameters, name


DAMAGED = """
[corpora.first]
files = ["latin.txt"]
[corpora.second]
files = ["slk.txt", "cut.txt.gz"]
[corpora.third]
files = ["blank.txt"]
[tasks.sentiment]
train = ["unlabelled.jsonl"]
validation = ["topic-validation.jsonl"]
[[stages]]
stage = "trim"
corpora = ["slk"]
[[stages]]
stage = "finetune"
tasks = ["sentiment"]
"""


def test_text_and_examples_are_looked_into_and_what_is_wrong_comes_together(home):
    (home / "latin.txt").write_bytes("Ďakujem, dobrý deň.".encode("iso8859-2"))
    (home / "cut.txt.gz").write_bytes(b"no gzip")
    (home / "blank.txt").write_text("\n \n")
    (home / "unlabelled.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(RecipeError) as caught:
        plan(read(written(home, HEAD + DAMAGED, "damaged")))
    said = str(caught.value)
    assert "\n" not in said
    for part in (
        "latin.txt, line 1: not UTF-8",
        "cut.txt.gz is not a valid gzip file",
        "corpus third is empty",
        "label",
    ):
        assert part in said
    (home / "latin.txt").write_text("dobrý deň")
    (home / "blank.txt").write_text("dobrý deň")
    with pytest.raises(RecipeError) as caught:
        plan(read(written(home, HEAD + DAMAGED, "damaged")))
    assert "latin" not in str(caught.value)
    (home / "cut.txt.gz").write_bytes(gzip.compress(b"dobry den"))
    with pytest.raises(TaskDataError, match="label"):
        plan(read(written(home, HEAD + DAMAGED, "damaged")))


@pytest.mark.parametrize("named", [None, ["BertForSomethingNew"], ["BertForPreTraining"]])
def test_a_teacher_is_planned_as_the_class_that_it_is_loaded_as(home, tmp_path, named):
    """Whatever its configuration calls it: so do the stages take it."""
    one = bundle("bert")
    if named != ["BertForPreTraining"]:
        one = replace(one, model=bare(one.model, one.model.config))
    save(one, home / "named")
    config = json.loads((home / "named" / "config.json").read_text())
    (home / "named" / "config.json").write_text(json.dumps({**config, "architectures": named}))
    text = '[[stages]]\nstage = "prune"\ncorpora = ["slk"]\nffn = 30\ntokens = 256\n'
    recipe = read(written(home, HEAD.replace('"bert"', '"named"') + text, "named"))
    rows = plan(recipe)
    (result,) = run(recipe, tmp_path).values()
    assert read_history(result.folder)[-1].parameters == rows[-1].parameters
    assert rows[0].parameters > rows[-1].parameters


def test_one_label_is_told_before_any_work(home):
    (home / "one.jsonl").write_text('{"text": "a", "label": "x"}\n')
    text = f"{HEAD}[[stages]]\nstage = 'finetune'\ntasks = ['topic']\n".replace("topic-train", "one")
    with pytest.raises(TaskDataError, match="only the label 'x' occurs"):
        plan(read(written(home, text, "one")))


DEEP = 'stage="distill"; layers=99; objective={relation_heads=4}'
SIZES = [  # the teacher: 3 layers, 24 wide, 4 heads, 40 neurons
    ((DEEP, 'stage="truncate"; hidden=17'), ("layers 99 is above the 3", "hidden size 17 is not divisible by 4 heads")),
    ((DEEP, 'stage="prune"; ffn=9999'), ("layers 99 is above the 3", "ffn 9999 is above the 40")),
    ((DEEP, 'stage="prune"; ffn=9999; from="teacher"'), ("layers 99 is above the 3", "ffn 9999 is above the 40")),
    (('stage="prune"; heads=5; ffn=41',), ("heads 5 is above the 4 of", "ffn 41 is above the 40")),
    (('stage="truncate"; hidden=17', 'stage="distill"; layers=4'), ("size 17 is not divisible", "layers 4 is above")),
    (('stage="prune"; heads=5', 'stage="truncate"; hidden=18'), ("heads 5 is above the 4",)),  # of 3 heads 18 would do
    (('stage="prune"; heads=5', 'stage="truncate"; hidden=18; heads=4'), ("heads 5 is", "18 is not divisible by 4")),
    (('stage="prune"; heads=5', 'stage="truncate"; hidden=18', 'stage="prune"; heads=4'), ("heads 5 is above the 4",)),
    ((DEEP, 'stage="prune"; heads=3', 'stage="distill"; objective={relation_heads=7}'), ("layers 99 is above the 3",)),
]


@pytest.mark.parametrize(("stages", "messages"), SIZES)
def test_sizes_that_cannot_be_come_together_without_what_follows_from_them(home, stages, messages):
    text = "".join(f'[[stages]]; corpora=["slk"]; name="s{at}"; {one}; ' for at, one in enumerate(stages))
    with pytest.raises(RecipeError) as caught:
        plan(read(written(home, HEAD + text.replace("; ", "\n"), "sizes")))
    said = str(caught.value)
    assert all(message in said for message in messages)
    assert said.count(": choose at most") + said.count("is not divisible") == len(messages)
    assert "relation_heads" not in said
