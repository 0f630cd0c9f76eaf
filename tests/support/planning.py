"""What a run would do, planned in the process of the tests, which has imported everything.

The command `snakemake -n` takes several times as long, nearly all of it for imports. Snakemake's
interface plans the same: a test compares the two.
"""

import gc
import logging
from pathlib import Path

from programs import within
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


class Listener(logging.Handler):
    """Keeps what Snakemake announces: the number of jobs of each rule, and a command of each."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, int] = {}
        self.commands: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.jobs = dict(record.stats)  # type: ignore[attr-defined]
        if event == LogEvent.JOB_INFO and record.shellcmd:  # type: ignore[attr-defined]
            self.commands[record.rule_name] = record.shellcmd  # type: ignore[attr-defined]


def plan(folder: Path, targets: tuple[str, ...] = (), everything: bool = False) -> Listener:
    """Return what Snakemake announces of a run in a project's folder.

    Snakemake's error is raised where there is one.
    """
    # It remembers a folder by its path, and a test changes files.
    catalogue.figures.cache_clear()
    listener = Listener()
    with within(folder), SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        logger.addHandler(listener)
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2), snakefile=Path("Snakefile")
        )
        # As profiles/default has it.
        settings = DAGSettings(
            targets=set(targets), max_checksum_file_size=100_000_000, forceall=everything
        )
        workflow.dag(settings).execute_workflow(
            executor="dryrun", execution_settings=ExecutionSettings(lock=False)
        )
        logger.removeHandler(listener)
    # The lock of a run is held as long as its file is open.
    gc.collect()
    # What is left stays: the next plan need not look at it again.
    gc.freeze()
    return listener


def jobs_of_a_run(folder: Path, targets: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the jobs that a run in a project's folder would do, by rule."""
    return {
        rule: count
        for rule, count in plan(folder, targets).jobs.items()
        if rule not in ("all", "default", "total")
    }
