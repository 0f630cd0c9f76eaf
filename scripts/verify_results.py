"""Check every result, and every file of the user's, against the record of what was made.

The program reads all files again. One line names each file that has changed, that is missing, or
that no recorded job made; the exit status is 1 if there is any. `snakemake -n` says whether the
results match the current configuration. Run this from the project's folder; it needs no network.
"""

import argparse
import sys

from attnlag.errors import counted
from attnlag.pipeline import records

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)


def main(_: argparse.Namespace) -> None:
    record = records.read()
    if record is None:
        sys.exit(f"error: found no {records.RECORD}: it is written when a run ends")
    problems = records.check(record)
    for file, problem in problems.items():
        print(f"{file}: {problem}")
    count = len(record["files"]) + len(record.get("inputs", {}))
    if problems:
        sys.exit(f"{counted(len(problems), 'file')} not as recorded, of {count} on record")
    print(f"{counted(count, 'file')} as recorded")


if __name__ == "__main__":
    main(parser.parse_args())
