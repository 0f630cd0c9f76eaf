"""Each program of the pipeline notes at its end what it used, for scaling.py, which looks there.

Python runs this module at its start where its folder is on PYTHONPATH. Imports count wherever they
happen; those of one import statement once, with all that it imports in turn.
"""

import atexit
import builtins
import importlib
import json
import os
import sys
import time

depth = 0
# Time of the interpreter itself until here.
importing = time.process_time()


def timed(function):
    """Return a function that imports, and adds the CPU time of its outermost calls."""

    def import_(*arguments, **options):
        global depth, importing
        if depth:
            return function(*arguments, **options)
        depth, begun = 1, time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            depth = 0
            importing += time.thread_time() - begun

    return import_


def stage(job):
    """Return the rule of a job, which is JSON or a file with it; figures share a program."""
    if not job.startswith("{"):
        with open(job) as file:
            job = file.read()
    return json.loads(job)["stage"]


def note():
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    used = {
        "program": stage(sys.argv[sys.argv.index("--job") + 1]),
        "cpu": time.process_time(),
        "importing": importing,
        "peak": peak / 1024,
        "asked": int(sys.argv[sys.argv.index("--memory") + 1]),
    }
    log = sys.argv[sys.argv.index("--log") + 1]
    path = os.path.join(os.environ["ATTNLAG_OBSERVED"], log.replace("/", "|") + ".json")
    with open(path, "w") as file:
        json.dump(used, file)


if "ATTNLAG_OBSERVED" in os.environ and "--log" in sys.orig_argv:
    builtins.__import__ = timed(builtins.__import__)
    importlib.import_module = timed(importlib.import_module)
    atexit.register(note)
