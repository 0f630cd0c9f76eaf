"""Shared parts of the programs in ``scripts/``: command line, log, and failure."""

import argparse
import errno
import logging
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter
from tqdm import tqdm

from attnlag.errors import UserError, printable
from attnlag.pipeline import out_of_memory
from attnlag.storage import memory
from attnlag.storage.writing import is_disk_full

log = logging.getLogger("attnlag")


class _OneLine(logging.Formatter):
    """Keeps a message on its line, whatever is quoted in it; a traceback has its own lines.

    What was done is told with the seconds that it took, from the start of the program.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = printable(super().formatMessage(record))
        if record.levelno > logging.INFO:
            return message
        return f"{message} ({time.time() - psutil.Process().create_time():.1f} s)"

    def formatException(self, info: Any) -> str:
        return "\n".join(map(printable, super().formatException(info).split("\n")))


class _Terminal(logging.Handler):
    """Prints to standard error, on a line of its own where a progress bar is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def argument_parser(
    description: str | None, settings: type | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options that every program has.

    Parameters
    ----------
    description : str
        For the help.
    settings : type, optional
        The dataclass of the stage's settings: what the program gets as ``settings``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if settings is not None:
        parser.add_argument(
            "--settings",
            type=TypeAdapter(settings).validate_json,
            required=True,
            metavar="JSON",
            help="the settings of this stage, as one JSON object",
        )
    parser.add_argument(
        "--memory",
        type=int,
        metavar="MB",
        help="what this job asked for, to say if it is too little",
    )
    parser.add_argument("--log", type=Path, help="also write the messages to this file")
    return parser


def add_model_options(parser: argparse.ArgumentParser, *, batch_tokens: int) -> None:
    """Add the options of a program that runs a model; none of them changes a result."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--batch-tokens", type=int, default=batch_tokens, help="tokens in passes at a time"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")


def usable_threads(asked: int | None) -> int:
    """Return the number of threads that were asked for, or of the cores there are if fewer."""
    # Not all systems say on which cores a process may run.
    cores = len(psutil.Process().cpu_affinity()) if psutil.LINUX else os.cpu_count() or 1
    return min(asked or cores, cores)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call ``main``; a UserError becomes its lines and status 1.

    Messages go to standard error, where Snakemake's user sees them, and to ``--log``. A
    real defect keeps its traceback, in both places.
    """
    arguments = parser.parse_args()
    # Before main imports anything that could use it. Imported here: it computes nothing, so it is
    # no part of the code that a stage's results depend on.
    from attnlag.model import offline

    offline.forbid_network()
    # A log that the disk has no room for is no reason for more than one line about it.
    logging.raiseExceptions = False
    log.setLevel(logging.INFO)
    _add_handler(_Terminal())
    signal.signal(signal.SIGTERM, _stop)
    program = Path(sys.argv[0]).stem
    try:
        if arguments.log:
            arguments.log.parent.mkdir(parents=True, exist_ok=True)
            # A message may quote text that is no valid Unicode.
            _add_handler(
                logging.FileHandler(
                    arguments.log, mode="w", encoding="utf-8", errors="backslashreplace"
                )
            )
        main(arguments)
    except UserError as error:
        for problem in error.problems:
            log.error("error: %s", problem)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        line = _problem_of_the_machine(error, program, arguments.memory)
        problems = [line] if line else _damaged_inputs(arguments)
        for problem in problems:
            log.error("error: %s", problem)
        if not problems:
            log.exception("%s failed", Path(sys.argv[0]).name)
        sys.exit(1)


def _add_handler(handler: logging.Handler) -> None:
    """Send the messages to one more place, a line each."""
    handler.setFormatter(_OneLine("%(message)s"))
    log.addHandler(handler)


def _stop(*_: object) -> None:
    """Unwind like Ctrl-C when a scheduler says to stop, so that no temporary file stays."""
    # The signal may come twice, from the scheduler and from the shell of the job.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _problem_of_the_machine(error: Exception, program: str, asked: int | None) -> str | None:
    """Return the line for an error that no code is at fault for: memory, disk, permissions."""
    reason = " ".join(str(error).split())
    # torch says so in the text of its errors only, of main memory and of that of a GPU.
    if isinstance(error, MemoryError) or re.search("allocate memory|out of memory", reason):
        # In bytes on a Mac, in kilobytes elsewhere.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return (
            f"{program} ran out of memory with {memory.amount(peak)} taken"
            + (f" ({reason})" if reason else "")
            + f"; {out_of_memory.more_or_less(program, asked)}"
        )
    if is_disk_full(error):
        return f"{program}: found no room left on a disk, expected more ({reason})"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{program}: found {reason}, expected a file or folder that may be read and written"
    return None


def _damaged_inputs(arguments: argparse.Namespace) -> list[str]:
    """Return a line for each table among the inputs that is damaged: why a program may fail."""
    values = [value for name, value in vars(arguments).items() if name != "output"]
    given = [path for value in values for path in (value if isinstance(value, list) else [value])]
    paths = [path for path in given if isinstance(path, Path) and path.suffix == ".parquet"]
    if not paths:
        return []
    from attnlag.storage import tables  # its imports take time

    files: list[Path] = []
    for path in paths:
        # Of shards, the first is given, and the others lie beside it.
        files += sorted(path.parent.glob("[0-9]*.parquet")) if path.stem == "0000" else [path]
    return tables.damaged(path for path in dict.fromkeys(files) if path.is_file())
