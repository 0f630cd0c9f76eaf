"""Programs of the workflow, run in the process of a test, which has imported their libraries.

Planning a run takes Snakemake a second, ten times as long as many programs take. The command lines
are those that Snakemake planned for a finished project, with the arguments that a changed
configuration gives.
"""

import io
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
from typing import NamedTuple

import yaml
from projects import ROOT, Project

from attnlag.config.problems import check, reading_problems
from attnlag.config.schema import Config
from attnlag.pipeline import stages

CONFIG = "config/config.yaml"
NAMES = SimpleNamespace(model="tiny", corpus="small", site="attention", regression="notebook")


class Ended(NamedTuple):
    """The exit status of a program and its standard error."""

    status: int
    printed: str


@contextmanager
def within(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Work in a folder as a separate process would: changes of global state are undone."""
    before = Path.cwd(), dict(os.environ), list(sys.path), list(sys.argv)
    log = logging.getLogger("attnlag")
    handlers, level, raising = list(log.handlers), log.level, logging.raiseExceptions
    stop = signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    os.environ.update(environment or {})
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


def run_program(
    folder: Path, name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a program of ``scripts/`` in a folder."""
    path = str(ROOT / "scripts" / f"{name}.py")
    printed = io.StringIO()
    with within(folder, environment), redirect_stderr(printed):
        sys.argv[:] = [path, *arguments]
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
    return Ended(status, printed.getvalue())


def checked(project: Project) -> tuple[Config | None, list[str]]:
    """Return the configuration of a project and its problems, as the workflow reads it."""
    with within(project.folder):
        if problems := reading_problems(CONFIG):
            return None, problems
        return check(yaml.safe_load(Path(CONFIG).read_bytes()), [CONFIG])


def planned(command: str) -> tuple[str, list[str]]:
    """Return the name and the arguments of the program that a rule's shell command starts."""
    parts = shlex.split(command)
    # The remainder is for storage providers.
    parts = parts[parts.index("python") + 1 :]
    parts = parts[: parts.index("&&")] if "&&" in parts else parts
    return Path(parts[0]).stem, parts[1:]


def arguments_of(stage: str, config: Config, planned: list[str]) -> list[str]:
    """Return the planned arguments of a program, changed as another configuration requires."""
    arguments = list(planned)

    def replace(option: str, value: object) -> None:
        arguments[arguments.index(option) + 1] = str(value)

    if "--settings" in arguments:
        replace("--settings", stages.settings_of(stage, config)(NAMES))
    if stage == "fetch_model":
        replace("--layers", config.models["tiny"].layers or 0)
        replace("--width", config.models["tiny"].width or 0)
    if stage == "prepare_corpus":
        arguments[arguments.index("--") + 1 :] = map(str, config.files_of("small"))
    if stage == "describe_tokens" and (tagger := config.corpora["small"].tagger) and tagger.file:
        arguments.insert(arguments.index("--tags") + 1, str(tagger.file))
    if stage == "extract_activations":
        replace("--batch-tokens", config.extraction.batch_tokens)
    if "--threads" in arguments:
        # Threads that wait for each other take time from other tests.
        replace("--threads", 1)
    return arguments
