"""Results of other settings in a folder that was copied without Snakemake's own records.

Snakemake compares the settings of a job with those on record in ``.snakemake/``. Without a record,
as in a folder of results that was copied without hidden files, it takes every file that exists for
one of the present configuration. Each table therefore states the job that made it. A run compares
those of tables that no run in this folder has made, and dates back the ones of other settings while
it lasts, so that Snakemake makes them again.
"""

import atexit
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from attnlag.config.schema import Config
from attnlag.errors import counted
from attnlag.pipeline import stages
from attnlag.pipeline.changes import changes
from attnlag.pipeline.unasked import is_wanted
from attnlag.storage.contents import recalled, remember
from attnlag.storage.made_by import settings_of_file
from attnlag.storage.tables import read_job

# Tables that runs in this folder have made or marked as up to date, with their times of change.
MEMORY = Path(".snakemake/attnlag.made.json")

# In seconds since the epoch; Snakemake takes 0 for no time.
LONG_AGO = 1


class Stale(NamedTuple):
    """A table of other settings than those of the configuration."""

    path: Path
    stage: str
    difference: str  # the first setting that differs


def stale_tables(config: Config) -> Iterator[Stale]:
    """Yield wanted tables that have other settings, and that no run in this folder has made."""
    known = recalled(MEMORY)
    for path in sorted(Path("results").rglob("*.parquet")):
        if known.get(str(path)) == path.stat().st_mtime_ns:
            continue
        if not is_wanted(path.relative_to("results").as_posix(), config):
            continue
        job = read_job(path)
        if job is None:
            continue
        settings = _present_settings(config, job)
        if settings is not None and settings != job["settings"]:
            difference = next(changes(job["settings"], settings), "")
            yield Stale(path, job["stage"], difference)


def _present_settings(config: Config, job: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings of a file that a job makes now, None if its stage has no settings."""
    settings = stages.settings_of(job["stage"], config)
    if settings is None:
        return None
    known = {name: value for name, value in job["names"].items() if name in stages.Names._fields}
    present: dict[str, Any] = settings_of_file(json.loads(settings(stages.Names(**known))))
    return present


def make_again(tables: list[Stale]) -> None:
    """Date back tables, so that their inputs are newer and Snakemake makes them again.

    Those that this process does not make, as in a dry run, get their times back when it ends.
    """
    for table in tables:
        status = table.path.stat()
        atexit.register(_restore, table.path, (status.st_atime_ns, status.st_mtime_ns))
        os.utime(table.path, (LONG_AGO, LONG_AGO))


def _restore(path: Path, times: tuple[int, int]) -> None:
    """Give a file its times of access and change back, in nanoseconds, if it is dated back."""
    if path.exists() and path.stat().st_mtime == LONG_AGO:
        os.utime(path, ns=times)


def announcements(tables: list[Stale]) -> list[str]:
    """Return a line for each stage that makes tables again."""
    lines = []
    for stage, group in itertools.groupby(sorted(tables, key=_by_stage), key=_by_stage):
        stage_tables = list(group)
        first = stage_tables[0]
        lines.append(
            f"{first.path}: made with other settings ({first.difference}); {stage} makes it again"
        )
        if len(stage_tables) > 1:
            lines[-1] += f", and {counted(len(stage_tables) - 1, 'more table')}"
    return lines


def _by_stage(table: Stale) -> str:
    return table.stage


def remember_tables(begun: float) -> None:
    """Note the tables that were written since the run began, or that were known before."""
    known = recalled(MEMORY)
    now = {}
    for path in sorted(Path("results").rglob("*.parquet")):
        changed = path.stat().st_mtime_ns
        if changed >= begun * 1e9 or known.get(str(path)) == changed:
            now[str(path)] = changed
    remember(now, MEMORY)
