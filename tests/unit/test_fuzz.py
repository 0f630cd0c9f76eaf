"""Any bytes of a corpus or a configuration give a result or lines that say what is wrong.

`--hypothesis-profile thorough` tries thousands of each.
"""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnlag.config.problems import check, reading_problems
from attnlag.corpus.documents import Document, read_documents
from attnlag.corpus.formats import FORMATS
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import UserError
from attnlag.escaping import text_for

patiently = settings(suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[2]
FIELDS = CorpusSettings(id="id", text="text", group="group", split="none")
BLOCKS = CorpusSettings(id=None, text="text", group=None, split="blank-lines")
ROWS = [{"id": f"d{i}", "text": f"some words, {i} \U0001f600", "group": "a"} for i in range(3)]


def csv_text(delimiter: str) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ROWS[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return stream.getvalue().encode()


def parquet_bytes(**options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, **options)
    return sink.getvalue().to_pybytes()


VALID = {
    ".jsonl": ["".join(json.dumps(row) + "\n" for row in ROWS).encode()],
    ".csv": [csv_text(",")],
    ".tsv": [csv_text("\t")],
    ".txt": [b"one\n\ntwo\r\n\r\nthree\n", "caf\xe9".encode()],
    ".parquet": [parquet_bytes(), parquet_bytes(compression="none", use_dictionary=False)],
}
VALID[".ndjson"], VALID[".md"] = VALID[".jsonl"], VALID[".txt"]
STRUCTURED = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
PACKED = {
    "": bytes,
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Return bytes with some cut out, put in, doubled or changed."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        stop = min(len(changed), start + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.binary(max_size=6),
                st.just(bytes(changed[start:stop]) * 2),
                st.sampled_from(
                    [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"{", b"\n", b"\\ud800"]
                ),
            )
        )
        changed[start:stop] = piece
    return bytes(changed)


@st.composite
def corpus_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a name and bytes: any, or those of a valid file changed before or after packing."""
    suffix, packing = draw(st.sampled_from(FORMATS)), draw(st.sampled_from(list(PACKED)))
    content = draw(st.sampled_from(VALID[suffix]))
    how = draw(st.sampled_from(["any", "within", "around"]))
    if how == "any":
        content = draw(st.binary(max_size=200))
        return suffix + packing, draw(st.sampled_from([content, PACKED[packing](content)]))
    if how == "within":
        return suffix + packing, PACKED[packing](draw(mutated(content)))
    return suffix + packing, draw(mutated(PACKED[packing](content)))


def assert_lines(problems: list[str]) -> None:
    """Hold problems to be lines that name their place."""
    assert problems
    for problem in problems:
        assert len(problem.splitlines()) == 1, problem
        assert len(problem) < 2_000
        assert "Traceback" not in problem


def assert_read(path: Path) -> None:
    """Hold a corpus to give documents, or lines of what is wrong with it."""
    for fields in (FIELDS, BLOCKS):
        try:
            documents = list(read_documents([path], fields))
        except UserError as error:
            # As a program prints them.
            assert_lines([text_for("line", problem) for problem in error.problems])
        else:
            assert documents
            assert all(isinstance(one, Document) and one.text.strip() for one in documents)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("suffix", VALID)
def test_a_file_that_others_change_is_read_whole(suffix: str, packing: str, folder: Path) -> None:
    path = folder / f"whole{suffix}{packing}"
    path.write_bytes(PACKED[packing](VALID[suffix][0]))
    assert len(list(read_documents([path], FIELDS if suffix in STRUCTURED else BLOCKS))) == 3


@patiently
@given(file=corpus_files())
def test_any_corpus_is_read_or_refused_in_plain_lines(
    file: tuple[str, bytes], folder: Path
) -> None:
    name, content = file
    path = folder / f"x{name}"
    path.write_bytes(content)
    assert_read(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(["id", "text", "group"]) | st.text(max_size=5)


@patiently
@given(rows=st.lists(st.dictionaries(keys, json_values, max_size=5) | json_values, max_size=4))
def test_any_json_lines_are_read_or_refused_in_plain_lines(rows: list[Any], folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert_read(path)


cells = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=5)
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.text(st.characters(codec="utf-8"), max_size=5) | st.none()),
    (pa.large_string(), st.text(st.characters(codec="utf-8"), max_size=5)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.none()),
    (pa.binary(), st.binary(max_size=5)),
    (pa.float64(), st.floats()),
    (pa.list_(pa.string()), st.just(["a"])),
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
]


@patiently
@given(data=st.data(), rows=st.integers(0, 4))
def test_any_parquet_columns_are_read_or_refused_in_plain_lines(
    data: st.DataObject, rows: int, folder: Path
) -> None:
    columns = {}
    for name in data.draw(st.lists(keys.filter(str.isalnum), max_size=4, unique=True)):
        kind, value = data.draw(st.sampled_from(KINDS))
        values = data.draw(st.lists(value, min_size=rows, max_size=rows))
        columns[name] = pa.array(values, kind)
    path = folder / "columns.parquet"
    pq.write_table(pa.table(columns), path)
    assert_read(path)


CONFIGS = [
    (ROOT / "config/config.yaml").read_bytes(),
    b"models:\n  a: &a {source: hub, repository: a/b, revision: c0}\n  b:\n    <<: *a\n"
    b"corpora: {words: {files: [words.txt]}}\nregressions: {x: {lags: [1, 2]}}\n",
]


def assert_checked(content: bytes, folder: Path) -> None:
    """Hold a configuration to be one, or to give lines of what is wrong with it."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    problems = reading_problems(path)
    if problems:
        assert_lines(problems)
        return
    try:
        raw = json.loads(content)
    except ValueError:
        raw = yaml.load(content, yaml.FullLoader)
    config, problems = check(raw, [path])
    if problems or config is None:
        assert_lines(problems)


@pytest.mark.parametrize("content", CONFIGS)
def test_the_configurations_that_others_change_are_accepted(
    content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in ("data/prompts.jsonl", "words.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "config.yaml").write_bytes(content)
    assert not reading_problems(folder / "config.yaml")
    config, problems = check(yaml.safe_load(content), [folder / "config.yaml"])
    assert config is not None
    assert problems == []


@patiently
@given(content=st.binary(max_size=200) | st.sampled_from(CONFIGS[1:]).flatmap(mutated))
def test_any_bytes_of_a_configuration_are_accepted_or_refused_in_plain_lines(
    content: bytes, folder: Path
) -> None:
    assert_checked(content, folder)


SETTINGS = yaml.safe_load(CONFIGS[0])
odd_keys = st.sampled_from(
    ["source", "files", "lags", "covariates", "alpha", "sites", "formats", "layers", "of", "path"]
)
yaml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.dates()
    | st.text(max_size=5)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(odd_keys | st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@patiently
@given(data=st.data())
def test_any_values_of_a_configuration_are_accepted_or_refused_in_plain_lines(
    data: st.DataObject, folder: Path
) -> None:
    changed = json.loads(json.dumps(SETTINGS))
    for _ in range(data.draw(st.integers(1, 3))):
        place = changed
        while True:
            key = data.draw(st.sampled_from(list(place)) | odd_keys if place else odd_keys)
            inner = place.get(key)
            if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
                place[key] = data.draw(yaml_values)
                break
            place = inner
    # As Snakemake has them from the command line too: without a file.
    config, problems = check(changed)
    if problems or config is None:
        assert_lines(problems)
