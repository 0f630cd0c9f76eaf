"""How a program ends that lacks memory or room, or fails."""

import marshal
import resource
import sys

import pytest
from programs import job_of
from projects import ROOT, environment_of_a_user, ran


# Each limit is reached where a library is loaded. Where it is reached while Python itself handles
# an exception, CPython 3.11 may go round in circles.
@pytest.mark.parametrize("megabytes", [400, 700])
def test_imports_that_lack_memory_end_in_a_line(megabytes):
    """The program is not called yet, so its job does not matter."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    program = ROOT / "scripts" / "extract_activations.py"
    command = [sys.executable, program, "--job", "{}", "--memory", "2500"]
    result = ran(command, status=1, preexec_fn=limit)
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("OpenBLAS")]
    assert line.startswith("error: extract_activations ran out of memory with ")
    assert "it asked for mem_mb: 2500; give it more" in line


def test_no_compiled_module_is_cut_off(tmp_path):
    """No file may have more than 4 kB, as if the disk were full; Python reports no error."""
    environment = {**environment_of_a_user(), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    # Python's own modules are compiled long before.
    modules = {"unlimited": "resource, shutil, typing", "4": "attnlag.pipeline.program"}
    for limit, names in modules.items():
        command = f"ulimit -f {limit}; {sys.executable} -c 'import {names}'"
        ran(["bash", "-c", command], cwd=ROOT / "scripts", env=environment)
    for path in tmp_path.rglob("*.pyc"):
        marshal.loads(path.read_bytes()[16:])


def test_a_traceback_keeps_its_lines():
    """Control characters in it are escaped."""
    code = (
        "from attnlag.pipeline import program\n"
        "def main(job): raise RuntimeError('\\x1b[2J')\n"
        "program.run(main)\n"
    )
    command = [sys.executable, "-c", code, *job_of("none", {}, {})]
    lines = ran(command, status=1, cwd=ROOT / "scripts").stderr.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == r"RuntimeError: \x1b[2J"


def test_the_memory_of_a_program_is_not_that_of_what_started_it():
    printed = "from attnlag.pipeline import program; print(program._peak())"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {printed!r}])"
    done = ran([sys.executable, "-c", f"large = bytearray(500_000_000); {starts}"])
    assert 1e7 < int(done.stdout) < 4e8
