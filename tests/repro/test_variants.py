"""Results do not depend on how a run proceeds, in their bytes or in their estimates.

Each variant keeps the promise of docs/reruns.md: equal bytes of all files below results/, or
coefficients and elasticities within a relative difference. An estimate near zero is a small
difference of large sums, so differences are relative to the estimate or to its standard error,
whichever is larger. ``make check-repro CONFIG=FILE`` runs another configuration than a small one.
"""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import ROOT, SEVERAL, Project, new_project, without_figures, write_several

from attnlag.config.schema import Config

CONFIG = os.environ.get("CONFIG")
# Tolerances for a small model in float32 and for any model: rounding grows with depth.
TOLERANCE = 1e-5 if CONFIG else 1e-6
# A standard error below this fraction of its estimate is rounding in float32: the elasticity of an
# adjustment with respect to itself is 1, and its standard errors come out as 1e-9.
ROUNDING = 1e-6
# Interventions that replace an adjustment by one from the documents of the shard.
OF_A_SHARD = ["mean"]
# Regressions with all that differs between those of `write_several`.
REGRESSIONS = {
    "within": SEVERAL["within"],
    "lead": SEVERAL["lead"],
    "rich": {**SEVERAL["rich"], "outcome": "relative"},
}
# Folders of the project that no run needs, which are not copied.
UNUSED = {"results", "logs", "benchmarks", "tests", "docs", "site", "build"}
# Tables of estimates, and the columns that name a row.
TABLES = {
    "*/*/*/*/coefficients.parquet": ["layer", "term"],
    "*/*/causal/elasticities.parquet": (
        "source_site source_layer target_site target_layer lag intervention".split()
    ),
}
# One core is also one thread a job. A run that makes everything again is part of both.
SAME_BYTES = {"one core": ["--cores", "1"], "the last shard first": []}


@pytest.fixture(scope="module")
def start(gpt2, tmp_path_factory):
    """Return a project before its run: a random model, three shards, regressions of every kind."""
    folder = tmp_path_factory.mktemp("start") / "project"
    if CONFIG:
        for source in ROOT.iterdir():
            if not source.name.startswith(".") and source.name not in UNUSED:
                target = folder / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
        project = Project(folder, yaml.safe_load(Path(CONFIG).read_text(encoding="utf-8")))
        project.write_config()
        return project
    project = new_project(folder, gpt2)
    write_several(project, shards=3)
    project.config["regressions"] = REGRESSIONS
    project.write_config(
        extraction={"keep": "vectors", "batch_tokens": 200},
        causal={"batch_tokens": 200},
        figures={"formats": ["svg", "png"]},
    )
    return project


def estimates_of(project):
    """Return estimates and standard errors of all tables, by path and row."""
    tables = []
    for pattern, names in TABLES.items():
        for path in sorted((project.folder / "results").glob(pattern)):
            table = pd.read_parquet(path)
            place = path.relative_to(project.folder).as_posix()
            index = [(place, *map(str, row)) for row in table[names].values]
            tables.append(table[["estimate", "std_error"]].set_axis(index))
    return pd.concat(tables)


@pytest.fixture(scope="module")
def first(start, tmp_path_factory):
    project = start.copy(tmp_path_factory.mktemp("first") / "project")
    project.run()
    return project


@pytest.mark.parametrize("variant", SAME_BYTES)
def test_all_files_have_the_same_bytes(start, first, variant, tmp_path):
    project = start.copy(tmp_path / "project")
    if variant == "the last shard first":
        # The norms of the last shard of every corpus and site.
        shards = sorted(path for path in first.results() if re.search(r"/norms/\d+\.pa", path))
        last = {Path(path).parent: f"results/{path}" for path in shards}
        project.run(*last.values())
    project.run(*SAME_BYTES[variant])
    files, expected = project.results(), first.results()
    assert [path for path in files | expected if files.get(path) != expected.get(path)] == []


def reshard(project):
    """Process every corpus in three shards, or in one if there were several."""
    corpora = Config.model_validate(project.config).corpora
    shards = {name: {"shards": 1 if corpus.shards > 1 else 3} for name, corpus in corpora.items()}
    project.write_config(
        corpora={name: keys | shards[name] for name, keys in project.config["corpora"].items()}
    )


def rebatch(project):
    """Compute a third as many tokens at a time."""
    config = Config.model_validate(project.config)
    for name, section in (("extraction", config.extraction), ("causal", config.causal)):
        if section:
            project.write_config(**{name: {"batch_tokens": max(1, section.batch_tokens // 3)}})


@pytest.mark.parametrize("change", [rebatch, reshard])
def test_estimates_differ_by_rounding_alone(start, first, change, tmp_path):
    project = start.copy(tmp_path / "project")
    change(project)
    project.run(*without_figures())
    expected, found = estimates_of(first), estimates_of(project)
    if change is reshard:
        of_a_shard = [not set(OF_A_SHARD) & set(row) for row in expected.index]
        expected = expected[of_a_shard]
    # Exact estimates, and those of one document, have no standard error for comparison.
    expected = expected[expected["std_error"].fillna(0) > ROUNDING * expected["estimate"].abs()]
    difference = (found.loc[expected.index] - expected).abs()
    scale = np.maximum(expected["estimate"].abs(), expected["std_error"])
    relative = [difference["estimate"] / scale, difference["std_error"] / expected["std_error"]]
    assert len(expected) >= 50
    assert np.nanmax(relative) <= TOLERANCE
