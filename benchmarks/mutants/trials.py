"""Trials of mutants: each in a copy of the tracked files, by the tests that execute its line."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mutations import Mutant

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/support"))

import warm_python  # noqa: E402

# Imported once; each trial is a fork that has them.
LIBRARIES = ["pytest", "hypothesis.strategies", "torch", "seaborn", "statsmodels.api"]
LIBRARIES += ["pyarrow.parquet", "transformers.models.gpt2.modeling_gpt2"]

# What pytest returns if a test fails, or a module of tests cannot be imported.
TESTS_FAILED, INTERRUPTED, USAGE_ERROR, NO_TESTS = 1, 2, 4, 5
# The result of a trial that took too long.
TIMED_OUT = -1

# What tests/unit does not execute is tried by a plan, then by plans of a project that has run, and
# by runs if no plan fails.
GRAPH = "tests/workflow/test_graph.py::test_"
PLAN = [f"{GRAPH}the_jobs_of_the_default_run_are_those_of_the_list"]
PLANS = [f"{GRAPH}rules_and_descriptions_agree", "tests/workflow/test_resources.py"]
PLANS += ["tests/workflow/test_reruns.py"]
RUNS = ["tests/workflow/test_programs.py", "tests/workflow/test_run.py"]
TESTS_OF_RUNS = {
    "logger": [["tests/workflow/test_bad_input.py"], RUNS],
    "page": [["tests/report"]],
    "profiles": [["tests/workflow/test_resources.py"]],
    "programs": [RUNS],
    "report": [["tests/report"], ["tests/workflow"]],
    "schemas": [PLAN],
    "workflow": [PLAN, PLANS, RUNS],
}


def package_of(file: str) -> str:
    """Return the name under which a file's mutants are counted."""
    folder, _, name = file.rpartition("/")
    if not file.endswith((".py", "outputs.yaml")):
        if folder.startswith("scripts"):
            return "page"
        if folder == "workflow/schemas":
            return "schemas"
        return folder.partition("/")[0] or "workflow"
    package = folder.removeprefix("scripts/attnlag").strip("/").partition("/")[0]
    if folder == "scripts":
        return "programs"
    if folder.startswith("scripts/snakemake_logger"):
        return "logger"
    return package or name.removesuffix(".py")


def tracked(*patterns: str) -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--", *patterns]
    files = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return [name for name in files.decode().split("\0") if name]


class Tests:
    """Which tests execute a line, and how long they take.

    Attributes
    ----------
    seconds : dict of str to float
        For each function of tests/unit.
    lines : dict of str to dict of int to list of str
        The tests for each line of a file.
    texts : dict of str to str
        A digest of each file, whose lines are known as long as it has not changed.
    """

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text("utf-8"))
        self.seconds: dict[str, float] = content["seconds"]
        self.texts: dict[str, str] = content["texts"]
        self.lines = {
            file: {int(line): tests for line, tests in lines.items()}
            for file, lines in content["lines"].items()
        }

    def of_line(self, mutant: Mutant) -> list[str]:
        """Return the tests that execute a mutant's line, or any of its file if that is unknown."""
        lines = self.lines.get(mutant.file, {})
        found: set[str] = set()
        if self.texts.get(mutant.file) == digest_of(ROOT / mutant.file):
            found.update(lines.get(mutant.line, []))
        if not found:
            found.update(*lines.values())
        return self.in_order(found, mutant)

    def in_order(self, tests: set[str], mutant: Mutant) -> list[str]:
        """Put the tests of the mutant's package first, and the quickest of them."""
        own = own_folder(mutant)
        return sorted(tests, key=lambda name: (not name.startswith(own), self.seconds[name], name))

    def within(self, tests: Sequence[str], seconds: float) -> list[str]:
        """Return the first tests that take so many seconds together."""
        chosen, total = [], 0.0
        for name in tests:
            total += self.seconds[name]
            if total > seconds and chosen:
                break
            chosen.append(name)
        return chosen


def own_folder(mutant: Mutant) -> str:
    names = {"page": "report", **dict.fromkeys(("logger", "programs", "schemas"), "pipeline")}
    package = package_of(mutant.file)
    return f"tests/unit/{names.get(package, package)}/"


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_of_files(folder: Path) -> None:
    """Copy what is tracked to a folder."""
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)


def make_map(folder: Path) -> None:
    """Run tests/unit once, and write map.json: which of them execute a line, and their seconds."""
    import coverage

    with tempfile.TemporaryDirectory() as copy:
        copy_of_files(Path(copy))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"]
        command += ["--cov", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
        command += [f"--junitxml={folder / 'times.xml'}"]
        environment = {**os.environ, "COVERAGE_FILE": str(folder / "coverage")}
        subprocess.run(command, cwd=copy, env=environment, check=True)
        data = coverage.CoverageData(str(folder / "coverage"))
        data.read()
        write_map(folder, data, Path(copy))


def write_map(folder: Path, data: Any, copy: Path) -> None:
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(folder / "times.xml").iter("testcase"):
        file = case.attrib["classname"].replace(".", "/") + ".py"
        seconds[f"{file}::{function_of(case.attrib['name'])}"] += float(case.attrib["time"])
    lines: dict[str, dict[int, list[str]]] = {}
    for measured in data.measured_files():
        name = str(Path(measured).relative_to(copy))
        lines[name] = {}
        for line, contexts in data.contexts_by_lineno(measured).items():
            tests = {function_of(context.rpartition("|")[0]) for context in contexts if context}
            lines[name][line] = sorted(tests & seconds.keys())
    texts = {name: digest_of(ROOT / name) for name in lines}
    content = {"seconds": seconds, "texts": texts, "lines": lines}
    (folder / "map.json").write_text(json.dumps(content), "utf-8")


def function_of(name: str) -> str:
    """Return a test's name without its parameters."""
    return name.partition("[")[0]


def run_tests(copy: Path, tests: Sequence[str], seconds: int, log: Path) -> None:
    """Run tests in a copy of the files, in a process of its own; leave with pytest's status."""
    os.setsid()
    # An endless loop takes time of the processor; a busy machine takes none of it.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(copy)
    import pytest

    options = ["-x", "-q", "--tb=line", "--cold", "-p", "no:cacheprovider"]
    os._exit(pytest.main([*options, *tests]))


def tried(copy: Path, tests: Sequence[str], seconds: int, log: Path) -> int:
    """Return pytest's status for these tests in the copy, or TIMED_OUT."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=run_tests, args=(copy, tests, seconds, log))
    process.start()
    # Tests that wait for a process that has ended take no time of the processor.
    process.join(10 * seconds)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    ended_by_signal = process.exitcode is None or process.exitcode < 0
    return TIMED_OUT if ended_by_signal else process.exitcode


def died(status: int, printed: str) -> bool:
    """Return whether tests failed, or could not even be imported."""
    # A test that is not there is a mistake of the map's, unless its module cannot be imported.
    if status == USAGE_ERROR and "not found: " in printed and "ERROR collecting" not in printed:
        raise RuntimeError(printed)
    return status not in (0, NO_TESTS)


def stages_of(mutant: Mutant, tests: Tests, seconds: float, workflow: bool) -> Iterator[list[str]]:
    """Yield the tests that a mutant is tried by, in turn."""
    of_line = tests.within(tests.of_line(mutant), seconds)
    if of_line:
        yield of_line
    own = own_folder(mutant)
    rest = {name for name in tests.seconds if name.startswith(own)} - set(of_line)
    if rest:
        yield tests.within(tests.in_order(rest, mutant), seconds)
    if workflow:
        yield from TESTS_OF_RUNS.get(package_of(mutant.file), [["tests/workflow"]])


def outcome(mutant: Mutant, tests: Tests, seconds: float, workflow: bool) -> dict[str, Any]:
    """Try a mutant, and return what its row in results.jsonl adds to it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy, log = Path(folder) / "copy", Path(folder) / "log"
        copy_of_files(copy)
        path = copy / mutant.file
        path.write_text(mutant.applied_to(path.read_text("utf-8")), "utf-8")
        found, by = "survived", ""
        for chosen in stages_of(mutant, tests, seconds, workflow):
            limit = int(30 + 10 * sum(tests.seconds.get(name, 60) for name in chosen))
            status = tried(copy, chosen, limit, log)
            printed = log.read_text("utf-8", "replace")
            if died(status, printed):
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", printed, re.M)
                by = failed[1] if failed else "time" if status == TIMED_OUT else "import"
                own = by in ("time", "import") or by.startswith(own_folder(mutant))
                found = "own" if own else "others"
                break
    return {"outcome": found, "by": by, "seconds": round(time.monotonic() - began, 1)}


@contextlib.contextmanager
def warm_interpreters() -> Iterator[None]:
    """Have interpreters ready that have imported the libraries: for pytest, and for programs."""
    with tempfile.TemporaryDirectory(prefix="attnlag-python-") as folder:
        server, os.environ[warm_python.VARIABLE] = warm_python.start(Path(folder))
        # Each program is a fork of the server, with the same limit.
        resource.prlimit(server.pid, resource.RLIMIT_CPU, (600, 600))
        multiprocessing.get_context("forkserver").set_forkserver_preload(LIBRARIES)
        try:
            yield
        finally:
            server.terminate()
            server.wait()
