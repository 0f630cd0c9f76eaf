"""The terminal output of a run: one line of Snakemake's messages for each finished job.

Snakemake finds this module by its name, and the profile of the project selects it
(``logger: attnlag``). Jobs print their own messages to the terminal. Another profile, or none
(``--workflow-profile none``), shows all messages of Snakemake.

This module imports nothing from attnlag before a run ends: a workflow imports the library from its
own folder, which may be another copy than that of this module.
"""

import argparse
import re
import sys
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

STOPPED = "Stopped. Run the same command to go on."

# Useful messages of Snakemake that have no event type.
NEEDED = re.compile(r"Nothing to be done|Reasons:|Complete log|Unlock|Touching|Would remove")
# Messages that are replaced or shortened.
STOPPING = re.compile(r"Terminating processes on user request")
FAILED = re.compile(r"^CalledProcessError .*returned non-zero exit status \d+", re.M | re.S)
# What says no more than the lines on the jobs that failed.
REPEATED = re.compile(r"WorkflowError:\s+At least one job did not complete|Complete log")
# A file of --configfile that Snakemake cannot read, of which it says neither name nor line.
UNREAD = re.compile(r"WorkflowError:\s+Config file (is not valid|must be given)")
# A reference to the reasons of each job, which attnlag's profiles do not show.
SEE_ABOVE = re.compile(r"\n +\(check individual jobs above for details\)")


def problems_of_configfiles() -> str:
    """Return what is wrong with the files of --configfile, a line each."""
    from attnlag.config.problems import reading_problems

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    files = parser.parse_known_args()[0].configfile
    return "\n".join(problem for file in files for problem in reading_problems(file))


class LogHandler(LogHandlerBase):
    """Prints to standard error."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.jobs: dict[Any, str] = {}
        self.finished: list[str] = []
        self.stopped = False
        self.failed = False
        self.told = False
        self.clear = "\r\x1b[K" if sys.stderr.isatty() else ""

    def emit(self, record: LogRecord) -> None:
        if text := self.line_of(record):
            # The line may contain the progress bar of a job.
            print(f"{self.clear}{text}", file=sys.stderr, flush=True)

    def line_of(self, record: LogRecord) -> str | None:
        """Return the text to print for a message, or None."""
        event = getattr(record, "event", None)
        facts = vars(record)
        if event == LogEvent.JOB_INFO:
            names = ", ".join((facts.get("wildcards") or {}).values())
            self.jobs[facts["jobid"]] = facts["rule_name"] + (f" ({names})" if names else "")
            if "rules" not in {part.name.lower() for part in self.common_settings.quiet or ()}:
                return f"{self.jobs[facts['jobid']]}\n    reason: {facts['reason']}"
        elif event == LogEvent.SHELLCMD and self.common_settings.printshellcmds:
            return str(facts.get("cmd") or record.getMessage())
        elif event == LogEvent.JOB_FINISHED:
            self.finished.append(self.jobs.get(facts["job_id"], str(facts["job_id"])))
        elif event == LogEvent.PROGRESS:
            names, self.finished = ", ".join(self.finished), []
            return f"[{facts['done']} of {facts['total']}] {names}"
        elif event == LogEvent.RUN_INFO:
            return self.plan(facts["stats"])
        elif self.failed and REPEATED.match(record.getMessage()):
            return None
        elif event == LogEvent.JOB_ERROR:
            self.failed = True
            logs = ", ".join(facts["log"] or ())
            job = self.jobs.get(facts["jobid"], facts["rule_name"])
            return None if self.stopped else f"failed: {job}" + (f", log in {logs}" if logs else "")
        elif record.levelno >= WARNING or event == LogEvent.ERROR:
            # A program that ends with an error has printed the problem itself.
            said = self.stopped or FAILED.search(record.getMessage())
            unread = UNREAD.match(record.getMessage()) and problems_of_configfiles()
            return None if said else unread or record.getMessage()
        elif STOPPING.search(record.getMessage()):
            self.stopped = True
        elif NEEDED.match(record.getMessage()):
            return SEE_ABOVE.sub("", record.getMessage())
        return None

    def plan(self, stats: dict[str, int]) -> str | None:
        """Return the jobs to run: in a dry run, their number by rule, once."""
        if self.told:
            return None
        self.told = True
        jobs = {rule: count for rule, count in stats.items() if rule != "total"}
        text = f"{stats['total']:,} job{'' if stats['total'] == 1 else 's'} to run"
        if not self.common_settings.dryrun:
            return text
        return "\n".join([f"{text}:", *(f"{count:6,}  {rule}" for rule, count in jobs.items())])

    def close(self) -> None:
        if self.stopped:
            self.stopped = False
            print(f"{self.clear}{STOPPED}", file=sys.stderr, flush=True)
        super().close()
