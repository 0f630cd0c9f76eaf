"""The record of what made every result: names of files, and what a check finds."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from attnlag.pipeline import records
from attnlag.pipeline.records import Planned


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with one result, of one input."""
    monkeypatch.chdir(tmp_path)
    records.digest_of.cache_clear()
    (tmp_path / "results").mkdir()
    (tmp_path / "in.txt").write_text("in")
    (tmp_path / "results/out.txt").write_text("out")
    return tmp_path


def plan(**changes):
    facts = {"rule": "make", "wildcards": {}, "code": "c", "job": None}
    facts |= {"settings": {"settings": {"a": {"b": 1}, "c": None}}}
    facts |= {"inputs": {"in.txt": "in.txt"}, "outputs": ["results/out.txt"]}
    return Planned(**{**facts, **changes})


def entry(**changes):
    outputs = {"results/out.txt": {"sha256": sha256("out"), "bytes": 3}}
    facts = {"rule": "make", "settings": plan().settings, "code": "c"}
    return {**facts, "inputs": {"in.txt": sha256("in")}, "outputs": outputs, **changes}


def problems_of(plans, *entries):
    return records.check({"jobs": list(entries)}, plans)[0]


def test_what_is_as_recorded(folder):
    assert records.check({"jobs": [entry()]}, [plan()]) == ({}, 1)
    # Made by another configuration, which asks for other things.
    assert records.check({"jobs": [entry(inputs={})]}, []) == ({}, 1)


@pytest.mark.parametrize(
    ("plans", "entries", "words"),
    [
        (
            [plan(settings={"settings": {"a": {"b": 2}}})],
            [entry()],
            "its settings differ: a.b: made with 1, the configuration says 2",
        ),
        (
            [plan(code="d")],
            [entry()],
            "its code differs: scripts/make.py or a module that it imports has changed",
        ),
        (
            [plan(rule="draw")],
            [entry()],
            "made by the rule make, now it would be draw",
        ),
        ([plan()], [entry(inputs={"in.txt": sha256("other")})], "made from another in.txt"),
        (
            [plan(inputs={"in.txt": "in.txt", "b.txt": "b.txt"})],
            [entry()],
            "made without b.txt",
        ),
        ([plan(inputs={})], [entry()], "made from in.txt too"),
        ([plan()], [], "not in the record"),
        ([], [], "not in the record"),
    ],
)
def test_what_is_not(folder, plans, entries, words):
    assert problems_of(plans, *entries) == {"results/out.txt": [words]}


def test_what_is_missing(folder):
    (folder / "results/out.txt").unlink()
    assert problems_of([plan()], entry()) == {"results/out.txt": ["missing"]}
    records.digest_of.cache_clear()
    assert problems_of([plan()]) == {"results/out.txt": ["not made yet"]}


def test_weights_are_checked_against_what_was_fetched(folder):
    model = folder / "data/models/tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    source = json.dumps({"files": {"config.json": {"sha256": sha256("{ }")}}})
    (model / "source.json").write_text(source)
    name = "data/models/tiny/source.json"
    made = entry(inputs={}, outputs={name: {"sha256": sha256(source), "bytes": len(source)}})
    ((path, (words,)),) = problems_of([], made, entry()).items()
    assert path == "data/models/tiny/config.json"
    assert words.startswith("its content has changed: found SHA-256 ")


def test_names_tell_no_folder_of_the_user(folder):
    outside = [str(folder.parent / name / "a.txt") for name in ("one", "two")]
    inside = [str(folder / "data/b.txt"), "data/c.txt"]
    assert records._named([*outside, *inside]) == {
        "…/a.txt": outside[0],
        "…/a.txt#2": outside[1],
        "data/b.txt": inside[0],
        "data/c.txt": inside[1],
    }


def test_the_packages_are_those_that_the_workflow_asks_for():
    text = (Path(__file__).parents[3] / "requirements.in").read_text().split("# Tests")[0]
    asked = set(re.findall(r"^([\w-]+)[<>=]", text, re.MULTILINE))
    # Progress bars and the configuration's syntax change no number.
    assert asked - {"tqdm", "PyYAML"} <= set(records.PACKAGES)
    assert set(records.versions()) == {"python", *records.PACKAGES}
