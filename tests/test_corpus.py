from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

import edgecompress
from edgecompress.corpus import Corpus, check, lines
from edgecompress.errors import CorpusError

DEMO = Path(edgecompress.__file__).parent / "data" / "demo"
ROWS = '{"text": " prvý\\nriadok "}\n\n{"tokens": ["druhý", "."], "tags": ["ADJ", "PUNCT"]}\n'


def read(*paths: Path) -> list[str]:
    return list(lines(Corpus("slk", paths)))


def problem(*paths: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        read(*paths)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_kind_gives_the_same_stripped_lines(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "a.txt").write_bytes("  prvý riadok\r\n\n\t\ndruhý .".encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("prvý riadok\ndruhý .\n".encode()))
    (tmp_path / "a.jsonl").write_text(ROWS, encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(ROWS.encode()))
    parquet.write_table(pa.table({"text": ["prvý riadok", None, " ", "druhý ."]}), tmp_path / "a.parquet")
    for kind in ("txt", "txt.gz", "jsonl", "jsonl.gz", "parquet"):
        assert read(tmp_path / f"a.{kind}") == ["prvý riadok", "druhý ."], kind


def test_half_of_a_pair_is_read_as_the_character_of_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl").write_text('{"text": "dobrý deň \\ud83d"}\n{"text": "\\ud83d\\ude00"}\n', encoding="utf-8")
    assert read(tmp_path / "cut.jsonl") == ["dobrý deň \ufffd", "😀"]
    (tmp_path / "words.jsonl").write_text('{"tokens": ["deň", "\\ud83d"]}\n', encoding="utf-8")
    assert read(tmp_path / "words.jsonl") == ["deň \ufffd"]


def test_files_are_read_in_order_and_an_empty_one_among_them_is_fine(tmp_path: Path) -> None:
    for name, text in (("b", "b\n"), ("empty", ""), ("a", "a\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    assert read(*(tmp_path / f"{name}.txt" for name in ("b", "empty", "a"))) == ["b", "a"]


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_text('{"text": "áno"}\n', encoding="utf-8-sig")
    assert read(path) == ["áno"]


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"first\n" * 50_000 + b"\xe1\n")
    assert next(lines(Corpus("x", (path,)))) == "first"


def test_missing_and_unknown_files_are_told_before_anything_is_read(tmp_path: Path) -> None:
    missing, unknown = tmp_path / "none.txt", tmp_path / "text.docx"
    unknown.touch()
    assert "none.txt does not exist" in problem(missing)
    assert "text.docx is of an unknown kind; known: .txt" in problem(unknown)
    assert "is a folder" in problem(tmp_path)
    assert "no files" in problem()
    with pytest.raises(CorpusError, match="weight 0"):
        check(Corpus("x", (unknown,), weight=0))
    with pytest.raises(CorpusError, match="does not exist"):
        lines(Corpus("x", (missing,)))  # at once, not at the first line


@pytest.mark.parametrize("content", [b"", b"\n \n\t\r\n", "\ufeff".encode()])
def test_an_empty_corpus_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "blank.txt"
    path.write_bytes(content)
    assert "corpus slk is empty: no non-blank line" in problem(path)


def test_a_wrong_encoding_names_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("dobrý\n".encode() + "žltý kôň\n".encode("windows-1250"))
    message = problem(path)
    assert f"{path}, line 2: not UTF-8 (byte 0x9e at offset 7)" in message
    assert "iconv" in message


def test_damaged_gzip_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(b"some text\n" * 9000, mtime=0)
    damaged = bytearray(whole)
    damaged[30:40] = b"\xff" * 10
    for name, content in (
        ("plain", b"not gzip"),
        ("cut", whole[:-20]),
        ("bits", bytes(damaged)),
        ("zero", b"\x1f\x8b"),
    ):
        path = tmp_path / f"{name}.txt.gz"
        path.write_bytes(content)
        assert str(path) in problem(path)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"text": ', "not JSON"),
        ('{"sentence": "x"}', 'needs "text"'),
        ("[1]", 'needs "text"'),
        ('{"text": 3}', 'needs "text"'),
        ('{"tokens": ["a", 1]}', 'needs "text"'),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n' + row + "\n")
    message = problem(path)
    assert f"{path}, line 2: " in message
    assert why in message


def test_bad_parquet_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"body": ["x"]}), tmp_path / "column.parquet")
    parquet.write_table(pa.table({"text": [1]}), tmp_path / "type.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert 'no column "text"; its columns are body' in problem(tmp_path / "column.parquet")
    assert 'column "text" holds int64' in problem(tmp_path / "type.parquet")
    assert "not a valid parquet file" in problem(tmp_path / "broken.parquet")


def test_the_module_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None; import edgecompress.corpus"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("language", "tasks"), [("slk", ("topic", "ner", "pos")), ("swh", ("topic", "sentiment"))])
def test_the_demo_text_holds_no_evaluation_sentence(language: str, tasks: tuple[str, ...]) -> None:
    text = set(lines(Corpus(language, (DEMO / "text" / f"{language}.txt.gz",))))
    assert len(text) > 6000
    for task in tasks:
        for split in ("validation", "test"):
            items = read(DEMO / task / language / f"{split}.jsonl.gz")
            assert len(items) > 90
            assert text.isdisjoint(items)


def dataset(folder: Path, rows: str) -> str:
    folder.mkdir()
    (folder / "train.jsonl").write_text(rows, encoding="utf-8")
    return f"hf:{folder}"


def test_a_data_set_is_streamed_after_the_files(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    name = dataset(
        tmp_path / "set", '{"body": " tretí\\nriadok ", "n": 1}\n{"body": null, "n": 2}\n{"body": "", "n": 3}\n'
    )
    (tmp_path / "a.txt").write_text("prvý\n", encoding="utf-8")
    corpus = Corpus("slk", (tmp_path / "a.txt",), datasets=(f"{name}:body", f"{name}:default:body"))
    assert list(lines(corpus)) == ["prvý", "tretí riadok", "tretí riadok"]
    assert list(lines(Corpus("slk", (), datasets=(f"{name}:body",)))) == ["tretí riadok"]


def test_bad_data_sets_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    name = dataset(tmp_path / "set", '{"body": "x", "n": 1}\n')
    cases = {
        f"{name}:text": "no column 'text' of strings; those of the data set: body",
        f"{name}:n": "no column 'n' of strings",
        f"{name}:other:body": "cannot be read",
        f"hf:{tmp_path / 'none'}:text": "cannot be read",
        "hf:name": "is no data set: write hf:NAME:COLUMN",
        "hf:a:b:c:d": "is no data set",
        "name:column": "is no data set",
    }
    for wrong, said in cases.items():
        with pytest.raises(CorpusError) as caught:
            list(lines(Corpus("slk", (), datasets=(wrong,))))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
