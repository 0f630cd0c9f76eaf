"""The jobs of the workflow: their settings, their files, their record, and how a program runs.

Where no room is left, Python leaves a truncated module under its final name, which fails at every
later import. So the programs, and Snakemake once it has imported this, store no compiled modules
where there is little room.
"""

import resource
import shutil
import sys

# Bytes that other jobs may write while a program imports its modules.
ROOM = 1_000_000_000

_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
if _limit == resource.RLIM_INFINITY:
    _limit = ROOM
if min(_limit, *(shutil.disk_usage(place).free for place in (sys.prefix, __file__))) < ROOM:
    sys.dont_write_bytecode = True
