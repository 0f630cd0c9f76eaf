"""What every program in ``scripts/`` shares: its command line, its log, its way to fail."""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, printable

log = logging.getLogger("attnlag")


class _OneLine(logging.Formatter):
    """Keeps a message on its line, whatever is quoted in it; a traceback has its own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, info: Any) -> str:
        return "\n".join(map(printable, super().formatException(info).split("\n")))


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the three options that every program has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--settings",
        type=json.loads,
        default={},
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


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call ``main``; a UserError becomes its lines and status 1.

    Messages go to standard error, where Snakemake's user sees them, and to ``--log``. A
    real defect keeps its traceback, in both places.
    """
    arguments = parser.parse_args()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if arguments.log:
        arguments.log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            # A message may quote text that is no valid Unicode.
            logging.FileHandler(
                arguments.log, mode="w", encoding="utf-8", errors="backslashreplace"
            )
        )
    for handler in handlers:
        handler.setFormatter(_OneLine("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    # A scheduler's signal to stop unwinds like Ctrl-C, so that no temporary file stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(arguments)
    except UserError as error:
        for problem in error.problems:
            log.error("error: %s", problem)
        sys.exit(1)
    except MemoryError as error:
        reason = " ".join(str(error).split())
        asked = f" (mem_mb: {arguments.memory})" if arguments.memory else ""
        log.error(
            "error: %s ran out of memory%s%s",
            Path(sys.argv[0]).name,
            asked,
            f": {reason}" if reason else "",
        )
        sys.exit(1)
    except Exception:
        log.exception("%s failed", Path(sys.argv[0]).name)
        sys.exit(1)
