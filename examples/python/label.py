"""Label texts with a topic or sentiment artifact, without edgecompress: python label.py ARTIFACT TEXT…"""

import json
import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else onnxruntime reports its use to its maker

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, texts = Path(sys.argv[1]), sys.argv[2:]
about = json.loads((folder / "edgecompress-artifact.json").read_text("utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(about["max_length"])
session = onnxruntime.InferenceSession(folder / about["model_file"], providers=["CPUExecutionProvider"])
inputs = {node.name for node in session.get_inputs()}
for text in texts:
    encoding = tokenizer.encode(text)
    ids = np.array([encoding.ids or [about["pad_id"]]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    logits = session.run(["logits"], {name: feed[name] for name in inputs})[0][0]
    powers = np.exp(logits - logits.max())
    best = int(powers.argmax())
    found = {"label": about["labels"][best], "probability": float(powers[best] / powers.sum())}
    sys.stdout.write(json.dumps({"text": text, **found, "cut": bool(encoding.overflowing)}, ensure_ascii=False) + "\n")
