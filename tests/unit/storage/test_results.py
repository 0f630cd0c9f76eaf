"""The declared results of a job, beside others that lie there."""

import pandas as pd
import pytest
from projects import refused

from attnlag.storage import tables
from attnlag.storage.results import Declared, Results


@pytest.fixture
def results(tmp_path):
    """Return the results of one of two regressions, of which one table is declared."""
    for name, value in (("within", 1.0), ("other", 2.0)):
        for table in ("coefficients", "fits"):
            path = tmp_path / name / f"{table}.parquet"
            tables.write_frame(pd.DataFrame({"estimate": [value]}), path, {"made": name})
    declared = Declared({"coefficients": tmp_path / "within/coefficients.parquet", "shards": []})
    return Results(tmp_path / "within", declared)


def test_a_table_that_is_not_declared_does_not_exist(results):
    assert not results.has("fits")
    assert results.paths("fits") == []
    assert results.optional("fits").empty
    expected = "found no declared table 'fits', expected one of coefficients, shards"
    assert refused(results.table, "fits") == [f"{results.folder}: {expected}"]
    (line,) = refused(results.record_of, "coefficient")
    assert line.endswith("did you mean 'coefficients'?")


def test_tables_are_those_of_their_folder(results):
    other = results.folder.with_name("other")
    assert not results.has("coefficients", other)
    assert refused(results.path, "coefficients", other)[0].startswith(f"{other}: found no declared")
    assert results.table("coefficients")["estimate"].tolist() == [1.0]
    assert results.table("coefficients", results.folder.parent)["estimate"].tolist() == [1.0]
    assert results.record_of("coefficients") == {"made": "within"}


def test_a_table_is_read_once(results):
    first = results.table("coefficients")
    results.path("coefficients").unlink()
    again = Results(results.folder.parent, results.declared)
    assert again.table("coefficients") is first
