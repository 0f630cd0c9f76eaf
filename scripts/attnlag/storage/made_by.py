"""The job of this process, which each of its Parquet files states beside its provenance.

A run compares it with the configuration where Snakemake has no record of its own.
"""

import json
from collections.abc import Mapping
from typing import Any

# The job that made a file: its stage, its names, and its settings without the choice of files.
JOB_KEY = b"attnlag.job"

# Settings that choose which files a job makes. No file depends on them, and none states them.
CHOICE_OF_FILES = ("sites", "quantities")

_job_of_process: dict[bytes, bytes] = {}


def settings_of_file(settings: Any) -> Any:
    """Return a job's settings, as JSON values, without those that choose which files it makes."""
    if not isinstance(settings, dict):
        return settings
    kept = {}
    for key, value in settings.items():
        if key not in CHOICE_OF_FILES:
            kept[key] = settings_of_file(value)
    return kept


def state_job(stage: str, names: Mapping[str, str], settings: Any) -> None:
    """State a job in every file that this process writes from now on."""
    job = {"stage": stage, "names": dict(names), "settings": settings_of_file(settings)}
    _job_of_process[JOB_KEY] = json.dumps(job, sort_keys=True, ensure_ascii=False).encode()


def job_metadata() -> dict[bytes, bytes]:
    """Return the job as metadata of a file, nothing in a notebook."""
    return dict(_job_of_process)
