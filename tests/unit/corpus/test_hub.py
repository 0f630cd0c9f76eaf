"""Data sets of the hub as corpora, through the real client and a hub on this machine."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import EARLIER, LATEST, environment_for, serving, sha256
from projects import command_of, ran, settings_text

REVIEWS = "small/reviews"
TRAIN = "default/train/000{}.parquet"
CORPUS = {"files": None, "dataset": REVIEWS, "split": "train"}


def parquet(rows):
    stored = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stored)
    return stored.getvalue()


def rows_of(*numbers):
    """Return reviews, of which every third is negative."""
    return [
        {"text": f"A film about river {number}.", "label": int(number % 3 > 0), "note": number}
        for number in numbers
    ]


@pytest.fixture
def hub():
    """Serve data sets: one of three files and two splits, one of three configurations."""
    files = {TRAIN.format(n): parquet(rows_of(*range(10 * n, 10 * n + 10))) for n in range(3)}
    files |= {"default/test/0000.parquet": parquet(rows_of(1, 2)), ".gitattributes": b"# large"}
    # Branches of years ago have indices too.
    files |= {"default/train/index.duckdb": b"index"}
    partial = {"de/partial-train/0000.parquet": parquet(rows_of(4))}
    two = {f"{name}/train/0000.parquet": parquet(rows_of(5)) for name in ("en", "fr")}
    with serving() as hub:
        hub.repositories = {
            f"datasets/{REVIEWS}": {LATEST: files, EARLIER: files},
            "datasets/small/languages": {LATEST: two | partial},
            "datasets/small/gated": {LATEST: files},
            "datasets/small/images": {LATEST: {"README.md": b""}},
        }
        yield hub


def fetch(hub, folder, status=0, token="", **keys):
    """Run the program for a corpus with these keys; return what it prints, and its two files."""
    output = {"rows": folder / "reviews.parquet", "source": folder / "reviews.json"}
    settings = settings_text("fetch_dataset", corpus=CORPUS | keys)
    command = command_of("fetch_dataset", {}, output, settings, {"corpus": "reviews"})
    environment = environment_for(hub, folder)
    if token:
        environment["HF_TOKEN"] = token
    told = ran([*command, "--log", str(folder / "log.txt")], status, env=environment).stderr
    if status:
        assert "Traceback" not in told
        return [line for line in told.splitlines() if line.startswith("error:")]
    return pq.read_table(output["rows"]), json.loads(output["source"].read_text())


def test_a_split_is_fetched_whole_and_recorded(hub, tmp_path):
    table, record = fetch(hub, tmp_path)
    assert table.column_names == ["text"]
    assert table["text"].to_pylist() == [row["text"] for row in rows_of(*range(30))]
    files = hub.repositories[f"datasets/{REVIEWS}"][LATEST]
    assert record == {
        **{"name": "reviews", "dataset": REVIEWS, "revision": LATEST, "config": "default"},
        **{"split": "train", "rows": 30, "license": "mit"},
        "files": {name: sha256(body) for name, body in files.items() if "train/0" in name},
    }
    assert hub.fetched == set(record["files"])


def test_an_earlier_commit_is_recorded(hub, tmp_path):
    _, record = fetch(hub, tmp_path, revision=EARLIER)
    assert record["revision"] == EARLIER


def test_the_first_documents_need_the_first_file_alone(hub, tmp_path):
    table, record = fetch(hub, tmp_path, documents=8)
    assert table["text"].to_pylist() == [row["text"] for row in rows_of(*range(8))]
    assert record["rows"] == 8
    assert hub.fetched == {TRAIN.format(0)}


def test_the_first_documents_of_each_group_are_taken_in_turn(hub, tmp_path):
    table, record = fetch(hub, tmp_path, documents=5, group="label", id="note")
    # In turn 0 (negative), 1, 3 (negative), 2, 6 (negative); they stay in their order.
    assert table["note"].to_pylist() == [0, 1, 2, 3, 6]
    assert table["label"].to_pylist() == [0, 1, 1, 0, 0]
    assert set(record["files"]) == {TRAIN.format(n) for n in range(3)}


def test_a_damaged_file_is_fetched_again(hub, tmp_path):
    expected, _ = fetch(hub, tmp_path, documents=3)
    (cached,) = (tmp_path / "cache").rglob(f"snapshots/{LATEST}/{TRAIN.format(0)}")
    blob = cached.resolve()
    blob.write_bytes(b"damaged" + blob.read_bytes()[7:])
    assert fetch(hub, tmp_path, documents=3)[0].equals(expected)


def test_a_split_that_the_hub_converts_in_part_is_pointed_out(hub, tmp_path):
    table, _ = fetch(hub, tmp_path, dataset="small/languages", config="de")
    assert len(table) == 1
    assert "the hub has converted only the first part of train" in (
        (tmp_path / "log.txt").read_text()
    )


# What is asked for, and what is said after "corpora.reviews: ".
AT = f"at {LATEST}"
REFUSED = [
    ({"dataset": "small/revews"}, "there is no data set 'small/revews' at ENDPOINT, or it is "
     "private: check the name, or log in with 'hf auth login' or set HF_TOKEN"),
    ({"dataset": "small/gated"}, "small/gated is gated: accept its terms at "
     "ENDPOINT/datasets/small/gated, then log in with 'hf auth login' or set HF_TOKEN"),
    ({"split": "trian"}, f"split: found 'trian', expected one of 'test', 'train', which default of "
     f"{REVIEWS} {AT} has; did you mean 'train'?"),
    ({"dataset": "small/languages"}, f"config is missing: small/languages {AT} has 3 "
     "configurations, expected one of 'de', 'en', 'fr'"),
    ({"dataset": "small/languages", "config": "es"}, "config: found 'es', expected one of 'de', "
     f"'en', 'fr', which small/languages {AT} has"),
    ({"text": "texts"}, f"{TRAIN.format(0)} of {REVIEWS}: no column 'texts'; found 'text', "
     "'label', 'note'; did you mean 'text'?"),
    ({"text": "note"}, f"{TRAIN.format(0)} of {REVIEWS}: the column 'note' is int64; expected "
     "strings (or, for ids and groups, whole numbers)"),
    ({"revision": "v2"}, f"{REVIEWS} has no revision 'v2' at ENDPOINT; expected a commit, tag or "
     "branch"),
    ({"dataset": "small/images"}, f"small/images {AT} has no Parquet files, as in "
     "default/train/0000.parquet; expected a data set that the hub converts"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "said"), REFUSED[:2])
def test_whoever_has_a_token_is_told_the_same(keys, said, hub, tmp_path):
    """The hub answers with another status then."""
    (line,) = fetch(hub, tmp_path, status=1, token="hf_known", **keys)
    assert line == f"error: corpora.reviews: {said.replace('ENDPOINT', hub.endpoint)}"


@pytest.mark.parametrize(("keys", "said"), REFUSED)
def test_what_a_data_set_lacks_is_one_sentence(keys, said, hub, tmp_path):
    (line,) = fetch(hub, tmp_path, status=1, **keys)
    assert line == f"error: corpora.reviews: {said.replace('ENDPOINT', hub.endpoint)}"
    assert not (tmp_path / "reviews.parquet").exists()
    assert not (tmp_path / "reviews.json").exists()


def test_a_hub_out_of_reach_is_one_sentence(hub, tmp_path):
    hub.status = 501
    (line,) = fetch(hub, tmp_path, status=1)
    assert f"does not give {REVIEWS} at 'refs/convert/parquet'" in line
    assert "only fetch_dataset needs the network" in line
