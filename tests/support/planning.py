"""Plans of runs, made in the process of the tests, which has imported everything.

The command `snakemake -n` takes several times as long, nearly all of it for imports. A test checks
that Snakemake's API and the command give the same plan.
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
    """Keeps the announced jobs of each rule, a shell command of each, and all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, int] = {}
        self.commands: dict[str, str] = {}
        self.inputs: list[str] = []
        # Inputs and outputs of one job of each rule, and of all jobs.
        self.files: dict[str, tuple[list[str], list[str]]] = {}
        self.graph: list[tuple[str, list[str], list[str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.jobs = dict(record.stats)  # type: ignore[attr-defined]
        if event == LogEvent.JOB_INFO:
            files = (record.input or [], record.output or [])  # type: ignore[attr-defined]
            given, made = (list(map(str, paths)) for paths in files)
            self.inputs += given
            self.graph.append((record.rule_name, given, made))  # type: ignore[attr-defined]
        if event == LogEvent.JOB_INFO and record.shellcmd:  # type: ignore[attr-defined]
            name = record.rule_name  # type: ignore[attr-defined]
            self.commands[name] = record.shellcmd  # type: ignore[attr-defined]
            self.files[name] = given, made


def plan(folder: Path, targets: tuple[str, ...] = (), everything: bool = False) -> Listener:
    """Return what Snakemake announces of a run in a project's folder.

    Errors of Snakemake are raised.
    """
    # The cache is keyed by the path of a folder, whose files tests change.
    catalogue.figures.cache_clear()
    listener = Listener()
    with within(folder), SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        logger.addHandler(listener)
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2), snakefile=Path("Snakefile")
        )
        # As in profiles/default.
        settings = DAGSettings(
            targets=set(targets), max_checksum_file_size=100_000_000, forceall=everything
        )
        workflow.dag(settings).execute_workflow(
            executor="dryrun", execution_settings=ExecutionSettings(lock=False)
        )
        logger.removeHandler(listener)
    # The lock of a run is held as long as its file is open.
    gc.collect()
    # The remaining objects stay; the next collection need not examine them.
    gc.freeze()
    return listener


def jobs_of(planned: Listener) -> dict[str, int]:
    """Return the number of jobs of each rule that makes something."""
    left_out = ("all", "default", "total")
    return {rule: count for rule, count in planned.jobs.items() if rule not in left_out}
