"""Programs of the workflow, run in the process of a test, which has imported their libraries.

Planning a run takes Snakemake a second, ten times as long as many programs take. The jobs are those
that Snakemake planned for a finished project, with what a changed configuration gives.
"""

import io
import json
import logging
import os
import runpy
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml
from projects import ROOT, Project
from warm_python import python

from attnlag.config.problems import check, reading_problems
from attnlag.config.schema import Config
from attnlag.pipeline import stages
from attnlag.pipeline.job import text_of

CONFIG = "config/config.yaml"
NAMES = SimpleNamespace(
    model="tiny", corpus="small", site="attention", regression="notebook", pair="attention"
)


class Ended(NamedTuple):
    status: int
    printed: str


@contextmanager
def within(folder: Path) -> Iterator[None]:
    """Work in a folder as a separate process would: changes of global state are undone."""
    before = Path.cwd(), dict(os.environ), list(sys.path), list(sys.argv)
    log = logging.getLogger("attnlag")
    handlers, level, raising = list(log.handlers), log.level, logging.raiseExceptions
    stop = signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
        sys.path[:], sys.argv[:] = before[2:]
        for handler in [handler for handler in log.handlers if handler not in handlers]:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(level)
        logging.raiseExceptions = raising
        signal.signal(signal.SIGTERM, stop)


def run_program(folder: Path, name: str, *arguments: str) -> Ended:
    path = str(ROOT / "scripts" / f"{name}.py")
    printed = io.StringIO()
    with within(folder), redirect_stderr(printed):
        sys.argv[:] = [path, *arguments]
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
    return Ended(status, printed.getvalue())


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


def checked(project: Project) -> tuple[Config | None, list[str]]:
    """Return the configuration of a project and its problems, as the workflow reads it."""
    with within(project.folder):
        if problems := reading_problems(CONFIG):
            return None, problems
        return check(yaml.safe_load(Path(CONFIG).read_bytes()), [CONFIG])


def planned(command: str) -> tuple[str, list[str]]:
    """Return the stage of a rule's shell command, and the program that it starts with arguments."""
    parts = shlex.split(command)
    parts = parts[parts.index("python") + 1 :]
    return json.loads(parts[2])["stage"], [Path(parts[0]).stem, *parts[1:]]


def arguments_of(stage: str, config: Config, planned: list[str]) -> list[str]:
    """Return a planned program and its arguments, changed as another configuration requires."""
    arguments = list(planned)
    job = json.loads(arguments[2])
    settings = stages.settings_of(stage, config)
    if settings:
        job["settings"] = json.loads(settings(NAMES))
    if stage == "prepare_corpus":
        job["input"]["files"] = list(map(str, config.files_of("small")))
    if stage == "describe_tokens" and (tagger := config.corpora["small"].tagger) and tagger.file:
        job["input"]["tags"] = [str(tagger.file)]
    arguments[2] = json.dumps(job)
    # Threads that wait for each other take time from other tests.
    arguments[arguments.index("--threads") + 1] = "1"
    return arguments
