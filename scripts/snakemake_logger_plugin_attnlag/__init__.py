"""What a run of attnlag prints of Snakemake's messages: a line for each job that is finished.

Snakemake finds this module by its name, and the profile of the project asks for it
(``logger: attnlag``). What the jobs print themselves comes to the terminal beside it. Whoever wants
all that Snakemake has to say asks for another profile, or none: ``--workflow-profile none``.

Nothing of attnlag is imported here: a workflow imports the library from its own folder, which may
be another copy than the one that this module is from.
"""

import re
import sys
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

STOPPED = "Stopped. Run the same command to go on."

# Messages without an event of their own that a user needs.
NEEDED = re.compile(r"Nothing to be done|Reasons:|Complete log|Unlock|Touching|Would remove")
# Those that stand for something else.
STOPPING = re.compile(r"Terminating processes on user request")
FAILED = re.compile(r"^CalledProcessError .*returned non-zero exit status \d+", re.M | re.S)
# A line for people who read the reasons of each job, which no profile of attnlag shows.
SEE_ABOVE = re.compile(r"\n +\(check individual jobs above for details\)")


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
        self.told = False
        self.clear = "\r\x1b[K" if sys.stderr.isatty() else ""

    def emit(self, record: LogRecord) -> None:
        if text := self.line_of(record):
            # A progress bar of a job may stand on this line.
            print(f"{self.clear}{text}", file=sys.stderr, flush=True)

    def line_of(self, record: LogRecord) -> str | None:
        """Return what is printed of a message, or nothing."""
        event = getattr(record, "event", None)
        facts = vars(record)
        if event == LogEvent.JOB_INFO:
            names = ", ".join(map(str, (facts.get("wildcards") or {}).values()))
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
        elif event == LogEvent.JOB_ERROR:
            logs = ", ".join(facts["log"] or ())
            job = self.jobs.get(facts["jobid"], facts["rule_name"])
            return None if self.stopped else f"failed: {job}" + (f", log in {logs}" if logs else "")
        elif record.levelno >= WARNING or event == LogEvent.ERROR:
            # Of a program that ends with an error, it has said what is wrong itself.
            said = self.stopped or FAILED.search(record.getMessage())
            return None if said else record.getMessage()
        elif STOPPING.search(record.getMessage()):
            self.stopped = True
        elif NEEDED.match(record.getMessage()):
            return SEE_ABOVE.sub("", record.getMessage())
        return None

    def plan(self, stats: dict[str, int]) -> str | None:
        """Return what there is to do: in a dry run how many jobs of which rule, once."""
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
