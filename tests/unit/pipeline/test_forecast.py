"""The forecast of a run: how long the jobs that wait and run will take."""

import re
from pathlib import Path
from statistics import median

import pandas as pd
import pytest

from snakemake_logger_plugin_attnlag import forecast
from snakemake_logger_plugin_attnlag.forecast import Forecast, in_words


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """A clock that a test sets, in seconds, and a folder of a run."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    now = [0.0]
    monkeypatch.setattr(forecast.time, "monotonic", lambda: now[0])
    return now


def ran(run, clock, rule, seconds, job=None):
    """Run a job alone from now on."""
    job = job or f"{rule} at {clock[0]}"
    run.started(job, rule)
    clock[0] += seconds
    run.ended(job)


# When the jobs of two default runs began and ended, in seconds on two cores. Neither had an earlier
# run to know, and their long jobs came in another order.
RECORDED_RUNS = pd.read_csv(Path(__file__).with_name("recorded_runs.csv"))

UNITS = {"s": 1, "min": 60, "h": 3600}


def shown_and_left(jobs, clock):
    """Return the seconds that the screen shows after each job of a run, beside those left then."""
    run = Forecast()
    run.plan(jobs["rule"].value_counts().to_dict())
    begins = [(row.begin, "begin", row.Index, row.rule) for row in jobs.itertuples()]
    ends = [(row.end, "a job ends first", row.Index, row.rule) for row in jobs.itertuples()]
    rows = []
    for seconds, event, job, rule in sorted(begins + ends):
        clock[0] = seconds
        if event == "begin":
            run.started(job, rule)
            continue
        run.ended(job)
        forecast_seconds = run.seconds_left()
        if forecast_seconds:
            number, unit = re.fullmatch(r"about (\S+) (\w+)", in_words(forecast_seconds)).groups()
            rows.append((float(number) * UNITS[unit], jobs["end"].max() - seconds))
    return rows


@pytest.mark.parametrize(
    ("name", "most_in_median", "most"), [("first", 1.2, 1.5), ("second", 1.4, 2)]
)
def test_what_the_screen_shows_is_near_what_was_left(name, most_in_median, most, clock):
    jobs = RECORDED_RUNS[RECORDED_RUNS["run"] == name]
    ratios = [shown / left for shown, left in shown_and_left(jobs, clock) if left > 15]
    assert len(ratios) > 20
    assert 0.8 < median(ratios) < most_in_median
    assert min(ratios) > 0.65
    assert max(ratios) < most


def test_the_rest_takes_as_long_as_jobs_of_the_same_rules_did(clock):
    run = Forecast()
    run.plan({"design": 4, "fit": 3})
    ran(run, clock, "design", 2)
    ran(run, clock, "fit", 10)
    assert run.seconds_left() is None  # too few jobs have ended
    ran(run, clock, "design", 4)
    # Two designs of 3 seconds and two fits of 10.
    assert run.seconds_left() == pytest.approx(26)
    run.started("running", "fit")
    clock[0] += 4
    assert run.seconds_left() == pytest.approx(22)
    clock[0] += 100
    assert run.seconds_left() == pytest.approx(16)


def test_a_rule_of_which_nothing_is_known_takes_the_geometric_mean_of_the_others(clock):
    """One long job in the beginning does not make all others long."""
    run = Forecast()
    run.plan({"fetch": 1, "tokens": 1, "pass": 1, "draw": 5})
    ran(run, clock, "fetch", 1)
    ran(run, clock, "tokens", 1)
    ran(run, clock, "pass", 125)
    assert run.seconds_left() == pytest.approx(5 * 125 ** (1 / 3))


def test_a_rule_of_many_jobs_counts_once(clock):
    """Many long jobs of one rule do not make those of other rules long."""
    run = Forecast()
    run.plan({"tokens": 1, "pass": 20, "draw": 5})
    ran(run, clock, "tokens", 1)
    for _ in range(20):
        ran(run, clock, "pass", 100)
    assert run.seconds_left() == pytest.approx(5 * 10)


def test_jobs_that_run_at_a_time_share_the_rest(clock):
    run = Forecast()
    run.plan({"fit": 8})
    for job in range(4):
        run.started(job, "fit")
    clock[0] += 10
    for job in range(4):
        run.ended(job)
    assert run.seconds_left() == pytest.approx(10)


def test_a_later_run_knows_the_seconds_of_an_earlier_one(clock):
    earlier = Forecast()
    earlier.plan({"fit": 1, "draw": 1})
    ran(earlier, clock, "fit", 100)
    earlier.remember()
    run = Forecast()
    run.plan({"draw": 1, "fit": 2, "other": 1})
    ran(run, clock, "draw", 4)
    # Of the other nothing is known.
    assert run.seconds_left() == pytest.approx(204)
    forecast.MEMORY.write_text("{")
    run = Forecast()
    run.plan({"draw": 2})
    ran(run, clock, "draw", 4)
    assert run.seconds_left() is None


def test_a_job_that_is_retried_counts_once(clock):
    run = Forecast()
    run.plan({"fit": 4})
    for _ in range(2):
        ran(run, clock, "fit", 10)
    run.started("killed", "fit")
    clock[0] += 5
    run.started("killed", "fit")
    clock[0] += 10
    run.ended("killed")
    assert run.seconds_left() == pytest.approx(10 * 35 / 30, rel=0.2)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.3, "about 10 s"), (44, "about 40 s"), (110, "about 110 s")]
    + [(174, "about 170 s"), (176, "about 3 min"), (5399, "about 90 min"), (9000, "about 2.5 h")],
)
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words
