"""A program under a limit of memory ends in one line, wherever the limit is reached."""

import resource
import sys

import pytest
from projects import ROOT, ran


# Each limit is reached where a library is loaded. Where it is reached while Python itself handles
# an exception, CPython 3.11 may go round in circles.
@pytest.mark.parametrize("megabytes", [400, 700])
def test_imports_that_lack_memory_end_in_a_line(megabytes: int) -> None:
    """The program is not called yet, so its job does not matter."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    program = ROOT / "scripts" / "extract_activations.py"
    command = [sys.executable, program, "--job", "{}", "--memory", "2500"]
    result = ran(command, status=1, preexec_fn=limit)
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("OpenBLAS")]
    assert line.startswith("error: extract_activations ran out of memory with ")
    assert "it asked for mem_mb: 2500; give it more" in line
