"""Shared parts of the programs in ``scripts/``: command line, log, and failure."""

import argparse
import errno
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter
from tqdm import tqdm

from attnlag.errors import UserError
from attnlag.escaping import text_for
from attnlag.pipeline import out_of_memory
from attnlag.storage import memory
from attnlag.storage.writing import is_disk_full

log = logging.getLogger("attnlag")


class _OneLine(logging.Formatter):
    """Keeps a message on one line, even if it quotes line ends; a traceback has its own lines.

    Messages of success end with the seconds since the start of the program.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = text_for("line", super().formatMessage(record))
        if record.levelno > logging.INFO:
            return message
        return f"{message} ({record.created - psutil.Process().create_time():.1f} s)"

    def formatException(self, info: Any) -> str:
        return "\n".join(text_for("line", one) for one in super().formatException(info).split("\n"))


class _Terminal(logging.Handler):
    """Prints to standard error, on a separate line if a progress bar is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def argument_parser(
    description: str | None, settings: type | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options common to all programs.

    Parameters
    ----------
    description : str
        Description of the program, for the help.
    settings : type, optional
        The dataclass of the stage's settings, which the program receives as ``settings``.
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
        help="the memory that this job requested, for the message if it is not enough",
    )
    parser.add_argument("--log", type=Path, help="also write the messages to this file")
    return parser


def add_model_options(parser: argparse.ArgumentParser, *, batch_tokens: int) -> None:
    """Add the options of a program that runs a model; none of them changes a result."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--batch-tokens", type=int, default=batch_tokens, help="tokens in simultaneous passes"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")


def usable_threads(asked: int | None) -> int:
    """Return the requested number of threads, but at most the number of cores."""
    # Only some systems state the cores that a process may use.
    cores = len(psutil.Process().cpu_affinity()) if psutil.LINUX else os.cpu_count() or 1
    return min(asked or cores, cores)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call ``main``; a UserError becomes its lines and status 1.

    Messages go to standard error, where the user of Snakemake sees them, and to ``--log``. Other
    exceptions keep their traceback in both places.
    """
    arguments = parser.parse_args()
    # This runs before main imports anything that could use the network. The module is imported
    # here, so that it is not part of the code that a stage's results depend on.
    from attnlag.model import offline

    offline.forbid_network()
    # If the disk has no room for the log, one line about it is enough.
    logging.raiseExceptions = False
    log.setLevel(logging.INFO)
    _add_handler(_Terminal())
    signal.signal(signal.SIGTERM, _stop)
    program = Path(sys.argv[0]).stem
    try:
        if arguments.log:
            arguments.log.parent.mkdir(parents=True, exist_ok=True)
            # A message may quote text that is not valid Unicode.
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
    """Also send the messages to a handler, one line each."""
    handler.setFormatter(_OneLine("%(message)s"))
    log.addHandler(handler)


def _stop(*_: object) -> None:
    """Unwind as for Ctrl-C when a scheduler stops the job, so that no temporary file remains."""
    # The signal may arrive twice, from the scheduler and from the shell of the job.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _problem_of_the_machine(error: Exception, program: str, asked: int | None) -> str | None:
    """Return the line for an error of memory, disk or permissions; None for other errors."""
    reason = " ".join(str(error).split())
    # torch reports a lack of memory, also on a GPU, only in the text of its errors.
    if isinstance(error, MemoryError) or re.search("allocate memory|out of memory", reason):
        # The unit is bytes on macOS and kilobytes elsewhere.
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
    """Return a line for each damaged table among the inputs, which may explain a failure."""
    values = [value for name, value in vars(arguments).items() if name != "output"]
    given = [path for value in values for path in (value if isinstance(value, list) else [value])]
    paths = [path for path in given if isinstance(path, Path) and path.suffix == ".parquet"]
    if not paths:
        return []
    from attnlag.storage import tables  # Its imports take time.

    files: list[Path] = []
    for path in paths:
        # Only the first shard is given; the others lie beside it.
        files += sorted(path.parent.glob("[0-9]*.parquet")) if path.stem == "0000" else [path]
    return tables.damaged(path for path in dict.fromkeys(files) if path.is_file())
