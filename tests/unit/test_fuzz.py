"""Any bytes of a corpus or a configuration give a result or lines that say what is wrong.

`--hypothesis-profile thorough` tries thousands of each.
"""

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnlag.config.problems import check, reading_problems
from attnlag.corpus.documents import Document, read_documents
from attnlag.corpus.formats import DELIMITERS, FORMATS, JSON_LINES, PARQUET, PLAIN_TEXT
from attnlag.corpus.settings import CorpusSettings
from attnlag.errors import UserError
from attnlag.escaping import text_for

patiently = settings(suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[2]
FIELDS = CorpusSettings(id="id", group="group")
BLOCKS = CorpusSettings(split="blank-lines")
TEXTS = ["one", "two, \U0001f600", "three"]
FRAME = pd.DataFrame({"id": list("abc"), "text": TEXTS, "group": "a"})

# Files of the three texts, and others.
VALID = {
    **dict.fromkeys(JSON_LINES, (FRAME.to_json(orient="records", lines=True).encode(),)),
    **{end: (FRAME.to_csv(sep=mark, index=False).encode(),) for end, mark in DELIMITERS.items()},
    **dict.fromkeys(PLAIN_TEXT, ("\n\r\n".join(TEXTS).encode(), "caf\xe9".encode())),
    PARQUET: (FRAME.to_parquet(), FRAME.to_parquet(compression=None, use_dictionary=False)),
}
PACKED = {
    "": bytes,
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


TELLING = [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"{", b"\n", b"\\ud800"]


@st.composite
def mutated(draw, content):
    """Return bytes with some cut out, put in, doubled or changed."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        stop = min(len(changed), start + draw(st.integers(0, 12)))
        twice = st.just(bytes(changed[start:stop]) * 2)
        changed[start:stop] = draw(st.binary(max_size=6) | twice | st.sampled_from(TELLING))
    return bytes(changed)


@st.composite
def corpus_files(draw):
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


def assert_lines(problems):
    """Hold problems to be lines that name their place."""
    assert problems
    for problem in problems:
        assert len(problem.splitlines()) == 1, problem
        assert len(problem) < 2_000
        assert "Traceback" not in problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_others_change_holds_the_texts_in_any_format(suffix, packing, folder):
    path = folder / f"whole{suffix}{packing}"
    path.write_bytes(PACKED[packing](VALID[suffix][0]))
    found = read_documents([path], BLOCKS if suffix in PLAIN_TEXT else FIELDS)
    assert [document.text for document in found] == TEXTS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(["id", "text", "group"]) | st.text(max_size=5)
rows = st.lists(st.dictionaries(keys, json_values, max_size=5) | json_values, max_size=4)
utf_8 = st.text(st.characters(codec="utf-8"), max_size=5)
KINDS = [
    (pa.string(), utf_8 | st.none()),
    (pa.large_string(), utf_8),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.none()),
    (pa.binary(), st.binary(max_size=5)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.list_(pa.string()), st.just(["a"])),
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
]


@st.composite
def parquet_files(draw):
    """Return a Parquet file of columns of any kinds."""
    columns, length = {}, draw(st.integers(0, 4))
    for name in draw(st.lists(keys.filter(str.isalnum), max_size=4, unique=True)):
        kind, value = draw(st.sampled_from(KINDS))
        columns[name] = pa.array(draw(st.lists(value, min_size=length, max_size=length)), kind)
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return PARQUET, file.getvalue()


FILES = {
    "changed": corpus_files(),
    "rows": rows.map(lambda rows: (".jsonl", "\n".join(map(json.dumps, rows)).encode())),
    "columns": parquet_files(),
}


@pytest.mark.parametrize("files", FILES.values(), ids=FILES.keys())
@patiently
@given(data=st.data())
def test_any_corpus_is_read_or_refused_in_plain_lines(files, data, folder):
    """A corpus gives documents, or lines of what is wrong with it."""
    name, content = data.draw(files)
    path = folder / f"x{name}"
    path.write_bytes(content)
    for fields in (FIELDS, BLOCKS):
        try:
            documents = list(read_documents([path], fields))
        except UserError as error:
            # As a program prints them.
            assert_lines([text_for("line", problem) for problem in error.problems])
        else:
            assert documents
            assert all(isinstance(one, Document) and one.text.strip() for one in documents)


CONFIGS = [
    (ROOT / "config/config.yaml").read_bytes(),
    b"models:\n  a: &a {source: hub, repository: a/b, revision: c0}\n  b:\n    <<: *a\n"
    b"corpora: {words: {files: [words.txt]}}\nregressions: {x: {lags: [1, 2]}}\n",
]


@pytest.mark.parametrize("content", CONFIGS)
def test_the_configurations_that_others_change_are_accepted(content, folder, monkeypatch):
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
def test_any_bytes_of_a_configuration_are_accepted_or_refused_in_plain_lines(content, folder):
    """A configuration is one, or it gives lines of what is wrong with it."""
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


SETTINGS = yaml.safe_load(CONFIGS[0])
odd_keys = st.sampled_from(
    ["source", "files", "lags", "covariates", "alpha", "sites", "formats", "layers", "of", "path"]
)
yaml_values = st.recursive(
    st.sampled_from([None, True, False, 10**400])
    | (st.integers() | st.floats() | st.dates() | st.text(max_size=5) | st.binary(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(odd_keys | st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@patiently
@given(data=st.data())
def test_any_values_of_a_configuration_are_accepted_or_refused_in_plain_lines(data):
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
