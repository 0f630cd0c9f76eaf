"""The check of the user's texts when the workflow is read."""

import json

import pytest

from attnlag.config.schema import Config
from attnlag.pipeline import texts


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with eight documents in two groups."""
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": f"text {i}", "genre": f"{i % 2}"}) for i in range(8)]
    (tmp_path / "x.jsonl").write_text("\n".join(rows))


def problems(corpus=(), **sections):
    """Return the problems of a configuration without models, which have a default."""
    raw = {"corpora": {"mine": {"files": "x.jsonl", "group": "genre", **dict(corpus)}}, **sections}
    return texts.problems(Config.model_validate(raw))


def test_sound_texts_have_no_problem():
    assert problems() == []
    assert problems({"shards": 8}, inference={"cluster": "document"}) == []


@pytest.mark.parametrize(
    ("corpus", "sections", "expected"),
    [
        (
            {"shards": 500},
            {},
            "corpora.mine.shards: found 500, expected at most 8: the corpus has 8 documents",
        ),
        (
            {},
            {"inference": {"cluster": "group"}},
            "inference.cluster: found group, but corpora.mine has 2 groups, expected at least 6; "
            "or document",
        ),
        ({"text": "body"}, {}, "x.jsonl:1: no field 'body'; found 'text', 'genre'"),
    ],
)
def test_a_problem_is_found_before_any_job(corpus, sections, expected):
    assert problems(corpus, **sections)[0] == expected


def test_a_large_corpus_is_left_to_its_job(monkeypatch):
    monkeypatch.setattr(texts, "MOST_READ", 10)
    assert problems({"shards": 500}) == []
