"""Plans of runs, made in the process of the tests, which has imported everything.

The command `snakemake -n` takes several times as long, nearly all of it for imports. A test checks
that Snakemake's API and the command give the same plan.
"""

import gc
import logging
import os
import sys
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.api import SnakemakeApi
from snakemake.logging import logger
from snakemake.settings.types import (
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)
from snakemake_interface_logger_plugins.common import LogEvent

from attnlag.figures import catalogue


class Job(NamedTuple):
    rule: str
    given: list[str]
    made: list[str]
    command: str | None
    threads: int
    resources: dict[str, Any]
    priority: int


class Listener(logging.Handler):
    """Keeps the announced jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            told = vars(record)
            given, made = (list(map(str, told[kind] or [])) for kind in ("input", "output"))
            job = Job(
                rule=told["rule_name"],
                given=given,
                made=made,
                command=told["shellcmd"],
                threads=told["threads"],
                resources=dict(told["resources"].items()),
                priority=told["priority"],
            )
            self.jobs.append(job)


def plan(
    folder: Path,
    targets: tuple[str, ...] = (),
    everything: bool = False,
    attempt: int = 1,
    cores: int = 2,
    nodes: int | None = None,
) -> list[Job]:
    """Return the jobs that Snakemake announces for a run in a project's folder.

    ``attempt`` says how often a job is tried, and ``nodes`` how many jobs a scheduler gets at a
    time. Errors of Snakemake are raised.
    """
    # The cache is keyed by the path of a folder, whose files tests change.
    catalogue.figures.cache_clear()
    listener, environment, path = Listener(), dict(os.environ), list(sys.path)
    output = OutputSettings(dryrun=True, quiet={Quietness.ALL})
    try:
        with chdir(folder), SnakemakeApi(output) as api:
            logger.addHandler(listener)
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=cores, nodes=nodes),
                snakefile=Path("Snakefile"),
            )
            # As in profiles/default.
            settings = DAGSettings(
                targets=set(targets), max_checksum_file_size=100_000_000, forceall=everything
            )
            workflow.dag(settings).execute_workflow(
                executor="dryrun",
                execution_settings=ExecutionSettings(lock=False, attempt=attempt),
            )
    finally:
        # As a separate process, a plan changes nothing global.
        logger.removeHandler(listener)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
    # The lock of a run is held as long as its file is open.
    gc.collect()
    # The remaining objects stay; the next collection need not examine them.
    gc.freeze()
    return listener.jobs


def rules_of(jobs: list[Job]) -> dict[str, int]:
    """Return the number of jobs of each rule that makes something."""
    return dict(Counter(job.rule for job in jobs if job.rule not in ("all", "default")))
