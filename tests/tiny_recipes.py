"""A folder that recipes can be read in, and how the recipes of the tests begin."""

from __future__ import annotations

import textwrap

import pytest
from tiny_models import FAMILIES, bundle, corpus, task_files

from edgecompress.encoder.bundle import save
from edgecompress.errors import RecipeError
from edgecompress.plan import plan
from edgecompress.recipe import read

HEAD = """
teacher = "bert"
[corpora.slk]
files = ["slk.txt"]
[tasks.topic]
train = ["topic-train.jsonl"]
validation = ["topic-validation.jsonl"]
[tasks.names]
kind = "ner"
train = ["ner-train.jsonl"]
validation = ["ner-validation.jsonl"]
"""


def written(home, text, name="recipe"):
    path = home / f"{name}.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def furnish(folder):
    """Write a teacher of each family, a corpus and two tasks."""
    for family in FAMILIES:
        save(bundle(family), folder / family)
    corpus(folder)
    task_files(folder, "topic", 8)
    task_files(folder, "ner", 8)
    return folder


def refused(path):
    with pytest.raises(RecipeError) as caught:
        plan(read(path))
    said = str(caught.value)
    assert "\n" not in said
    return said


def stage(line):
    return f"{HEAD}\n[[stages]]\n" + line.replace("; ", "\n")
