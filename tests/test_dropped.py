from __future__ import annotations

import numpy as np
from tiny_tokenizers import SENTENCES, wordpiece
from tokenizers import Tokenizer, models, pre_tokenizers

from edgecompress.encoder.counting import count
from edgecompress.encoder.dropped import dropped


def test_dropped_tokens_are_grouped_by_script_and_by_use() -> None:
    vocab = {"[UNK]": 0, "a": 1, "ж": 2, "か": 3, "き": 4, "1": 5, "b": 6, "aж": 7}
    old = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    old.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts = count(old, ["a " * 12 + "b ж ж 1", "か"])
    found = dropped(old, [counts, counts], np.array([0, 1]))
    assert found.tokens == 6
    assert found.by_script == {"HIRAGANA": 2, "CYRILLIC": 1, "no letter": 1, "LATIN": 1, "CYRILLIC+LATIN": 1}
    assert found.by_frequency == {"never": 2, "2–9 times": 4}
    assert found.occurrences == (1 + 2 + 1 + 1) / 17
    assert list(found.by_script.values()) == sorted(found.by_script.values(), reverse=True)


def test_nothing_dropped_is_nothing_lost() -> None:
    old = wordpiece()
    found = dropped(old, [count(old, SENTENCES)], np.arange(old.get_vocab_size()))
    assert (found.tokens, found.occurrences, found.by_script, found.by_frequency) == (0, 0.0, {}, {})
