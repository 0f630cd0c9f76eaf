"""Run a program of this folder: python scripts/run.py fit_regression --job JSON|FILE."""

import os
import signal


def leave(*_: object) -> None:
    """End without a traceback on Ctrl-C; while modules are imported, nothing is half-written."""
    os._exit(130)


# Where Ctrl-C is ignored, as in the background of a shell, it stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)

from attnlag.pipeline import program  # noqa: E402

program.run()
