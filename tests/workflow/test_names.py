"""What may be called anything: no name of a model, corpus or regression ends in a traceback."""

import os

import pytest
from projects import ROOT, TOGETHER, ran

from attnlag.pipeline.outputs import reserved_names

# The tests may run in make themselves: a make within another says more.
OUTSIDE_MAKE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def named(project, *names):
    """Call the model, the corpus and the regression of a project by these names."""
    for section, name in zip(("models", "corpora", "regressions"), names, strict=True):
        project.config[section] = {name: next(iter(project.config[section].values()))}
    project.write_config()


def test_a_name_may_end_as_a_file_does(fresh):
    named(fresh, *("reviews.csv",) * 3)
    table = "results/reviews.csv/reviews.csv/attention/reviews.csv/coefficients"
    assert fresh.would_run()["fit_regression"] == 1
    fresh.run(f"{table}.csv", f"{table}.parquet")


def test_a_name_of_a_result_is_refused_in_one_line(fresh):
    files = {"answers.txt", "README.md", "provenance.json", "layers_fitted.txt"}
    assert files | {"activations", "random_weights.parquet", "sources"} < reserved_names()
    expected = " is that of a result, expected another"
    named(fresh, "readout", "explorer.html", "comparison")
    lines = [line for line in fresh.fails("-n").splitlines() if line.endswith(expected)]
    names = ("models.readout", "corpora.explorer.html", "regressions.comparison")
    assert [line.split(": ")[1] for line in lines] == list(names)


def test_a_model_in_its_own_place_is_refused_in_one_line(fresh):
    (fresh.folder / "data/models").mkdir(parents=True)
    (fresh.folder / "mine").rename(fresh.folder / "data/models/tiny")
    fresh.write_config(models={"tiny": {"source": "path", "path": "./data/models/tiny"}})
    (line,) = [line for line in fresh.fails("-n").splitlines() if "models.tiny.path" in line]
    assert line.endswith(
        "'data/models/tiny' is where the run puts the model, expected a Hugging Face folder or a "
        ".gguf file elsewhere"
    )


def planned_by_make(target, config, status=0):
    """Return the lines of what ``make`` would do with a configuration, or why it would not."""
    command = ["make", "-n", target, f"CONFIG={config}"]
    return ran(command, status, cwd=ROOT, env=OUTSIDE_MAKE, **TOGETHER).stdout.splitlines()


@pytest.mark.parametrize("target", ["run", "report", "paper"])
def test_a_configuration_that_make_cannot_find_is_one_line(target):
    (line,) = planned_by_make(target, "nofile.yaml", status=2)
    assert "CONFIG: found no file 'nofile.yaml', expected that of a configuration" in line


@pytest.mark.parametrize("target", ["run", "report", "paper"])
def test_make_takes_the_configuration_that_is_asked_for(target):
    *_, last = planned_by_make(target, "config/models.yaml")
    assert last.endswith(" --configfile config/models.yaml")
