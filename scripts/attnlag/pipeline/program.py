"""Shared parts of the programs of stages in ``scripts/``: command line, log, and failure."""

import argparse
import errno
import importlib
import itertools
import logging
import os
import re
import resource
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from tqdm import tqdm

from attnlag.errors import UserError, amount, missing_extra
from attnlag.escaping import text_for
from attnlag.pipeline.job import read
from attnlag.storage.made_by import state_job
from attnlag.storage.writing import is_disk_full, is_too_large

log = logging.getLogger("attnlag")

# What reduces the memory of programs for which more shards of the corpus are of no use.
LESS_MEMORY = {
    "estimate_effects": "a lower causal.batch_tokens or causal.document_tokens",
    "extract_activations": "a lower extraction.batch_tokens",
    "extract_revision": "a lower extraction.batch_tokens",
    "extract_untrained": "a lower extraction.batch_tokens",
    "fetch_model": "a smaller model",
    "fetch_revision": "a smaller model",
    "trace_sources": "a lower sources.document_tokens",
}
LACKS_MEMORY = "allocate memory|out of memory|failed to map segment|start new thread|bad_alloc"


class _OneLine(logging.Formatter):
    """Keeps a message on one line, even if it quotes line ends; a traceback has its own lines.

    Messages of success end with the time since the start of the program and its largest memory.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = text_for("line", super().formatMessage(record))
        if record.levelno > logging.INFO:
            return message
        seconds = record.created - psutil.Process().create_time()
        return f"{message} ({seconds:.1f} s, {amount(_peak())})"

    def formatException(self, info: Any) -> str:
        return "\n".join(
            text_for("line", line) for line in super().formatException(info).split("\n")
        )


class _Terminal(logging.Handler):
    """Prints to standard error, on a separate line if a progress bar is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _usable_threads(asked: int | None) -> int:
    """Return the requested number of threads, but at most the number of cores."""
    # Only some systems state the cores that a process may use.
    cores = len(psutil.Process().cpu_affinity()) if psutil.LINUX else os.cpu_count() or 1
    return min(asked or cores, cores)


def run() -> None:
    """Run the program of ``scripts/`` that the command line names, with its job.

    Its ``main`` gets the job, and its settings if it has any, of the class of their annotation.
    Without a job, its needs are printed. A UserError becomes its lines and status 1; other
    exceptions, those of its imports too, keep their traceback. Messages go to ``--log``, which ends
    with the command if the program failed; warnings and problems also go to standard error, where
    the user of Snakemake sees them. Without ``--log``, all do.
    """
    arguments, others = _command_line()
    # This runs before the program is imported, which may import what could use the network. The
    # module is imported here, so that it is not part of the code that a stage's results depend on.
    from attnlag.model import offline

    offline.forbid_network()
    if arguments.job is None or others:
        _print_needs(arguments.program, others)
        return
    _log_to_terminal(warnings_alone=bool(arguments.log))
    signal.signal(signal.SIGTERM, _stop)
    stage = arguments.program
    inputs = SimpleNamespace()
    try:
        main = importlib.import_module(arguments.program).main
        # From here on Ctrl-C unwinds, so that no temporary file remains.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if arguments.log:
            _log_to_file(arguments.log)
        settings = main.__annotations__.get("settings")
        job = read(arguments.job, settings, _usable_threads(arguments.threads))
        stage = job.stage
        inputs = job.input
        state_job(job.stage, vars(job.names), job.stated_settings)
        main(job, job.settings) if settings else main(job)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problems = _problems(error, stage, inputs)
        if not problems:
            log.exception("%s.py failed", arguments.program)
        for problem in problems:
            log.error("error: %s", problem)
        if arguments.log:
            with suppress(OSError), arguments.log.open("a", encoding="utf-8") as file:
                file.write(f"to run it again: {text_for('line', _command())}\n")
        sys.exit(1)


def _command_line() -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments, and those that no program has."""
    folder = Path(sys.argv[0]).parent
    names = sorted(path.stem for path in folder.glob("*.py") if path.name != Path(sys.argv[0]).name)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("program", choices=names, metavar="PROGRAM")
    parser.add_argument("--job")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--log", type=Path)
    return parser.parse_known_args()


def _print_needs(program: str, others: list[str]) -> None:
    """Print what a program reads and writes, and end with an error if it has unknown arguments."""
    from attnlag.pipeline.needs import described

    needs = described(importlib.import_module(program))
    if others:
        sys.exit(f"usage: {sys.argv[0]} {program} --job JSON|FILE\n\n{needs}")
    print(needs)


def _log_to_terminal(*, warnings_alone: bool) -> None:
    """Print messages; warnings alone if a log has what a job has done, which the run quotes."""
    # If the disk has no room for the log, one line about it is enough.
    logging.raiseExceptions = False
    log.setLevel(logging.INFO)
    terminal = _Terminal()
    if warnings_alone:
        terminal.setLevel(logging.WARNING)
    _add_handler(terminal)


def _log_to_file(path: Path) -> None:
    """Write messages to a log, whose folder may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A message may quote text that is not valid Unicode.
    _add_handler(logging.FileHandler(path, "w", "utf-8", errors="backslashreplace"))


def _problems(error: Exception, stage: str, inputs: SimpleNamespace) -> list[str]:
    """Return a line for each cause that a user can remove; none for an error of the program."""
    if isinstance(error, UserError):
        return error.problems
    if isinstance(error, ModuleNotFoundError):
        missing = missing_extra(error, stage)
        return missing.problems if missing else []
    return _problem_of_the_machine(error, stage) or _damaged_inputs(inputs)


def _command() -> str:
    """Return the command of this process; it is to be run in the same folder."""
    words = []
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if name in os.environ:
            words.append(f"{name}={shlex.quote(os.environ[name])}")
    words.append(shlex.join([sys.executable, *sys.argv]))
    return " ".join(words)


def _add_handler(handler: logging.Handler) -> None:
    """Also send the messages to a handler, one line each."""
    handler.setFormatter(_OneLine("%(message)s"))
    log.addHandler(handler)


def _stop(*_: object) -> None:
    """Unwind as for Ctrl-C when a scheduler stops the job, so that no temporary file remains."""
    # The signal may arrive twice, from the scheduler and from the shell of the job.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _problem_of_the_machine(error: BaseException, stage: str) -> list[str]:
    """Return the line for an error of memory, disk or permissions; nothing for other errors."""
    reason = " ".join(str(error).split())
    # Libraries report a lack of memory, also on a GPU, only in the text of their errors.
    if isinstance(error, MemoryError) or re.search(LACKS_MEMORY, reason):
        less = LESS_MEMORY.get(stage, "more shards of the corpus")
        advice = f"expected more memory or less to hold ({less})"
        asked = dict(itertools.pairwise(sys.argv)).get("--memory")
        if asked:
            advice = (
                f"it asked for mem_mb: {asked}; give it more (fewer jobs at a time: --cores 1; on "
                f"a cluster: --set-resources {stage}:mem_mb={2 * int(asked)}) or less to hold "
                f"({less})"
            )
        taken = f"{amount(_peak())} taken"
        if reason:
            taken += f" ({reason})"
        return [f"{stage} ran out of memory with {taken}; {advice}"]
    if is_disk_full(error):
        return [f"{stage}: found no room left on a disk, expected more ({reason})"]
    if is_too_large(error):
        return [f"{stage}: found a limit of the size of files, expected a larger one (ulimit -f)"]
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return [f"{stage}: found {reason}, expected a file or folder that may be read and written"]
    return []


def _peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    if psutil.LINUX:
        # Here, getrusage also counts the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])
    # The unit is bytes on macOS and kilobytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _damaged_inputs(inputs: SimpleNamespace) -> list[str]:
    """Return a line for each damaged table among the inputs, which may explain a failure."""
    paths: dict[Path, None] = {}
    for files in vars(inputs).values():
        paths |= dict.fromkeys([files] if isinstance(files, Path) else files)
    tables = [path for path in paths if path.suffix == ".parquet" and path.is_file()]
    if not tables:
        return []
    from attnlag.storage.tables import damaged  # Its imports take time.

    return damaged(tables)
