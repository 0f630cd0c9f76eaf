"""The terminal output of a run: a line for each job that has ended, with what is still to come.

Snakemake finds this module by its name, and the profiles of the project select it
(``logger: attnlag``). Another profile, or none (``--workflow-profile none``), shows all messages of
Snakemake.

This module imports nothing from attnlag before a run ends: a workflow imports the library from its
own folder, which may be another copy than that of this module.
"""

import argparse
import logging
import re
import shutil
import sys
from contextlib import suppress
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any, NamedTuple

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_attnlag.forecast import Forecast, in_words

# A message of success in a log, with the time and the memory of its job.
SUCCESS = re.compile(r"^.* \(\d+\.\d s, [\d,.]+ [kMG]B\)$", re.M)

# A problem in a log.
PROBLEM = re.compile(r"^ *error: .*$", re.M)

STOPPED = "Stopped. Run the same command to go on."

# Useful messages of Snakemake that have no event type.
NEEDED = re.compile(
    r"Nothing to be done|Reasons:|Complete log|Unlock|Touching|Would remove|Trying to restart job"
)
# What a run says that makes nothing; it has no other last words.
NOTHING = re.compile(r"Nothing to be done")
ANSWERS = Path("results/answers.txt")
# Messages that are replaced or shortened.
STOPPING = re.compile(r"Terminating processes on user request")
FAILED = re.compile(r"^CalledProcessError .*returned non-zero exit status \d+", re.M | re.S)
# What says no more than the lines on the jobs that failed.
REPEATED = re.compile(r"WorkflowError:\s+At least one job did not complete|Complete log")
# A file of --configfile that Snakemake cannot read, of which it says neither name nor line.
UNREAD = re.compile(r"WorkflowError:\s+Config file (is not valid|must be given)|Traceback")
# Errors of Snakemake's own files: no permission, a size limit (ulimit -f), a full disk, a read-only
# disk, a quota.
OF_DISK = re.compile(r"^Traceback.*\n\w*Error: \[Errno (?:13|27|28|30|122)\] ([^\n]*)\s*\Z", re.S)
# The same while it reads a file of rules.
OF_DISK_IN_RULES = re.compile(r"^OSError in file .*?\n\[Errno (?:13|27|28|30|122)\] ([^\n]*)", re.S)
# A value of --config.
NO_VALUE = re.compile(r"^ValueError: Invalid config definition: (.*)", re.M)
# A reference to the reasons of each job, which attnlag's profiles do not show.
SEE_ABOVE = re.compile(r"\n +\(check individual jobs above for details\)")


def problems_of_configfiles() -> str:
    """Return what is wrong with the files of --configfile, a line each."""
    from attnlag.config.problems import reading_problems

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    files = parser.parse_known_args()[0].configfile
    problems = []
    for file in files:
        problems += reading_problems(file)
    return "\n".join(problems)


def problem_in_words(message: str) -> str:
    """Return an error of Snakemake; for one about its command line, the sentence alone."""
    value = NO_VALUE.search(message)
    if value:
        return f"error: --config: {value[1]}"
    disk = OF_DISK.search(message) or OF_DISK_IN_RULES.search(message)
    if disk:
        return f"error: Snakemake cannot write a file of its own: {disk[1]}"
    problems = problems_of_configfiles() if UNREAD.match(message) else ""
    return problems or message


def listed(names: list[str]) -> str:
    """Return the first two names, and the number of others."""
    shown = names[:2]
    if len(names) > 2:
        shown.append(f"{len(names) - 2} more")
    return ", ".join(shown)


class JobInfo(NamedTuple):
    """What Snakemake says of a job when it starts."""

    name: str  # its rule, and the names that identify it
    rule: str
    logs: list[str]

    def last_message(self) -> str:
        """Return the last message of success in a job's log, "" if it cannot be read here."""
        for log in self.logs:
            # A job elsewhere may have its log there.
            with suppress(OSError, UnicodeDecodeError):
                messages = SUCCESS.findall(Path(log).read_text(encoding="utf-8"))
                if messages:
                    return str(messages[-1])
        return ""

    def problems(self) -> list[str]:
        """Return the problems in a job's log, none if it cannot be read here."""
        problems: list[str] = []
        for log in self.logs:
            with suppress(OSError, UnicodeDecodeError):
                problems += PROBLEM.findall(Path(log).read_text(encoding="utf-8"))
        return problems

    def line(self) -> str:
        """Return what a job has done: its message, or what it is."""
        message = self.last_message()
        return f"{self.rule}: {message}" if message else self.name


class LogHandler(LogHandlerBase):
    """Prints to standard error."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        # On a full disk, each line of Snakemake's own log would print a traceback.
        logging.raiseExceptions = False
        self.jobs: dict[Any, JobInfo] = {}
        self.finished: list[JobInfo] = []
        self.forecast = Forecast()
        self.stopped = False
        self.failed = False
        self.told = False
        self.clear = "\r\x1b[K" if sys.stderr.isatty() else ""

    def emit(self, record: LogRecord) -> None:
        text = self.line_of(record)
        if text:
            # The line may contain the progress bar of a job, or what runs.
            print(f"{self.clear}{text}", file=sys.stderr, flush=True)
        if self.clear and self.forecast.running and not self.stopped:
            # A progress bar is as wide as the terminal, and takes the place of this.
            width = shutil.get_terminal_size().columns - 1
            print(f"{self.clear}{self.rest()[:width]}", end="", file=sys.stderr, flush=True)

    def line_of(self, record: LogRecord) -> str | None:
        """Return the text to print for a message, or None."""
        event = getattr(record, "event", None)
        facts = vars(record)
        if event == LogEvent.JOB_INFO:
            names = ", ".join((facts.get("wildcards") or {}).values())
            rule = str(facts["rule_name"])
            logs = list(facts.get("log") or ())
            job = JobInfo(f"{rule} ({names})" if names else rule, rule, logs)
            self.jobs[facts["jobid"]] = job
            self.forecast.started(facts["jobid"], rule)
            if "rules" not in {part.name.lower() for part in self.common_settings.quiet or ()}:
                return f"{job.name}\n    reason: {facts['reason']}"
        elif event == LogEvent.SHELLCMD and self.common_settings.printshellcmds:
            return str(facts.get("cmd") or record.getMessage())
        elif event == LogEvent.JOB_FINISHED:
            self.forecast.ended(facts["job_id"])
            if facts["job_id"] in self.jobs:
                self.finished.append(self.jobs[facts["job_id"]])
        elif event == LogEvent.PROGRESS:
            return self.progress(facts["done"], facts["total"])
        elif event == LogEvent.RUN_INFO:
            return self.plan(facts["stats"])
        elif self.failed and REPEATED.match(record.getMessage()):
            return None
        elif event == LogEvent.JOB_ERROR:
            self.failed = True
            where = ", ".join(facts["log"] or ())
            known = self.jobs.get(facts["jobid"])
            self.forecast.ended(facts["jobid"])
            name = known.name if known else facts["rule_name"]
            if self.stopped:
                return None
            text = f"failed: {name}, log in {where}" if where else f"failed: {name}"
            # A job on another machine prints nothing here.
            if known and self.common_settings.show_failed_logs:
                text = "\n".join([*known.problems(), text])
            return text
        elif record.levelno >= WARNING or event == LogEvent.ERROR:
            # A program that ends with an error has printed the problem itself.
            said = self.stopped or FAILED.search(record.getMessage())
            return None if said else problem_in_words(record.getMessage())
        elif STOPPING.search(record.getMessage()):
            self.stopped = True
        elif NEEDED.match(record.getMessage()):
            text = SEE_ABOVE.sub("", record.getMessage())
            if NOTHING.match(text) and ANSWERS.exists():
                return f"{text}\nanswers: {ANSWERS}"
            return text
        return None

    def plan(self, stats: dict[str, int]) -> str | None:
        """Return the jobs to run: in a dry run, their number by rule, once."""
        if self.told:
            return None
        self.told = True
        jobs = {rule: count for rule, count in stats.items() if rule != "total"}
        self.forecast.plan(jobs)
        text = f"{stats['total']:,} job{'' if stats['total'] == 1 else 's'} to run"
        if not self.common_settings.dryrun:
            return text
        lines = [f"{text}:"]
        for rule, count in jobs.items():
            lines.append(f"{count:6,}  {rule}")
        return "\n".join(lines)

    def progress(self, done: int, total: int) -> str:
        """Return a line for each job that has just ended, the last with what is still to come."""
        lines = " · ".join(job.line() for job in self.finished)
        self.finished = []
        text = f"[{done} of {total}] {lines}"
        # A terminal shows what is still to come below.
        if self.clear or not self.rest():
            return text
        return f"{text} · {self.rest()}"

    def rest(self) -> str:
        """Return what runs now, and how long the rest will take, as far as that is known."""
        parts = []
        running = [self.jobs[job].name for job in self.forecast.running]
        if running:
            parts.append(f"now {listed(running)}")
        seconds = self.forecast.seconds_left()
        if seconds:
            parts.append(f"{in_words(seconds)} left")
        return " · ".join(parts)

    def close(self) -> None:
        self.forecast.remember()
        if self.stopped:
            self.stopped = False
            print(f"{self.clear}{STOPPED}", file=sys.stderr, flush=True)
        super().close()
