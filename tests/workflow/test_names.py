"""Names that end as those of files do, and the name of a configuration for make."""

import os

import pytest
from projects import ROOT, TOGETHER, ran

# The tests may run in make themselves: a make within another says more.
OUTSIDE_MAKE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def test_a_name_may_end_as_a_file_does(fresh):
    for section in ("models", "corpora", "regressions"):
        fresh.config[section] = {"reviews.csv": next(iter(fresh.config[section].values()))}
    fresh.write_config()
    table = "results/reviews.csv/reviews.csv/attention/reviews.csv/coefficients"
    assert fresh.would_run()["fit_regression"] == 1
    fresh.run(f"{table}.csv", f"{table}.parquet")


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
