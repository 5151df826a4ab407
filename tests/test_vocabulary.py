from __future__ import annotations

import numpy as np
import pytest
from tiny_tokenizers import SENTENCES, SLOVAK, SWAHILI, bpe, unigram, wordpiece
from tokenizers import Tokenizer, models, pre_tokenizers

from edgecompress.encoder import closure
from edgecompress.encoder.counting import Counts, count
from edgecompress.encoder.vocabulary import Rule, check_rule, select
from edgecompress.errors import VocabularyError
from edgecompress.progress import Event, listening

FAMILIES = {"unigram": unigram, "wordpiece": wordpiece, "bpe": bpe}


@pytest.fixture(params=list(FAMILIES))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return FAMILIES[request.param]()


def counted(tokenizer: Tokenizer, **seen: int) -> Counts:
    """Counts where the named tokens occur that often, each in one line."""
    tokens = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for name, times in seen.items():
        tokens[tokenizer.token_to_id(name)] = times
    return Counts(tokens, np.minimum(tokens, 1), {}, 1, int(tokens.sum()))


def test_counts_are_those_of_a_plain_loop(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    counts = count(tokenizer, SENTENCES * 30)  # more than one batch; truncation and padding must not count
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens, documents = np.zeros_like(counts.tokens), np.zeros_like(counts.documents)
    for sentence in SENTENCES * 30:
        ids = tokenizer.encode(sentence, add_special_tokens=False).ids
        for token in ids:
            tokens[token] += 1
        documents[list(set(ids))] += 1
    assert counts.tokens.tolist() == tokens.tolist()
    assert counts.documents.tolist() == documents.tolist()
    assert (counts.lines, counts.total) == (len(SENTENCES) * 30, tokens.sum())
    letters = [char for sentence in SENTENCES * 30 for char in sentence if not char.isspace()]
    assert counts.characters == {char: letters.count(char) for char in set(letters)}


def test_characters_are_counted_after_the_normalizer() -> None:
    assert count(unigram(), ["ﬁ a\u0301"]).characters == {"f": 1, "i": 1, "á": 1}
    assert count(bpe(), ["🙂🙂"]).characters == {"🙂": 2}


def test_progress_is_reported() -> None:
    events: list[Event] = []
    with listening(events.append):
        count(wordpiece(), SENTENCES * 20, task="words")
    assert [(event.task, event.done) for event in events] == [("words", 512), ("words", len(SENTENCES) * 20)]


def test_lines_may_be_a_generator_without_end_in_memory() -> None:
    assert count(wordpiece(), (text for text in SLOVAK)).lines == len(SLOVAK)


def test_the_size_is_exact_and_the_result_is_closed(tokenizer: Tokenizer) -> None:
    counts = count(tokenizer, SENTENCES)
    tokens = closure.layout(tokenizer)
    made_of = closure.parents(tokens)
    must = closure.always(tokens) | closure.characters(tokens, counts.characters)
    everything = len(select(tokenizer, [(counts, 1.0)], Rule()))
    for size in range(len(must), everything + 1, 7):
        kept = select(tokenizer, [(counts, 1.0)], Rule(size=size))
        assert len(kept) == size
        assert np.all(np.diff(kept) > 0)
        assert must <= set(kept.tolist())
        assert all(set(made_of.get(token, ())) <= set(kept.tolist()) for token in kept.tolist())


def test_fewer_when_fewer_are_seen(tokenizer: Tokenizer) -> None:
    counts = count(tokenizer, SLOVAK[:3])
    assert len(select(tokenizer, [(counts, 1.0)], Rule(size=tokenizer.get_vocab_size()))) < 330


def test_the_most_frequent_stay_and_ties_go_to_the_lower_id() -> None:
    old = wordpiece()
    names = [old.id_to_token(at) for at in range(200, 206)]
    counts = counted(old, **dict(zip(names, (2, 5, 2, 9, 2, 2), strict=True)))
    kept = select(old, [(counts, 1.0)], Rule(size=5 + 4))
    assert kept.tolist() == [0, 1, 2, 3, 4, 200, 201, 202, 203]


def test_languages_are_mixed_by_relative_frequency_and_weight() -> None:
    old = wordpiece()
    one, two, three = (old.id_to_token(at) for at in (200, 201, 202))
    long, short = counted(old, **{one: 900, two: 100}), counted(old, **{three: 2})
    assert 202 in select(old, [(long, 1.0), (short, 1.0)], Rule(size=6))
    assert 200 in select(old, [(long, 10.0), (short, 1.0)], Rule(size=6))


def test_thresholds_leave_rare_tokens_out(tokenizer: Tokenizer) -> None:
    counts = count(tokenizer, SENTENCES)
    tokens = closure.layout(tokenizer)
    must = closure.always(tokens) | closure.characters(tokens, counts.characters)
    kept = set(select(tokenizer, [(counts, 1.0)], Rule(min_count=4, min_documents=3)).tolist())
    made_of = closure.parents(tokens)
    parents = {part for token in kept for part in made_of.get(token, ())}
    assert all(counts.tokens[at] >= 4 and counts.documents[at] >= 3 for at in kept - must - parents)
    assert len(kept) < len(select(tokenizer, [(counts, 1.0)], Rule()))


def test_named_tokens_stay_with_their_ancestors() -> None:
    old = bpe()
    name = old.id_to_token(390)
    counts = count(old, ["x"])
    kept = set(select(old, [(counts, 1.0)], Rule(keep=(name,))).tolist())
    assert closure.ancestors(390, closure.parents(closure.layout(old)), set()) <= kept


def test_all_bytes_stay() -> None:
    old = bpe()
    kept = select(old, [(count(old, SWAHILI), 1.0)], Rule())
    assert {old.token_to_id(byte) for byte in pre_tokenizers.ByteLevel.alphabet()} <= set(kept.tolist())
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), *((f"<0x{byte:02X}>", -3.0) for byte in range(256))]
    fallback = Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    assert len(select(fallback, [(count(fallback, ["aaa"]), 1.0)], Rule())) == 259


def refused(tokenizer: Tokenizer, rule: Rule, *texts: str) -> str:
    with pytest.raises(VocabularyError) as caught:
        select(tokenizer, [(count(tokenizer, texts), 1.0)], rule)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_impossible_rules_are_one_clear_line(tokenizer: Tokenizer) -> None:
    size = tokenizer.get_vocab_size()
    assert f"size {size + 1} is above the tokenizer's own {size}" in refused(tokenizer, Rule(size + 1), *SLOVAK)
    assert "size 3 is below the " in refused(tokenizer, Rule(3), *SLOVAK)
    assert "no token occurs 10000 times" in refused(tokenizer, Rule(min_count=10_000), *SLOVAK)
    assert "no token occurs 1 times in 900 lines" in refused(tokenizer, Rule(min_documents=900), *SLOVAK)
    assert "the text is empty" in refused(tokenizer, Rule())
    with pytest.raises(VocabularyError, match="weight 0 of a language"):
        select(tokenizer, [(count(tokenizer, SLOVAK), 0)], Rule())


def test_the_minimum_named_is_the_one_that_works(tokenizer: Tokenizer) -> None:
    least = int(refused(tokenizer, Rule(3), *SLOVAK).split("below the ")[1].split()[0])
    assert len(select(tokenizer, [(count(tokenizer, SLOVAK), 1.0)], Rule(least))) == least
    assert f"below the {least} tokens" in refused(tokenizer, Rule(least - 1), *SLOVAK)


def test_an_unknown_token_to_keep_shows_a_near_miss() -> None:
    assert "no token 'bol' to keep; did you mean '▁bol'?" in refused(unigram(), Rule(keep=("bol",)), *SLOVAK)
    assert "no token '[MASC]' to keep; did you mean '[MASK]'?" in refused(wordpiece(), Rule(keep=("[MASC]",)), *SLOVAK)
    assert refused(wordpiece(), Rule(keep=("ქქქ",)), *SLOVAK).endswith("no token 'ქქქ' to keep")


def test_a_foreign_script_is_refused() -> None:
    georgian = ("თბილისი საქართველოს დედაქალაქია", "დღეს კარგი ამინდია")
    for old in (unigram(), wordpiece()):
        assert "of a text are unknown" in refused(old, Rule(), *georgian)
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), *((f"<0x{byte:02X}>", -3.0) for byte in range(256))]
    fallback = Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    assert "100% of the tokens of a text are unknown" in refused(fallback, Rule(), *georgian)
    assert len(select(bpe(), [(count(bpe(), georgian), 1.0)], Rule())) >= 261  # bytes know every script


def test_counts_of_another_tokenizer_are_refused() -> None:
    with pytest.raises(VocabularyError, match="do not fit a tokenizer of 360"):
        select(wordpiece(), [(count(bpe(), SLOVAK), 1.0)], Rule())


def test_coverage_keeps_the_fewest_frequent_tokens_that_reach_it(tokenizer: Tokenizer) -> None:
    counts = count(tokenizer, SENTENCES)
    tokens = closure.layout(tokenizer)
    must = set(select(tokenizer, [(counts, 1.0)], Rule(coverage=1e-9)).tolist())
    previous: set[int] = set()
    for coverage in (0.5, 0.9, 0.99, 1.0):
        kept = set(select(tokenizer, [(counts, 1.0)], Rule(coverage=coverage)).tolist())
        assert counts.tokens[sorted(kept)].sum() >= coverage * counts.total
        assert previous <= kept
        previous = kept
        made_of = closure.parents(tokens)
        parents = {part for token in kept for part in made_of.get(token, ())}
        free = kept - must - parents
        if free:  # one token less, and the share would be missed by what was ranked
            ranked = sorted((at for at in range(len(counts.tokens))), key=lambda at: (-counts.tokens[at], at))
            needed = int(np.searchsorted(np.cumsum(counts.tokens[ranked]), coverage * counts.total - 1e-6)) + 1
            assert free <= set(ranked[:needed])
    assert previous == set(select(tokenizer, [(counts, 1.0)], Rule()).tolist())


@pytest.mark.parametrize("coverage", [0.0, -1.0, 1.5])
def test_a_coverage_that_is_no_share_is_refused(coverage: float) -> None:
    assert "is not a share above 0 and up to 1" in refused(wordpiece(), Rule(coverage=coverage), *SLOVAK)


def test_characters_stay_though_the_text_lacks_them() -> None:
    old = wordpiece()
    seen = count(old, ["aa"])
    assert old.token_to_id("ž") not in select(old, [(seen, 1.0)], Rule())
    kept = select(old, [(seen, 1.0)], Rule(characters="ž"))
    assert {old.token_to_id("ž"), old.token_to_id("##ž")} <= set(kept.tolist())


@pytest.mark.parametrize("fill", ["rank", "script"])
def test_fill_reaches_the_size_in_the_order_of_ids(tokenizer: Tokenizer, fill: str) -> None:
    counts = count(tokenizer, SLOVAK[:2])
    seen = set(select(tokenizer, [(counts, 1.0)], Rule()).tolist())
    size = len(seen) + 40
    kept = set(select(tokenizer, [(counts, 1.0)], Rule(size=size, fill=fill)).tolist())
    assert seen < kept
    assert len(kept) == size
    if tokenizer.to_str().find('"BPE"') < 0:  # whose tokens bring along what they are merged from
        unseen = [at for at in range(tokenizer.get_vocab_size()) if at not in seen]
        assert kept - seen == set(unseen[:40])


def test_fill_by_script_leaves_other_scripts_out() -> None:
    vocab = {"[UNK]": 0, "а": 1, "a": 2, "##a": 3, "b": 4, "1": 5, "か": 6, "ab": 7, "##б": 8}
    old = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    old.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts = count(old, ["a"])
    assert select(old, [(counts, 1.0)], Rule(size=9, fill="script")).tolist() == [0, 2, 3, 4, 5, 7]
    assert select(old, [(counts, 1.0)], Rule(size=9, fill="rank")).tolist() == list(range(9))


def test_fill_without_a_size_is_refused() -> None:
    assert "fill 'script' needs a size" in refused(wordpiece(), Rule(fill="script"), *SLOVAK)


def test_lines_must_have_been_counted_for_min_documents() -> None:
    counts = count(wordpiece(), SLOVAK, documents=False)
    with pytest.raises(VocabularyError, match="min_documents needs counts of lines"):
        select(wordpiece(), [(counts, 1.0)], Rule(min_documents=2))


def test_a_rule_is_checked_before_any_text_is_read() -> None:
    for rule in (Rule(keep=("nothing like it",)), Rule(size=10_000), Rule(coverage=2.0), Rule(fill="rank")):
        with pytest.raises(VocabularyError):
            check_rule(wordpiece(), rule)
    check_rule(wordpiece(), Rule(size=100, keep=("a",), coverage=0.5, fill="script"))


def test_the_same_text_in_another_order_gives_the_same_selection(tokenizer: Tokenizer) -> None:
    once, again = (count(tokenizer, texts, documents=False) for texts in (SENTENCES, SENTENCES[::-1]))
    rule = Rule(size=320, coverage=0.99, fill="script")
    assert select(tokenizer, [(once, 1.0)], rule).tolist() == select(tokenizer, [(again, 1.0)], rule).tolist()
