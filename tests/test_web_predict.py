"""predict.js beside the Python runtime: tokens, windows, first sub-tokens. Skipped without node or the npm package:

npm install @huggingface/tokenizers, here or in the folder that EDGECOMPRESS_NODE_MODULES names (node_modules itself).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tiny_artifact
import tiny_tokenizers
from tiny_tokenizers import SENTENCES

from edgecompress.runtime.encoding import encode_windows
from edgecompress.runtime.predictions import span_ranges

MODULES = Path(os.environ.get("EDGECOMPRESS_NODE_MODULES", Path(__file__).parents[1] / "node_modules"))
PACKAGE = MODULES / "@huggingface" / "tokenizers" / "dist" / "tokenizers.min.mjs"
PREDICT = Path(str(files("edgecompress.web"))) / "static" / "predict.js"
SCRIPT = """
import { readFileSync } from "node:fs";
const { Tokenizer } = await import(process.argv[2]);
const source = readFileSync(process.argv[3], "utf8");
const predict = await import("data:text/javascript;base64," + Buffer.from(source).toString("base64"));
const { tokenizer, sentences, most, tags } = JSON.parse(readFileSync(0, "utf8"));
const words = (all) => all.map((tag, index) => ({ tag, start: index, end: index + 1, probability: 1 }));
const opened = tokenizer && new Tokenizer(JSON.parse(tokenizer), {});
console.log(JSON.stringify({
  windows: (sentences ?? []).map((one) => predict.encodeWindows(opened, one, most)),
  spans: (tags ?? []).map((all) => predict.joinSpans("x".repeat(99), words(all)).map((s) => [s.label, s.start, s.end])),
}));
"""
ODD = [
    "x",
    "\u200d",
    "´",
    "don't",
    "日本",
    "☃",
    "ﬁ",
    "a\u0301no",
    "<mask>",
    "10.5",
    "\ufeff",
    "kôň",
    "\ud800",
    "a\u200db",
    "Ġx",
    "Ġ",
]
TOKENIZERS = {
    "wordpiece": tiny_tokenizers.wordpiece,
    "bpe": tiny_tokenizers.bpe,
    "unigram": tiny_tokenizers.unigram,
    "a dozen pieces": tiny_artifact.wordpiece,
    "a dozen pieces with spaces": tiny_artifact.unigram,
}


def in_javascript(tmp_path: Path, **given: object) -> Any:
    node = shutil.which("node")
    if node is None or not PACKAGE.is_file():
        pytest.skip("needs node and the npm package @huggingface/tokenizers")
    (tmp_path / "script.mjs").write_text(SCRIPT, "utf-8")
    words = [node, str(tmp_path / "script.mjs"), PACKAGE.as_uri(), str(PREDICT)]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def spread(window, count: int) -> list[int]:
    """Where each word of the example is read in the window, -1 elsewhere: what JavaScript returns."""
    after = count - window.begin - len(window.first)
    return [-1] * window.begin + [-1 if at is None else at for at in window.first] + [-1] * after


@pytest.mark.parametrize("most", [512, 12])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_the_same_tokens_at_the_same_words(tmp_path: Path, family: str, most: int) -> None:
    tokenizer = TOKENIZERS[family]()
    sentences = [line.split() for line in SENTENCES]
    sentences += (
        [ODD[i:] + ODD[:i] for i in range(len(ODD))] + [[word] for word in ODD] + [" ".join(SENTENCES[:4]).split()]
    )
    found = in_javascript(tmp_path, tokenizer=tokenizer.to_str(), sentences=sentences, most=most)["windows"]
    for sentence, ours, theirs in zip(sentences, encode_windows(tokenizer, sentences, most), found, strict=True):
        wanted = [{"ids": one.ids, "first": spread(one, len(sentence))} for one in ours]
        assert theirs == wanted, sentence


def test_the_same_spans(tmp_path: Path) -> None:
    tags = [
        [], ["O"], ["B-A", "I-A", "O"], ["I-A", "I-A", "I-B"], ["B-A", "B-A"], ["O", "I-A", "O", "I-A"], ["B-A", "I-B"],
        ["B-long-name", "I-long-name"], ["A", "B"],
    ]  # fmt: skip
    found = in_javascript(tmp_path, tags=tags)["spans"]
    assert found == [[list(span) for span in span_ranges(one)] for one in tags]
