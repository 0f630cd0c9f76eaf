#!/usr/bin/env python3
"""Check every result against the record of what made it, and say what is not as recorded.

Everything is read again: a line says for each file what differs: its content, its settings or its
code from what the configuration asks for now, or a file that it was made from. Files that nothing
on record has made are named too. The status is 1 if there is any such line. Run it from the
project's folder; it needs no network.
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

from attnlag.errors import counted
from attnlag.pipeline import records

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument(
    "--configfile",
    type=Path,
    action="append",
    default=[],
    metavar="FILE",
    help="the configuration, if not config/config.yaml; as given to snakemake",
)


@contextlib.contextmanager
def workflow(configfiles):
    """Yield Snakemake's workflow with its graph of jobs; nothing is run."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        made = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configfiles),
            snakefile=Path("Snakefile"),
        )
        made.dag()
        # Snakemake has no public way to a graph that is neither printed nor run.
        graph: Any = made._workflow
        graph._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        graph._build_dag()
        yield graph


def main(arguments):
    record = records.read()
    if record is None:
        sys.exit(
            f"error: found no {records.RECORD}: it is written when a run ends. "
            "'snakemake --forcerun check_fits' writes it for results that were made before"
        )
    with workflow(arguments.configfile) as graph:
        problems, count = records.check(record, records.planned(graph))
    for file, found in problems.items():
        print(f"{file}: {'; '.join(found)}")
    if problems:
        sys.exit(f"{counted(len(problems), 'file')} not as recorded, of {count} on record")
    print(f"{counted(count, 'file')} as recorded")


if __name__ == "__main__":
    main(parser.parse_args())
