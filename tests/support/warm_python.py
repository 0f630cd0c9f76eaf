"""An interpreter that has already imported the libraries, so that programs of tests start at once.

Imports take most of the time of such a program: 2 CPU seconds for snakemake, 6 for torch and
transformers. A server imports the libraries once. A small client, called in place of ``python``,
asks the server to fork. The fork runs the requested program with the arguments, environment,
folder, open files, mounts and network of the caller, and returns the exit status to it. The server
imports no module of attnlag, so each program reads the code of its own project.

Code that is given neither as a file nor with ``-m`` runs in a new interpreter. So does a program
whose environment contains settings that libraries read on import, with two frequent exceptions: a
number of threads is passed to torch, and the library that reads the address of a hub is imported
anew. Tests of crashes, of locks and of equal bytes start new interpreters themselves.
"""

import ast
import atexit
import contextlib
import ctypes
import gc
import importlib
import mmap
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path

# What these import in turn needs no line.
LIBRARIES = """
    snakemake.cli snakemake.assets snakemake.report snakemake.storage seaborn pyarrow.dataset
    pyarrow.parquet matplotlib.backends.backend_agg matplotlib.backends.backend_svg requests
    transformers.models.gpt2.modeling_gpt2 transformers.models.gpt2.tokenization_gpt2
    transformers.models.llama.modeling_llama statsmodels.stats.multitest
    statsmodels.graphics.gofplots
""".split()

# Prefixes of variables that libraries read on import. If they differ, a new interpreter starts.
SETTINGS = ("TRANSFORMERS_", "PYTHON", "MPL", "OMP_", "SAFETENSORS")
# Exceptions, which a fork applies: threads, and the prefix for a hub and the library that reads it.
THREADS = "OMP_NUM_THREADS"
HUB, READ_BY = "HF_", "huggingface_hub"

# Of Linux since 6.1; Python has no name for it.
MADV_COLLAPSE = 25

# The client is a separate program that imports almost nothing.
CLIENT = """\
#!{python} -IS
import os, sys

# What the modules without the underscore import in turn takes half of the time of a client.
import _signal as signal
import _socket as sockets

PYTHON, ADDRESS, SETTINGS, SAME = {python!r}, {address!r}, {settings!r}, {same!r}
ready = sys.argv[1:2] == ["-m"] or sys.argv[1:2] and sys.argv[1].endswith(".py")
if not ready or any(
    name.startswith(SETTINGS) and name != {threads!r} and SAME.get(name) != value
    for name, value in os.environ.items()
):
    os.execv(PYTHON, [PYTHON, *sys.argv[1:]])

connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
connection.connect(ADDRESS)
files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
connection.sendmsg([b"."], [(sockets.SOL_SOCKET, sockets.SCM_RIGHTS, files)])
connection.sendall(repr((os.getcwd(), sys.argv[1:], dict(os.environ))).encode())
connection.shutdown(sockets.SHUT_WR)
pid = int.from_bytes(connection.recv(8), "big")


def hand_on(number, frame):
    try:
        os.kill(pid, number)
    except OSError:
        pass


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, hand_on)
status = connection.recv(1)
os._exit(status[0] if status else 137)
"""


# The variable that tells tests the path of the client; pytest --cold leaves it unset.
VARIABLE = "ATTNLAG_TESTS_PYTHON"


def python() -> str:
    """Return the program to call in place of ``python``."""
    return os.environ.get(VARIABLE, sys.executable)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server, which the caller ends, and write its socket and the client to a folder.

    Return the server, and the program to call in place of ``python``.
    """
    address = folder / "socket"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(address))
    listening.listen(1024)
    python = folder / "python"
    same = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    text = CLIENT.format(
        python=sys.executable, address=str(address), settings=SETTINGS, same=same, threads=THREADS
    )
    python.write_text(text, encoding="utf-8")
    python.chmod(0o755)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "USE_HUB_KERNELS": "0"}
    server = subprocess.Popen(
        [sys.executable, __file__, str(listening.fileno()), str(python)],
        pass_fds=[listening.fileno()],
        env=environment,
        start_new_session=True,
    )
    listening.close()
    return server, str(python)


def serve(listening: socket.socket, python: str) -> None:
    """Import the libraries at the first request, and fork for each request."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    select.select([listening], [], [])
    for library in LIBRARIES:
        importlib.import_module(library)
    share_memory()
    # A caller that waits for the end of a program waits until the program is reaped.
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listening.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = 1
        try:
            status = run(connection, python)
        finally:
            connection.send(bytes([status]))
            os._exit(status)


def share_memory() -> None:
    """Spare forks most copies of the memory of the libraries."""
    # These objects are neither freed nor, at the end of each fork, finalized.
    gc.collect()
    for each in gc.get_referents(*gc.get_objects()):
        if type(each) is weakref.finalize:
            each.detach()
    gc.freeze()
    # Linux forks huge pages at once. Where it has no such advice, all works as well.
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, *_, file_or_inode = line.split()
        if rights.startswith("rw") and file_or_inode in ("0", "[heap]"):
            start, end = (int(address, 16) for address in addresses.split("-"))
            for advice in (mmap.MADV_HUGEPAGE, MADV_COLLAPSE):
                advise(start, end - start, advice)


def reap() -> None:
    """Reap the forks that have ended, so that their time counts as the server's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def enter_namespaces(connection: socket.socket) -> None:
    """Enter the mount and network namespaces of the caller, if it has its own."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, _, _ = struct.unpack("3i", credentials)
    with contextlib.ExitStack() as stack:
        others = [
            stack.enter_context(open(f"/proc/{pid}/ns/{kind}"))
            for kind in ("user", "mnt", "net")
            if os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
        ]
        for file in others:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")


def apply_settings(before: dict[str, str]) -> None:
    """Make the libraries behave as if they had been imported in the current environment."""
    import torch

    torch.set_num_threads(int(os.environ.get(THREADS, os.cpu_count() or 1)))
    settings = {name: value for name, value in os.environ.items() if name.startswith(HUB)}
    if not settings.items() <= before.items():
        for name in list(sys.modules):
            if name.partition(".")[0] == READ_BY:
                del sys.modules[name]


def run(connection: socket.socket, python: str) -> int:
    """Run the requested program and return its exit status."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as asked:
        folder, arguments, environment = ast.literal_eval(asked.read().decode())
    enter_namespaces(connection)
    connection.send(os.getpid().to_bytes(8, "big"))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = stderr
    os.chdir(folder)
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    apply_settings(before)
    # Programs that it starts use the server too.
    sys.executable = python
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path[0] = folder
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = str(Path(arguments[0]).resolve().parent)
            runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            sys.stdout.flush()
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    # As at the end of an interpreter: wait for threads, call registered functions.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status & 0xFF


if __name__ == "__main__":
    try:
        serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    finally:
        reap()
