"""What is known of the user's texts when the workflow is read."""

import json

import pytest
import torch

from attnlag.config.problems import check
from attnlag.config.schema import Config
from attnlag.errors import counted
from attnlag.pipeline import machine, texts


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


def test_lags_longer_than_every_text_are_found_before_any_job():
    # A text has six bytes, and so at most nine tokens.
    assert problems(regressions={"short": {"lags": [7]}}) == []
    assert problems(regressions={"long": {"lags": [1, 40]}, "short": {"lags": [1]}}) == [
        "regressions.long.lags: found lag 40, which needs sequences of 42 tokens "
        "(norms.drop_first is 1), but the longest text of corpora.mine has 6 bytes, so at most 9 "
        "tokens"
    ]
    (line,) = problems(regressions={"ahead": {"leads": [9]}})
    assert line.startswith("regressions.ahead.leads: found lead 9, which needs sequences of 11 to")


def test_a_covariate_that_is_constant_is_found_before_any_job():
    pooled = {"regressions": {"pooled": {"lags": [1], "covariates": ["group"]}}}
    assert problems(**pooled) == []
    assert problems({"group": None}, **pooled) == [
        "regressions.pooled.covariates: found group, but corpora.mine has 1 group, so it is "
        "constant; expected several groups, or another covariate"
    ]


def test_a_gpu_that_is_not_there_is_found_before_any_job():
    def found(device):
        corpora = {"mine": {"files": "x.jsonl"}}
        return machine.problems(
            Config.model_validate({"corpora": corpora, "extraction": {"device": device}})
        )

    assert found("auto") == found("cpu") == []
    devices = torch.cuda.device_count()
    (line,) = found(f"cuda:{devices}")
    assert line.startswith(
        f"extraction.device: found cuda:{devices}, but torch sees "
        f"{counted(devices, 'GPU')} on this machine; expected "
    )


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
