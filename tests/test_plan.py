"""The plan counts what the stages will really build."""

from __future__ import annotations

import pytest
from tiny_models import FAMILIES, bundle
from tiny_recipes import HEAD, furnish, written

from edgecompress.encoder import sources
from edgecompress.errors import RecipeError
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
corpora = ["slk"]
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
