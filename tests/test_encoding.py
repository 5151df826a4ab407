import pytest
from tiny_artifact import unigram, wordpiece
from tokenizers import Tokenizer, models, pre_tokenizers

from edgecompress.runtime.encoding import encode, encode_windows
from edgecompress.words import DEFAULT_WORD_PATTERN, word_offsets


def first_pieces(tokenizer, words, max_length=32):
    [encoded] = encode(tokenizer, [words], max_length)
    return [None if at is None else tokenizer.id_to_token(encoded.ids[at]) for at in encoded.first]


def byte_level():
    """A byte-level BPE without merges: each word's space is a token of its own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def test_words_are_joined_by_one_space_between_the_specials():
    tokenizer = wordpiece()
    [encoded] = encode(tokenizer, [["Good", "Košice", "."]], 32)
    assert [tokenizer.id_to_token(i) for i in encoded.ids] == ["[CLS]", "good", "koš", "##ice", ".", "[SEP]"]
    assert (encoded.first, encoded.tokens_dropped) == ([1, 2, 4], 0)


@pytest.mark.parametrize(
    ("make", "words", "expected"),
    [
        (wordpiece, ["don't", "zzz", "film"], ["don", "[UNK]", "film"]),
        (wordpiece, ["film", "\u0007", "good"], ["film", None, "good"]),  # a control character normalises to nothing
        (wordpiece, ["film good", "bad"], ["film", "bad"]),  # a word may hold a space
        (wordpiece, ["", "bad", ""], [None, "bad", None]),
        (wordpiece, ["\ud800", "bad"], [None, "bad"]),  # BERT's normalizer drops U+FFFD
        (unigram, ["\ud800", "je"], ["<unk>", "▁je"]),
        (wordpiece, ["[SEP]", "bad"], ["[SEP]", "bad"]),  # a special's name in the text is text
        (unigram, ["dobrý", "filmový", "je"], ["▁dobrý", "▁film", "▁je"]),  # the token's span begins with the space
        (unigram, ["xy", "xy"], ["x", "x"]),  # a lone "▁" is nobody's first token, not even at the start
        (unigram, ["ﬁlm", "ￗ"], ["▁film", "<unk>"]),  # a ligature that normalises to two letters
        (unigram, ["▁", "je"], [None, "▁je"]),
        (unigram, ["Ġx", "Ġ"], ["Ġ", "Ġ"]),  # a letter of Maltese; byte-level tokenizers write it for a space
        (byte_level, ["xy", "Ġ"], ["x", "Ä"]),  # whose two bytes are Ä and ł there
    ],
)
def test_each_word_has_its_first_token(make, words, expected):
    assert first_pieces(make(), words) == expected


@pytest.mark.parametrize("max_length", [3, 4, 5, 6, 7])
def test_truncation_keeps_the_specials_at_both_ends(max_length):
    [encoded] = encode(wordpiece(), [["good", "Košice", "v", "film"]], max_length)
    assert len(encoded.ids) == min(max_length, 7)
    assert (encoded.ids[0], encoded.ids[-1]) == (2, 3)
    assert encoded.tokens_dropped == 7 - len(encoded.ids)
    assert encoded.first == [at if at is not None and at < len(encoded.ids) - 1 else None for at in (1, 2, 4, 5)]


def test_there_must_be_room_for_a_token():
    with pytest.raises(ValueError, match="max_length 2 leaves no room"):
        encode(wordpiece(), [["good"]], 2)


@pytest.mark.parametrize("words", [[], [""], ["  "], ["\u0007"]])
def test_nothing_is_only_specials(words):
    [encoded] = encode(wordpiece(), [words], 8)
    assert (encoded.ids, encoded.first, encoded.tokens_dropped) == ([2, 3], [None] * len(words), 0)


def test_without_a_post_processor_there_are_no_specials():
    tokenizer = wordpiece()
    tokenizer.post_processor = None
    encoded = encode(tokenizer, [["good", "film"], [], ["good", "film", "bad"]], 2)
    assert [len(one.ids) for one in encoded] == [2, 0, 2]
    assert [one.first for one in encoded] == [[0, 1], [], [0, 1, None]]


def test_the_tokenizers_own_settings_are_neither_used_nor_changed():
    tokenizer = wordpiece()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=20)
    before = tokenizer.to_str()
    assert encode(tokenizer, [["good", "film"]], 8) == encode(wordpiece(), [["good", "film"]], 8)
    assert tokenizer.to_str() == before


def test_many_texts_keep_their_order():
    sentences = [["film"] * (1 + index % 5) for index in range(2500)]
    assert [len(one.ids) - 2 for one in encode(wordpiece(), sentences, 16)] == [len(words) for words in sentences]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't know, ta' Malta!", ["I", "don't", "know", ",", "ta'", "Malta", "!"]),
        ("'hello' she said", ["'", "hello", "'", "she", "said"]),
        ("10.5 % 3,14. 12:30", ["10.5", "%", "3,14", ".", "12:30"]),
        ("a--b well-known_x", ["a", "-", "-", "b", "well-known", "_", "x"]),
        ("हिन्दी में लिखा है।", ["हिन्दी", "में", "लिखा", "है", "।"]),
        ("مُحَمَّد قال: می\u200cخواهم", ["مُحَمَّد", "قال", ":", "می\u200cخواهم"]),
        ("e\u0301te\u0301 ❤\ufe0f👍", ["e\u0301te\u0301", "❤\ufe0f", "👍"]),
        ("র\u200d্যাব ঢাকায়", ["র\u200d্যাব", "ঢাকায়"]),
        ("ಸರ\u200d್ಕಾರ", ["ಸರ\u200d್ಕಾರ"]),
        ("a\u200d b", ["a", "b"]),
        ("O‘zbekiston, Hawai‘i; ‘so’ he said", ["O‘zbekiston", ",", "Hawai‘i", ";", "‘", "so", "’", "he", "said"]),
        ("צה״ל ג׳ירפה", ["צה״ל", "ג׳ירפה"]),
        ("ինչո՞ւ մի՛ ասա", ["ինչո՞ւ", "մի", "՛", "ասա"]),
        (" \t\n\x00\u200b", []),
    ],
)
def test_the_default_word_pattern(text, words):
    assert [text[start:end] for start, end in word_offsets(DEFAULT_WORD_PATTERN, text)] == words


@pytest.mark.parametrize("make", [wordpiece, unigram])
@pytest.mark.parametrize("max_length", [4, 7, 16])
def test_windows_hold_every_token_and_read_every_word_once(make, max_length):
    tokenizer = make()
    words = ["film", "dobrý", "good", "x", "v"] * 13
    [whole] = encode(tokenizer, [words], 10_000)
    [windows] = encode_windows(tokenizer, [words], max_length)
    head, tail = whole.ids[:1], whole.ids[-1:]
    assert all(len(one.ids) == max_length and one.ids[:1] == head and one.ids[-1:] == tail for one in windows)
    read = []
    for one in windows:
        assert one.begin == len(read)
        read += [None if at is None else one.ids[at] for at in one.first]
    assert read == [None if at is None else whole.ids[at] for at in whole.first]


@pytest.mark.parametrize("count", [17, 40, 130])
@pytest.mark.parametrize("max_length", [4, 5, 9, 16])
def test_a_word_is_read_where_it_has_most_context(count, max_length):
    words = ["film", "\x00", "kofola", "good"] * count
    [whole] = encode(wordpiece(), [words], 10_000)
    [windows] = encode_windows(wordpiece(), [words], max_length)
    room = max_length - 2
    starts = [*range(0, len(whole.ids) - 2 - room, max(1, room - room // 4)), len(whole.ids) - 2 - room]
    assert [one.ids[1:-1] for one in windows] == [whole.ids[1 + start :][:room] for start in starts]
    for start, one in zip(starts, windows, strict=True):
        for word, at in enumerate(one.first, one.begin):
            if at is not None:
                own = whole.first[word]
                assert own == at + start
                sides = [min(own - 1 - other, other + room - own) for other in starts]
                assert sides[starts.index(start)] == max(sides)


def test_many_words_in_many_windows_take_no_square_of_room():
    [windows] = encode_windows(wordpiece(), [["."] * 20_000], 16)
    assert sum(len(one.first) for one in windows) == 20_000


def test_a_text_that_fits_is_one_window_as_before():
    words = ["film", "good"]
    assert encode_windows(wordpiece(), [words], 16) == [encode(wordpiece(), [words], 16)]
    with pytest.raises(ValueError, match="leaves no room"):
        encode_windows(wordpiece(), [words], 2)
