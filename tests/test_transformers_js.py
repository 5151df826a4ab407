"""A trimmed folder read by transformers.js. Skipped without node, or without its package:

npm install @huggingface/transformers, here or where EDGECOMPRESS_TRANSFORMERS_JS points (the package's own folder).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_models import SENTENCES, bundle, corpus

from edgecompress.encoder.bundle import save
from edgecompress.stages.trim import trim

LOCAL = Path(__file__).parents[1] / "node_modules" / "@huggingface" / "transformers"
PACKAGE = Path(os.environ.get("EDGECOMPRESS_TRANSFORMERS_JS", LOCAL))
SCRIPT = """
const path = require("path");
const { createRequire } = require("module");
const [pkg, folder] = process.argv.slice(1);
const { AutoTokenizer, env } = createRequire(path.join(pkg, "package.json"))(pkg);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
let text = "";
process.stdin.on("data", (part) => { text += part; });
process.stdin.on("end", async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(path.basename(folder));
  console.log(JSON.stringify(JSON.parse(text).map((line) => Array.from(tokenizer.encode(line)))));
});
"""
TEXTS = [*SENTENCES, "", "  two  spaces ", "<mask> kôň", "a\u0301no ﬁ １", "日本 ☃", "it's 12,5 %"]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_the_same_ids_in_javascript(tmp_path: Path, family: str) -> None:
    node = shutil.which("node")
    if node is None or not (PACKAGE / "package.json").is_file():
        pytest.skip("needs node and the npm package @huggingface/transformers")
    less = trim(bundle(family), corpora=(corpus(tmp_path),))
    save(less, tmp_path / "trimmed")
    words = [node, "-e", SCRIPT, str(PACKAGE), str(tmp_path / "trimmed")]
    done = subprocess.run(words, input=json.dumps(TEXTS), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [less.tokenizer(text)["input_ids"] for text in TEXTS]
