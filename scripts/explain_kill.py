#!/usr/bin/env python3
"""Say of a program that was killed what it was and what to do; it could not do so itself.

Called by the job's shell, with the status of the program and the program's own command line. Of a
program that has failed with status 1 nothing is said if it has told why, as its log shows, or has
not come as far as to open its log.
"""

import argparse
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from attnlag.pipeline import out_of_memory

parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
parser.add_argument("status", type=int, help="128 and the number of the signal, or 1")
parser.add_argument("program", help="the program, and what it was called with")
parser.add_argument("--memory", type=int)
parser.add_argument("--log", type=Path)


def main():
    args, _ = parser.parse_known_args()
    if args.status == 1 and (not args.log or has_told(args.log)):
        return
    number = args.status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    program = Path(args.program).stem
    line = f"error: {program} was {'ended by a library' if number < 0 else f'killed ({name})'}"
    # Other signals are those of a defect, and no memory would help.
    if number < 0 or number in (signal.SIGKILL, signal.SIGABRT):
        advice = out_of_memory.more_or_less(program, args.memory)
        line += f", as happens when memory runs out; {advice}"
    print(line, file=sys.stderr)
    if args.log and args.log.parent.exists():
        # On a full disk the terminal has it all the same.
        with suppress(OSError), args.log.open("a", encoding="utf-8") as log:
            print(line, file=log)


def has_told(log):
    """Return whether a program has written an error to its log, or not yet opened it."""
    if shutil.disk_usage(log.parent).free < 1e6:
        return True  # what it has told had no room there
    began = float(os.environ.get("ATTNLAG_BEGAN", 0))
    if not log.exists() or log.stat().st_mtime < began:
        return True
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.startswith(("error: ", "Traceback ")) for line in lines)


if __name__ == "__main__":
    main()
