"""The lines that a run prints, from messages as Snakemake sends them."""

import logging

import pytest
from snakemake.settings.types import OutputSettings, Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_attnlag import LogHandler

QUIET = {Quietness.RULES, Quietness.REASON, Quietness.HOST}


@pytest.fixture
def handler(monkeypatch, tmp_path):
    """Return what prints the lines of a run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    return LogHandler(OutputSettings(quiet=QUIET), None)


def line_of(handler, event, **facts):
    """Return the line of a message, or None."""
    return handler.line_of(logging.makeLogRecord({"event": event, **facts}))


def started(handler, number, rule, names=None, **facts):
    """Start a job, and return its line."""
    facts = {"reason": "Missing output files: a", "log": [f"{number}.log"], **facts}
    return line_of(
        handler, LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=names, **facts
    )


def test_a_line_tells_which_job_has_ended_and_what_is_to_come(handler, tmp_path):
    stats = {"norms": 2, "fit": 3, "total": 5}
    assert line_of(handler, LogEvent.RUN_INFO, stats=stats) == "5 jobs to run"
    # Snakemake says it once more.
    assert line_of(handler, LogEvent.RUN_INFO, stats=stats) is None
    assert started(handler, 1, "norms", {"model": "tiny", "shard": "0000"}) is None
    assert line_of(handler, LogEvent.JOB_FINISHED, job_id=1) is None
    assert line_of(handler, LogEvent.PROGRESS, done=1, total=5) == "[1 of 5] norms (tiny, 0000)"
    for number, rule in ((2, "norms"), (3, "fit"), (4, "fit"), (5, "fit")):
        started(handler, number, rule)
    (tmp_path / "2.log").write_text("a warning\ntiny: 9 norms (1.2 s, 5 MB)\n")
    line_of(handler, LogEvent.JOB_FINISHED, job_id=2)
    printed = line_of(handler, LogEvent.PROGRESS, done=2, total=5)
    assert printed == "[2 of 5] norms: tiny: 9 norms (1.2 s, 5 MB) · now fit, fit, 1 more"
    line_of(handler, LogEvent.JOB_FINISHED, job_id=3)
    printed = line_of(handler, LogEvent.PROGRESS, done=3, total=5)
    # Three jobs are enough for a forecast.
    assert printed.startswith("[3 of 5] fit · now fit, fit")
    line_of(handler, LogEvent.JOB_FINISHED, job_id=4)
    line_of(handler, LogEvent.JOB_FINISHED, job_id=5)
    assert line_of(handler, LogEvent.PROGRESS, done=5, total=5) == "[5 of 5] fit · fit"


@pytest.mark.usefixtures("handler")
def test_reasons_and_commands_are_shown_on_request():
    handler = LogHandler(OutputSettings(printshellcmds=True), None)
    printed = started(handler, 1, "fit", {"model": "tiny"})
    assert printed == "fit (tiny)\n    reason: Missing output files: a"
    # Snakemake sends the command of a rule as a message, and that of `shell()` in code as a fact.
    assert line_of(handler, LogEvent.SHELLCMD, msg="Shell command: true") == "Shell command: true"
    assert line_of(handler, LogEvent.SHELLCMD, cmd="true") == "true"


def test_a_failed_job_names_its_log_once(handler):
    started(handler, 1, "fit", {"model": "tiny"})
    printed = line_of(handler, LogEvent.JOB_ERROR, jobid=1, rule_name="fit", log=["1.log"])
    assert printed == "failed: fit (tiny), log in 1.log"
    repeated = {
        "levelno": logging.ERROR,
        "msg": "WorkflowError:\n At least one job did not complete",
    }
    assert line_of(handler, LogEvent.ERROR, **repeated) is None


def test_an_error_of_snakemake_is_told_and_that_of_a_command_is_not(handler):
    error = {"levelno": logging.ERROR, "event": LogEvent.ERROR}
    assert (
        line_of(handler, **error, msg="WorkflowError:\nNo rule a.") == "WorkflowError:\nNo rule a."
    )
    printed = "CalledProcessError in file a:\nCommand 'b' returned non-zero exit status 1."
    assert line_of(handler, **error, msg=printed) is None


def test_a_log_of_snakemake_on_a_full_disk_prints_no_tracebacks(handler):
    line_of(handler, LogEvent.RUN_INFO, stats={"total": 1})
    assert not logging.raiseExceptions
