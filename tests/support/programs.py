"""Programs of the workflow, called as its rules call them."""

from collections.abc import Mapping
from typing import Any

from projects import ROOT
from warm_python import python

from attnlag.pipeline.job import text_of


def job_of(
    stage: str,
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    settings: str | None = None,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> list[str]:
    """Return the arguments of a program for a job."""
    return ["--job", text_of(stage, input, output, names or {}, settings, options)]


def command_of(stage: str, *job: Any, program: str = "", **more: Any) -> list[str]:
    """Return the command line of a job in a process of its own."""
    path = str(ROOT / "scripts" / f"{program or stage}.py")
    return [python(), path, *job_of(stage, *job, **more)]
