from __future__ import annotations

from pathlib import Path

import pytest

from edgecompress.errors import InputError
from edgecompress.serve.settings import TOKEN_VARIABLE, Settings, name_folders, read_token


def test_the_token_comes_from_the_file_before_the_environment(tmp_path):
    file = tmp_path / "token"
    file.write_text("  from-file\n")
    assert read_token(file, {TOKEN_VARIABLE: "from-variable"}) == "from-file"
    assert read_token(None, {TOKEN_VARIABLE: "from-variable\n"}) == "from-variable"
    assert read_token(None, {}) is None


@pytest.mark.parametrize("text", ["", " \n", "two words", "ž", "a\tb"])
def test_a_token_that_guards_nothing_or_cannot_be_sent(tmp_path, text):
    (tmp_path / "token").write_text(text, encoding="utf-8")
    for file, environment in ((tmp_path / "token", {}), (None, {TOKEN_VARIABLE: text})):
        with pytest.raises(InputError, match="token"):
            read_token(file, environment)


def test_a_token_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_token(tmp_path / "none", {})
    (tmp_path / "token").write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_token(tmp_path / "token", {})


def test_the_token_is_not_shown():
    assert "secret" not in repr(Settings(token="secret"))


def test_models_are_called_as_their_folders_or_as_told(tmp_path, monkeypatch):
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert name_folders(("out/topic", "ner=out/topic")) == {"topic": Path("out/topic"), "ner": Path("out/topic")}
    assert name_folders(("topic/",)) == {"topic": Path("topic")}
    with pytest.raises(InputError, match=r"'a=b' cannot name a model.*NAME=a=b"):
        name_folders(("a=b",))


@pytest.mark.parametrize("given", [("x/topic", "y/topic"), ("topic", "topic=other")])
def test_two_of_one_name(given):
    with pytest.raises(InputError, match=r"two artifacts are called 'topic'.*NAME="):
        name_folders(given)


@pytest.mark.parametrize("given", ["=x", "a b=x", "ž=x", "..=x", "/"])
def test_names_that_no_address_holds(given):
    with pytest.raises(InputError, match="cannot name a model"):
        name_folders((given,))


def test_a_full_request_fits_the_queue():
    Settings(queue=8, max_texts=8)
    with pytest.raises(InputError, match="--queue 7 is below --max-texts 8"):
        Settings(queue=7, max_texts=8)


def test_what_is_collected():
    assert (Settings().collected, Settings(max_batch=1).collected) == (32, 1)
