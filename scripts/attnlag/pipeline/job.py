"""A job of the workflow as one JSON text, which its rule writes and its program reads.

The text holds the stage, the named inputs and outputs, the names that identify the job (Snakemake's
wildcards), the settings that change its output, and options that do not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from attnlag.errors import UserError
from attnlag.escaping import text_for
from attnlag.storage.writing import write_text

# A command is one argument of the shell, which may have 131,072 bytes on Linux.
MAX_CHARACTERS = 90_000

# Folder of the texts that are longer; the name of each is its digest.
FOLDER = Path(".snakemake/jobs")

PARTS_OF_JOB = ("stage", "input", "output", "names", "settings", "options")


@dataclass(frozen=True)
class Job:
    """The work of a program.

    Files, names and options are fields of namespaces. Which ones there are depends on the stage:
    each stands in its rule, and its program without a job prints those that it reads.
    """

    stage: str  # name of the job's rule, without a prefix that another workflow gives it
    input: SimpleNamespace  # input, output: files by name: a path, or a list of paths
    output: SimpleNamespace
    # Names of the model, corpus, site, regression, pair and shard, as far as the job has them.
    names: SimpleNamespace
    settings: Any  # settings that change the output
    stated_settings: Any  # the same as JSON values
    # Settings that change outputs only by rounding, such as the number of tokens in a batch.
    options: SimpleNamespace
    threads: int  # number of CPU threads


def text_of(
    stage: str,
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    names: Mapping[str, str],
    settings: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return a job as JSON; the arguments are as in `Job`, the settings as JSON."""
    job = {"stage": stage, "input": dict(input.items()), "output": dict(output.items())}
    job |= {"names": names, "settings": json.loads(settings or "null"), "options": options or {}}
    # The report quotes it in a script.
    return text_for("script", json.dumps(job, default=str))


def argument(text: str) -> str:
    """Return a job's text, or the path of a file with it if a command has no room for it."""
    if len(text) <= MAX_CHARACTERS:
        return text
    path = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if not path.exists():
        write_text(text, path)
    return str(path)


def read(argument: str, settings: Any, threads: int = 1) -> Job:
    """Return a job from its text, or from the path of a file with it.

    Settings are of the class ``settings``, None for a program without; ``threads`` is the number of
    CPU threads that the program may use. What is no job, or has other settings, is a UserError.
    """
    try:
        job = json.loads(
            argument if argument.startswith("{") else Path(argument).read_text("utf-8")
        )
        missing = sorted({*PARTS_OF_JOB} - {*job})
        if missing:
            raise UserError(f"job: found no '{missing[0]}', expected {', '.join(PARTS_OF_JOB)}")
        settings_read = TypeAdapter(settings or None).validate_json(json.dumps(job["settings"]))
    except ValidationError as error:
        raise UserError(
            f"job: settings: found {json.dumps(problem['input'])} at "
            f"'{'.'.join(map(str, problem['loc']))}', expected another value ({problem['msg']})"
            for problem in error.errors()
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"--job: found no JSON and no file with it ({error})") from None

    return Job(
        stage=job["stage"],
        input=_files(job["input"]),
        output=_files(job["output"]),
        names=SimpleNamespace(**job["names"]),
        settings=settings_read,
        stated_settings=job["settings"],
        options=SimpleNamespace(**job["options"]),
        threads=threads,
    )


def _files(paths: Mapping[str, str | list[str]]) -> SimpleNamespace:
    """Return files by name: a path, or a list of paths."""
    files: dict[str, Path | list[Path]] = {}
    for name, path in paths.items():
        files[name] = Path(path) if isinstance(path, str) else list(map(Path, path))
    return SimpleNamespace(**files)
