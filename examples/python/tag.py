"""Tag the words of texts with a ner or pos artifact, without edgecompress: python tag.py ARTIFACT TEXT…"""

import json
import os
import re
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else onnxruntime reports its use to its maker

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, texts = Path(sys.argv[1]), sys.argv[2:]
about = json.loads((folder / "edgecompress-artifact.json").read_text("utf-8"))
labels = about["labels"]
unseen = next((label for label in ("O", "X") if label in labels), labels[0])  # of a word that has no token
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(about["max_length"])
# the token that is only the space before a word; where the tokenizer does not work on bytes, Ġ is a letter of Maltese
settings = "".join(part.__getstate__().decode() for part in (tokenizer.pre_tokenizer, tokenizer.normalizer) if part)
blanks = {"ByteLevel": "Ġ", "▁": "▁"}.items()
space = next((tokenizer.token_to_id(mark) for sign, mark in blanks if sign in settings), None)
session = onnxruntime.InferenceSession(folder / about["model_file"], providers=["CPUExecutionProvider"])
inputs = {node.name for node in session.get_inputs()}
for text in texts:
    words = [match.group() for match in re.finditer(about["word_pattern"], text) if match.group()]
    encoding = tokenizer.encode(" ".join(words))
    ids = np.array([encoding.ids or [about["pad_id"]]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    logits = session.run(["logits"], {name: feed[name] for name in inputs})[0][0]
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = powers / powers.sum(axis=-1, keepdims=True)
    tokens = [(at, *span) for at, span in enumerate(encoding.offsets) if encoding.ids[at] != space]
    tagged, start = [], 0  # a word's tag is read at its first token; `start` is its place in the joined text
    for word in words:
        end = start + len(word)
        first = next((at for at, begin, stop in tokens if begin < end and start < stop), None)
        best = 0 if first is None else int(shares[first].argmax())
        tag, probability = (unseen, 0.0) if first is None else (labels[best], float(shares[first, best]))
        tagged.append({"text": word, "tag": tag, "probability": probability})
        start = end + 1
    line = {"text": text, "words": tagged, "cut": bool(encoding.overflowing)}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
