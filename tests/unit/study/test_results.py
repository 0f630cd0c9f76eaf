"""The tables of a run, found by their names in the catalogue of outputs."""

import pandas as pd
import pytest

import attnlag
from attnlag.errors import UserError

SITE = "m/c/attention"
FILES = {
    **{f"{SITE}/{name}/coefficients": [name, 1.0] for name in ("notebook", "within")},
    **{f"{SITE}/{name}/means": [name, 2.0] for name in ("geometry", "readout")},
    "m/c/causal/elasticities": ["causal", 3.0],
    "m/c/stream/random_weights_default": ["stream", 4.0],
    f"{SITE}/random_weights": ["site", 5.0],
    f"{SITE}/within/design/0000": ["shard", 6.0],
}


@pytest.fixture
def study(tmp_path):
    for name, (label, value) in FILES.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"label": [label], "value": [value]}).to_parquet(path)
    return attnlag.read(tmp_path)


def test_a_table_has_the_files_of_its_name_and_whose_they_are(study):
    table = study.table("coefficients")
    assert table["regression"].tolist() == table["label"].tolist() == ["notebook", "within"]
    assert set(table["model"] + table["corpus"] + table["site"]) == {"mcattention"}
    assert study.table("coefficients", regression="within")["label"].tolist() == ["within"]
    assert study.table("elasticities", columns=["value"])["value"].tolist() == [3]
    assert study.table("readout/means")["label"].tolist() == ["readout"]
    # The folder of the stream is no site.
    assert study.table("random_weights")["label"].tolist() == ["site"]
    assert study.table("stream/random_weights")["scale"].tolist() == ["default"]


@pytest.mark.parametrize(
    ("name", "of", "words"),
    [
        ("means", {}, "found several tables 'means', expected geometry/means or readout/means"),
        ("coeficients", {}, "no table 'coeficients', .*; did you mean 'coefficients'"),
        # The name may be the end of a path. The names of all tables would fill a screen.
        ("mean", {}, "did you mean 'means'"),
        ("sizes", {}, r"'sizes', expected one of the 7 in study.files.table \(docs/outputs.md\)$"),
        ("coefficients", {"regression": "whithin"}, "regression: found 'whithin', expected noteb"),
        ("elasticities", {"model": "n"}, "model: found 'n', expected m"),
        ("design", {"shard": 1}, "shard: found 1, expected 0000"),
        ("design", {"modle": "m"}, "found 'modle', expected model, .*; did you mean 'model'"),
    ],
)
def test_a_name_that_is_none_or_several_is_refused(study, name, of, words):
    with pytest.raises(UserError, match=words):
        study.table(name, **of)
