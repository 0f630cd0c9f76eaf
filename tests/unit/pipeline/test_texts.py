"""What is known of the user's texts when the workflow is read."""

import json

import pytest

from attnlag.config.problems import check
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


def test_a_problem_is_found_before_any_job():
    (line,) = problems({"shards": 500})
    assert line == "corpora.mine.shards: found 500, expected at most 8: the corpus has 8 documents"
    (line,) = problems(inference={"cluster": "group"})
    assert line == (
        "inference.cluster: found group, but corpora.mine has 2 groups, expected at least 6; "
        "or document"
    )
    first, *_ = problems({"text": "body"})
    assert first == "x.jsonl:1: no field 'body'; found 'text', 'genre'"


def test_texts_are_checked_whatever_else_is_wrong():
    corpora = {"mine": {"files": "x.jsonl", "shards": 9}, "lost": {"files": "y.jsonl"}}
    _, found = check({"corpora": corpora, "norm": {}}, further=texts.problems)
    keys = [problem.removeprefix("configuration: ").split(":")[0] for problem in found]
    assert keys == ["norm", "corpora.lost.files[0]", "corpora.mine.shards"]


def test_a_large_corpus_is_left_to_its_job(monkeypatch):
    monkeypatch.setattr(texts, "MAX_READ", 10)
    assert problems({"shards": 500}) == []


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ({"files": "letters/*.txt"}, set()),
        ({"files": ["a.txt", "b.md.gz"]}, set()),
        ({"files": "*/*.txt"}, {"groups_by_layer"}),
        ({"files": ["a/x.txt", "b/x.txt"]}, {"groups_by_layer"}),
        ({"files": "all.txt", "split": "blank-lines"}, set()),
        ({"files": "*.txt", "split": "blank-lines"}, {"groups_by_layer"}),
        ({"files": "x.csv"}, set()),
        ({"files": "x.csv", "group": "genre"}, {"groups_by_layer"}),
        ({"files": "x.csv", "tagger": {"groups": ["news"]}}, set()),
        ({"files": "x.csv", "tagger": {"column": "tags"}}, {"norms_by_part_of_speech"}),
    ],
)
def test_figures_of_groups_and_tags_are_drawn_where_there_may_be_some(corpus, expected):
    config = Config.model_validate({"corpora": {"mine": corpus}})
    stages = ("plot_adjustments", "plot_regression")
    drawn = {figure.name for stage in stages for figure in config.figures_drawn(stage)}
    assert drawn & {"groups_by_layer", "norms_by_part_of_speech"} == expected
