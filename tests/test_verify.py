"""Two models beside each other, and where they differ."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import SENTENCES
from tokenizers import Tokenizer

from edgecompress.errors import CheckError, InputError
from edgecompress.export.quantize import quantize
from edgecompress.export.verify import judge, open_side, verify

TEXTS = tuple(SENTENCES)
QUICK = ("optimized", "int8", "int8-tables4", "fp16")


def test_verifying_a_folder_and_an_artifact(exported, tmp_path):
    folder, plain = exported()
    small = quantize(plain, tmp_path / "small", scheme="int8")
    torch_side, plain_side, small_side = (open_side(path) for path in (folder, plain.folder, small.folder))
    assert verify(torch_side, plain_side, TEXTS).largest < 1e-4
    found = verify(plain_side, small_side, TEXTS)
    assert [row.where for row in found.rows[:5]] == ["1×1", "1×3", "1×128", "3×17", "mixed padding"]
    assert found.largest > 1e-3
    assert found.padding[0] < 1e-5 < found.padding[1]  # a dynamic scheme scales over the whole batch
    with pytest.raises(InputError, match="compare two of one task"):
        verify(plain_side, replace(small_side, labels=("x", "y")))
    _, other = exported("bert", "text")
    with pytest.raises(InputError, match="do not cut texts into the same tokens"):
        verify(plain_side, open_side(other.folder), TEXTS)


@pytest.mark.parametrize("other", ["lower case", "two tokens exchanged"])
def test_other_tokenizers_are_seen_without_texts(exported, other):
    """As many tokens, and the same random ids for both graphs: only what the ids mean is another thing."""
    _, plain = exported("bert", "text")
    side = open_side(plain.folder)
    spec = json.loads(side.tokenizer.to_str())
    if other == "lower case":
        spec["normalizer"]["lowercase"] = not spec["normalizer"]["lowercase"]
    else:
        one, two = list(spec["model"]["vocab"])[-2:]
        vocab = spec["model"]["vocab"]
        vocab[one], vocab[two] = vocab[two], vocab[one]
    with pytest.raises(InputError, match="do not cut texts into the same tokens"):
        verify(side, replace(side, tokenizer=Tokenizer.from_str(json.dumps(spec))))
    assert verify(side, side).largest == 0


def test_a_model_that_gives_nan_is_not_verified(exported):
    folder, plain = exported()
    good = open_side(plain.folder)
    broken = replace(open_side(folder), run=lambda ids, mask: good.run(ids, mask) * np.nan)
    for pair, who in (((broken, good), "first"), ((good, broken), "second")):
        with pytest.raises(CheckError, match=f"the {who} model gives a value that is not finite"):
            verify(*pair, TEXTS)


@pytest.mark.parametrize(("share", "passes"), [(0.95, True), (0.89, False)])
def test_too_few_equal_decisions_are_refused_where_one_is_quantized(share, passes):
    found = SimpleNamespace(rows=[SimpleNamespace(largest=0.2, where="1×3")], agreement=share)
    sides = SimpleNamespace(scheme="fp32", title="a"), SimpleNamespace(scheme="int8", title="b")
    if passes:
        assert "95.00% of decisions equal" in judge(*sides, found, None, 0.9)
        return
    with pytest.raises(CheckError, match=r"b decides 11\.0 % otherwise than a, 10\.0 % are allowed"):
        judge(*sides, found, None, 0.9)
