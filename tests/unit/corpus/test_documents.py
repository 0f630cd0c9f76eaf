"""Reading corpora: what is kept exactly, what is normalised, and how mistakes are reported."""

import csv
import gzip
import io
import json
import os
import string

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from projects import refused

from attnlag.corpus import documents, formats
from attnlag.corpus.documents import Document, Tally, read_documents, write_corpus
from attnlag.corpus.settings import CorpusSettings
from attnlag.storage import tables

FIELDS = CorpusSettings(id="id", group="genre")
DEFAULTS = CorpusSettings()
BLOCKS = DEFAULTS.changed(split="blank-lines")

# Anything that UTF-8 can hold and that has something to read in it.
words = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
rows_of_words = st.lists(st.tuples(words, words, words), min_size=1, unique_by=lambda row: row[0])
many_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, content):
    """Write a text, bytes, or the columns of a Parquet file; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path, compression="zstd")
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def json_lines(*rows, ensure_ascii=True):
    return "".join(json.dumps(row, ensure_ascii=ensure_ascii) + "\n" for row in rows)


def row(id="a", text="words", genre="news"):
    return {"id": id, "text": text, "genre": genre}


def read_all(files, settings):
    return list(read_documents(files, settings))


def tally_of(documents):
    tally = Tally()
    assert list(tally.counting(documents)) == documents
    return tally


def problems(*files, settings=FIELDS):
    """Return the problems, with the folder of the first file cut from their front."""
    found = refused(read_all, files, settings)
    return [line.replace(f"{files[0].parent}/", "") for line in found]


@many_files
@given(rows=rows_of_words, ascii_only=st.booleans(), line_end=st.sampled_from(["\n", "\r\n"]))
@example(rows=[("a\u2028", "a\x85b\u2029\r\n", "\x00é")], ascii_only=False, line_end="\r\n")
def test_json_lines_come_back_exactly_and_in_order(rows, ascii_only, line_end, tmp_path):
    objects = [row(*values) for values in rows]
    text = json_lines(*objects, ensure_ascii=ascii_only).replace("\n", line_end)
    found = read_documents([write(tmp_path / "x.jsonl", text)], FIELDS)
    target = tmp_path / "corpus.parquet"
    tally = write_corpus(found, FIELDS, "x", target)
    record = tables.read_provenance(target)
    texts = [text for _, text, _ in rows]
    counts = {"documents": len(rows), "texts": len({*texts}), "characters": sum(map(len, texts))}
    assert record["corpus"] == {"name": "x", "digest": tally.digest, **counts}
    assert record["stages"] == {"corpus": FIELDS.model_dump()}
    stored = pq.read_table(target, columns=["document", "text", "group"]).to_pylist()
    assert [tuple(document.values()) for document in stored] == rows


@many_files
@given(rows=rows_of_words, suffix=st.sampled_from(["csv", "tsv", "parquet"]))
def test_csv_and_parquet_come_back_exactly(rows, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        ids, texts, genres = zip(*rows, strict=True)
        write(path, {"id": ids, "text": texts, "genre": pa.array(genres).dictionary_encode()})
    else:
        rows = [tuple(value.replace("\0", "0") for value in values) for values in rows]
        assume(len({id for id, _, _ in rows}) == len(rows))
        stream = io.StringIO(newline="")
        # Quoted throughout: the writer leaves a lone carriage return unquoted otherwise.
        delimiter = formats.DELIMITERS[path.suffix]
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "text", "genre"), *rows])
        write(path, stream.getvalue())
    assert [(d.id, d.text, d.group) for d in read_all([path], FIELDS)] == rows


@many_files
@given(blocks=st.lists(st.text(string.printable + "é", min_size=1).filter(str.strip), min_size=1))
def test_splitting_into_blocks_keeps_every_line_that_is_not_blank(blocks, tmp_path):
    path = write(tmp_path / "x.txt", "\n\n".join(blocks))
    documents = read_all([path], BLOCKS)
    found = [line for document in documents for line in document.text.split("\n")]
    lines = "\n\n".join(blocks).replace("\r\n", "\n").split("\n")
    assert found == [line for line in lines if line.strip()]


def test_the_corpus_table_has_the_documented_types():
    table = documents.corpus_table(
        [Document("a", "news", "Two words, 3 und ä"), Document("b", "news", "")]
    )
    assert table.schema.types == [
        *(pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.int32())
    ]
    assert table["about_tokens"].to_pylist() == [7, 1]
    assert documents.corpus_table([]).num_rows == 0
    # Tags are a column where the schema has it.
    tagged = [Document("a", "news", "Two words", "Two/NUM words/NOUN")]
    schema = documents.SCHEMA.append(pa.field("tags", pa.large_string()))
    table = documents.corpus_table(tagged, schema)
    assert table["tags"].to_pylist() == ["Two/NUM words/NOUN"]


@pytest.mark.parametrize("lengths", [[1] * 251, [300_000, 200_000, 1], [600_000, 1], [5]])
def test_batches_are_limited_in_documents_and_characters(lengths):
    made = [Document(f"d{i}", "g", "x" * length) for i, length in enumerate(lengths)]
    batches = list(documents.in_batches(made))
    assert sum(batches, []) == made
    assert len(batches) == (1 if lengths == [5] else 2)
    for batch in batches:
        characters = sum(len(document.text) for document in batch)
        assert len(batch) <= 250
        assert characters <= 500_000 or len(batch) == 1


def test_stored_rows_can_be_read_from_any_place(tmp_path, subtests):
    made = [Document(f"d{i}", "odd" if i % 2 else "even", "x" * 9) for i in range(600)]
    path = tmp_path / "x.parquet"
    write_corpus(made, DEFAULTS, "x", path)
    rows = [(document.id, document.group) for document in made]
    for start, stop in ((0, 600), (0, 250), (249, 251), (250, 500), (300, 310), (599, 600)):
        with subtests.test(start=start, stop=stop):
            batches = list(documents.stored_batches(path, start, stop))
            assert max(map(len, batches)) <= 250
            found = pa.Table.from_batches(batches).select(["document", "group"]).to_pylist()
            assert [tuple(row.values()) for row in found] == rows[start:stop]


def unnamed(*texts):
    """Return documents without ids and groups in a file called x."""
    return [Document(f"x-{number:06d}", "x", text) for number, text in enumerate(texts, 1)]


LONG, LOOSE = "word " * 40_000, "  \r\n words \r\n\n"
ONE, TWO = (json_lines({"text": text}).encode() for text in ("one", "two"))
MARK = b"\xef\xbb\xbf"

# The settings, the name and content of a file, and the documents in it.
READ = [
    (DEFAULTS, "x.jsonl.gz", gzip.compress(ONE) + gzip.compress(TWO), unnamed("one", "two")),
    # Cells may be long, quoted and on several lines.
    (DEFAULTS, "x.csv", f'text\r\n"say ""hi"",\nthen\r\ngo"\r\n\r\n{LONG}\r\n',
     unnamed('say "hi",\nthen\r\ngo', LONG)),
    # Numbers serve as ids and groups, also in columns of them.
    (FIELDS, "x.jsonl", json_lines(row(7, "words", 1984), row(0, "more", 1985)),
     [Document("7", "1984", "words"), Document("0", "1985", "more")]),
    (FIELDS, "x.parquet", {"id": [1], "genre": pa.array([2], pa.uint8()), "text": ["words"]},
     [Document("1", "2", "words")]),
    # Rows are named after their file, and blank lines skipped.
    (DEFAULTS, "notes.v2.JSONL.gz", gzip.compress(b"\n \n".join([ONE, TWO])),
     [Document(f"notes.v2-00000{n}", "notes.v2", text) for n, text in [(1, "one"), (2, "two")]]),
    (BLOCKS, "x.txt", "\n\n  A\r\nb c\r\n \t\r\n\r\n\r\nD  \n\n", unnamed("  A\nb c", "D  ")),
    # A byte order mark is no part of the text.
    (DEFAULTS, "x.jsonl", MARK + ONE, unnamed("one")),
    (DEFAULTS, "x.csv", MARK + b"text\none\n", unnamed("one")),
    (BLOCKS, "x.txt", MARK + b"one", unnamed("one")),
    # What is no file of text is not stripped.
    (DEFAULTS, "x.jsonl", json_lines({"text": LOOSE}), unnamed(LOOSE)),
    (DEFAULTS, "x.parquet", {"text": [LOOSE]}, unnamed(LOOSE)),
    # Names of fields may have dots, and serve twice.
    (CorpusSettings(id="a.b", text="a.b", group="a"), "x.parquet", {"a.b": ["one"], "a": ["two"]},
     [Document("one", "two", "one")]),
    # Columns may be strings of any kind.
    (CorpusSettings(id="view", text="large", group="codes"), "x.parquet",
     {"view": pa.array(["1"], pa.string_view()), "codes": pa.array(["2"]).dictionary_encode(),
      "large": pa.array(["words"], pa.large_string())},
     [Document("1", "2", "words")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "name", "content", "expected"), READ, ids=[name for _, name, *_ in READ]
)
def test_a_file_holds_the_expected_documents(asked, name, content, expected, tmp_path):
    assert read_all([write(tmp_path / name, content)], asked) == expected


def test_text_file_is_a_document_of_its_folder(tmp_path, monkeypatch):
    path = write(tmp_path / "poems" / "rose.md", "\ufeff\n  A rose\r\nis a rose\r\n\r\n")
    expected = [Document("rose", "poems", "\n  A rose\nis a rose")]
    assert read_all([path], FIELDS) == expected
    monkeypatch.chdir(path.parent)
    assert read_all(["rose.md"], FIELDS) == expected


def test_all_problems_of_all_files_come_at_once(tmp_path):
    first = write(tmp_path / "x.jsonl", json_lines(row("a"), row("b", 3), row("a", "again")))
    second = write(tmp_path / "y.csv", "id,text,genre\ng,words,news\na,more,news\n")
    fourth = write(tmp_path / "y.jsnl", "")
    assert problems(first, second, tmp_path / "z.jsonl", fourth) == [
        "x.jsonl:2: the text is 3; expected a string",
        "x.jsonl:3: the id 'a' is that of x.jsonl:1 too; expected another for each document",
        "y.csv:3: the id 'a' is that of x.jsonl:1 too; expected another for each document",
        "z.jsonl: no such file",
        "y.jsnl: files ending in '.jsnl' are not read; expected .jsonl, .ndjson, .txt, .md, "
        ".csv, .tsv, .parquet, optionally followed by .gz or .zst; did you mean '.jsonl'?",
    ]


def test_long_lists_of_problems_are_cut(tmp_path):
    path = write(tmp_path / "x.jsonl", "oops\n" * 1_234)
    found = problems(path)
    assert len(found) == 51
    assert found[49].startswith("x.jsonl:50: invalid JSON: Expecting value")
    assert found[50] == "… and 1,184 more"


COLUMN = "expected strings (or, for ids and groups, whole numbers)"
NO_WORDS = "the text is empty; expected words, or empty: skip"
NO_OBJECT = "expected one JSON object a line"
NOT_UTF8 = pa.array([b"fine", b"caf\xe9"]).view(pa.string())

# The name of a file, its content, and what is said of it, from … on with other words.
PROBLEMS = [
    ("x.jsonl", '{"id": "b", "text": "x" "genre": "news"}\n["a list"]\nNaN\n' + json_lines(
        *({"id": "c", "texts": "words", "genre": "news"}, row("e", " \n")),
        *(row("", "words", None), row(True, ["words"], 1.5), row("f", "half \ud83d")),
        *(row("y" * 1_001), row("z" * 1_000)),
    ), [
        ":1: invalid JSON: Expecting ',' delimiter: line 1 column 25 (char 24); " + NO_OBJECT,
        f':2: ["a list"]; {NO_OBJECT}',
        f":3: NaN; {NO_OBJECT}",
        ":4: no field 'text'; found 'id', 'texts', 'genre'; did you mean 'texts'?",
        f":5: {NO_WORDS}",
        ":6: the id is empty; expected a value",
        ":6: the group is empty; expected a value",
        ":7: the id is true; expected a string or a whole number",
        ":7: the group is 1.5; expected a string or a whole number",
        ':7: the text is ["words"]; expected a string',
        ":8: the text has '\\ud83d' as its character 6, half of a surrogate pair; expected "
        "whole characters",
        ":9: the id has 1,001 characters; expected at most 1,000",
    ]),
    ("x.jsonl", "[" * 100_000 + '\n{"text": ' + "1" * 5_000 + "}",
     [":1: invalid JSON: …", ":2: invalid JSON: …"]),
    # Bytes that are not UTF-8, by line and offset or by row.
    ("x.txt", b"\xef\xbb\xbfone\ncaf\xe9\nna\xefve\nsix\n",
     [":2: byte 0xe9 at offset 10 is not text in UTF-8; expected UTF-8 (iconv -f ENCODING -t UTF-8 "
      "converts it)"]),
    ("x.parquet", {"text": NOT_UTF8, "id": ["a", "b"], "genre": ["news"] * 2},
     [":2: a value is not UTF-8 ('utf-8' codec can't decode byte 0xe9 in position 3…"]),
    # UTF-16, which without a mark would be text with a NUL beside each character.
    *((name, content.encode(code), [f":{line}: byte {problem}; expected UTF-8…"])
      for name in ("x.jsonl", "x.csv", "x.txt")
      for content, code, line, problem in (
          ("words\n", "utf-16", 1, "0xff at offset 0 is not text in UTF-8"),
          ("\nwords\n", "utf-16-le", 2, "0x00 at offset 1 occurs in no text except UTF-16"),
      )),
    # Columns that are missing or there twice, or of other types.
    ("x.csv", "id,txt,genre,genre\na,words,news,news\n", [
        ":1: 2 columns are called 'genre'; expected one, among 'id', 'txt', 'genre', 'genre'",
        ":1: no column 'text'; found 'id', 'txt', 'genre', 'genre'; did you mean 'txt'?",
    ]),
    ("x.parquet", {"id": ["a"], "genre": ["news"]}, [": no column 'text'; found 'id', 'genre'"]),
    ("x.parquet", {"id": [1.5], "genre": [{"a": 1}], "text": pa.array([b"words"])}, [
        f": the column 'id' is double; {COLUMN}",
        f": the column 'genre' is struct<a: int64>; {COLUMN}",
        f": the column 'text' is binary; {COLUMN}",
    ]),
    # Files without documents.
    *((name, content, [": no document in it; expected at least one"]) for name, content in (
        ("x.jsonl.gz", gzip.compress(b"")), ("x.jsonl", ""), ("x.csv", ""),
        ("y.csv", "id,text,genre\n"),
    )),
    ("x.txt", "", [f": {NO_WORDS}"]),
    ("x.txt", "\n \n", [f": {NO_WORDS}"]),
    # Rows by the line on which they start.
    ("x.csv",
     'id,text,genre\na,"one\ntwo",news\nb,three\nc,"four\n\nfive", news\nd, ,news\ne,"six,x\n',
     [":4: 2 cells; expected 3, as in the header", f":8: {NO_WORDS}",
      ":9: the row that starts here is broken: unexpected end of…"]),
    # Files that are not what they are called.
    ("x.jsonl.gz", gzip.compress(json_lines(*map(row, range(5_000))).encode())[:5_000],
     [": cannot be read as gzip: Truncated compressed stream"]),
    ("x.jsonl.zst", "not zstd", [": cannot be read as zstd: …"]),
    ("x.parquet", "not Parquet", [": cannot be read as Parquet: …"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "expected"), PROBLEMS, ids=[name for name, *_ in PROBLEMS]
)
def test_problems_name_the_place_and_what_is_expected(name, content, expected, tmp_path):
    found = problems(write(tmp_path / name, content))
    for line, said in zip(found, expected, strict=True):
        # Libraries and versions of Python word some reasons differently.
        end = len(said) - 1 if said.endswith("…") else None
        assert line.removeprefix(name)[:end] == said[:end]


def test_plain_text_has_no_tags_which_is_said_once(tmp_path):
    files = [write(tmp_path / name, "words") for name in ("a.txt", "b.md", "c.txt")]
    (line,) = problems(*files, settings=DEFAULTS.changed(tags="tags"))
    assert line.startswith("a.txt and 2 other files: no field 'tags' in plain text; expected tags")


def test_paths_that_are_not_regular_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "link.txt").symlink_to("nowhere.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "folder.txt").mkdir()
    names = ("pipe", "zero", "link", "loop", "folder", "x" * 300)
    paths = [tmp_path / f"{name}.txt" for name in names]
    *found, last = problems(*paths, tmp_path / "\0.txt")
    assert found == [
        "pipe.txt: is a pipe, expected a file",
        "zero.txt: is a device, expected a file",
        "link.txt: is a link to 'nowhere.txt', which is missing",
        "loop.txt: cannot be read: Too many levels of symbolic links",
        "folder.txt: is a folder, expected a file",
        f"{'x' * 300}.txt: cannot be read: File name too long",
    ]
    # Versions of Python word the reason differently.
    assert last.startswith("\0.txt: cannot be read: ")
    assert "embedded null" in last


# The place of a document that has more than 60 bytes, or none if each has fewer.
LIMITED = [
    ("x.jsonl:2", DEFAULTS, json_lines({"text": "short"}, {"text": "long " * 20})),
    ("x.csv:3", DEFAULTS, "text\nshort\n" + "long " * 20),
    ("x.csv:2", DEFAULTS, 'text\n"' + "long\n" * 20 + '"\n'),
    ("x.csv:2", DEFAULTS, 'text\n"' + "a quote that is never closed\n" * 20),
    ("x.txt:1", DEFAULTS, "long\n" * 20),
    ("x.txt:4", BLOCKS, "short\n\n\n" + "long\n" * 20),
    ("x.parquet:", DEFAULTS, {"text": ["x" * 61]}),
    ("x.jsonl", DEFAULTS, json_lines({"text": "word " * 8}) * 5),
    ("x.csv", DEFAULTS, "text\n" + ("word " * 8 + "\n") * 5),
    ("x.txt", BLOCKS, ("word " * 8 + "\n \n\n") * 5),
]


@pytest.mark.parametrize(("place", "asked", "content"), LIMITED)
def test_a_document_over_the_limit_is_refused_and_not_many_short_ones(
    place, asked, content, tmp_path, monkeypatch
):
    monkeypatch.setattr(formats, "LONGEST_DOCUMENT", 60)
    name, limited, line = place.partition(":")
    path = write(tmp_path / name, content)
    if not limited:
        assert len(read_all([path], asked)) == 5
        return
    start = ", which starts here" if line else ""
    assert problems(path, settings=asked) == [
        f"{place.removesuffix(':')}: more than 0 MB in one document{start}; "
        "expected at most that, or several documents"
    ]


def test_long_values_are_refused(tmp_path, monkeypatch):
    for module in (formats, documents):
        monkeypatch.setattr(module, "LONGEST_DOCUMENT", 200)
    first, *_ = problems(
        write(tmp_path / "x.parquet", {"text": ["x" * 201] * 9}), settings=DEFAULTS
    )
    assert first == "x.parquet:1: the text has 201 characters; expected at most 200"


def test_repeated_large_values_are_read_in_small_batches(tmp_path, monkeypatch):
    """The file has a few kB and holds the same value of 1 MB 60 times."""
    monkeypatch.setattr(formats, "LONGEST_DOCUMENT", 1_000_000)
    path = write(tmp_path / "x.parquet", {"text": ["x" * 1_000_000] * 60})
    assert path.stat().st_size < 10_000
    allocated = pa.total_allocated_bytes()
    lengths = []
    for document in read_documents([path], DEFAULTS):
        lengths.append(len(document.text))
        assert pa.total_allocated_bytes() - allocated < 20_000_000
    assert lengths == [1_000_000] * 60


def test_compressed_parquet_is_unpacked_up_to_a_limit(tmp_path, monkeypatch):
    plain = write(tmp_path / "x.parquet", {"text": ["words"]})
    path = write(tmp_path / "x.parquet.gz", gzip.compress(plain.read_bytes()))
    assert len(read_all([path], DEFAULTS)) == 1
    monkeypatch.setattr(formats, "MAX_UNPACKED", 100)
    assert problems(path, settings=DEFAULTS) == [
        "x.parquet.gz: unpacks to more than 0 MB; expected Parquet with its internal "
        "compression only"
    ]


@given(documents=st.lists(st.builds(Document, words, words, words), min_size=1))
@example(documents=[Document("a", "b", "c")])
def test_the_digest_changes_when_any_boundary_moves(documents):
    digest = tally_of(documents).digest
    first, *others = documents
    moved = Document(first.id + first.group[0], first.group[1:], first.text)
    assert tally_of([moved, *others]).digest != digest
    assert tally_of(others).digest != digest
    assert tally_of([Document(*first), *others]).digest == digest


def test_only_the_groups_with_most_documents_are_kept_if_there_are_too_many(monkeypatch):
    monkeypatch.setattr(documents, "MAX_GROUPS", 2)
    group_of = {"a": "one", "b": "two", "c": "three", "d": "three", "e": "two"}
    assert documents.largest_groups(group_of) == ["two", "three"]


def test_texts_that_occur_again_are_counted():
    tally = tally_of([Document(id, "g", text) for id, text in zip("abcd", "xyxx", strict=True)])
    assert tally.notice.startswith("2 documents, 'c' the first, with the text of an earlier one")
    assert (tally.documents, tally.texts) == (4, 2)


def test_documents_without_words_are_left_out_on_request(tmp_path):
    given = [
        write(tmp_path / "x.jsonl", json_lines({"text": "words"}, {"text": " "}, {"text": None})),
        write(tmp_path / "y.txt", ""),
        write(tmp_path / "z.txt", "\n\n"),
    ]
    skipping = DEFAULTS.changed(empty="skip")
    tally = Tally()
    (kept,) = tally.counting(read_documents(given, skipping))
    assert (kept.id, kept.text) == ("x-000001", "words")
    left_out = "4 documents without words left out"
    assert tally.summary == f"1 document in 1 group, 5 characters; {left_out}"
    in_blocks = skipping.changed(split="blank-lines")
    assert len(list(Tally().counting(read_documents(given, in_blocks)))) == 1
    # A missing field and a file of another format without a row are still problems.
    broken = [
        write(tmp_path / "v.jsonl", json_lines({"txt": "words"})),
        write(tmp_path / "w.jsonl", ""),
    ]
    assert len(refused(read_all, broken, skipping)) == 2
    (line,) = refused(list, Tally().counting(read_documents(given[1:], skipping)))
    assert line.startswith("found only documents without words")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("tags", None, None),
        ("tags", "", None),
        ("tags", 3, "the tags is 3; expected a string"),
        ("group", "", "the group is empty; expected a value"),
        ("id", 3, None),
        ("id", True, "the id is true; expected a string or a whole number"),
    ],
)
def test_a_document_may_lack_tags_and_nothing_else(key, value, problem):
    found = documents.value_problem(key, "f", {"f": value})
    assert found == problem
