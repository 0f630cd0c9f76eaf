"""Kill runs at random moments and check that the next plain run repairs everything.

    python tests/support/killing.py                             # 50 of each kind, see make crashes
    python tests/support/killing.py --kills 10 --seed 7 --what job

Each time a copy of a small project, part of it made already, is run with ``snakemake --cores 2``
and something in it is killed (SIGKILL) at a random moment:

- ``workflow``: snakemake's own process. Its jobs live on, beside those of the next run.
- ``group``: snakemake and its jobs, all at once.
- ``job``: a job's program.

The same command is then run again. It must succeed, leave the same bytes as an undisturbed run and
no temporary files, and find nothing to do when it is called once more.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SUPPORT = Path(__file__).parent
sys.path[:0] = [str(SUPPORT), str(SUPPORT.parents[1] / "scripts")]

from projects import Project, environment_of_a_user, new_project, save_gpt2, save_tokenizer  # noqa: E402
from warm_python import VARIABLE, python  # noqa: E402
from warm_python import start as start_server  # noqa: E402

KINDS = ("workflow", "group", "job")
SHARDS = 3
# The last rule that has finished before a run is killed; None for a new project.
STAGES = (None, "tokenize_corpus", "extract_activations", "build_design")


@dataclass
class Prepared:
    """Starting points of the runs to be killed, and the files that an undisturbed run leaves."""

    states: list[Project]  # not to be changed
    seconds: list[float]  # of a run from each state to the next, and from the last to the end
    expected: dict[str, bytes]  # contents by path
    targets: tuple[str, ...]  # of all runs; everything if empty


def left_by(project: Project) -> dict[str, bytes]:
    """Return the content of every file below results/ and data/models/, by path."""
    # An empty folder that is left behind counts too.
    return {
        str(path.relative_to(project.folder)): path.read_bytes() if path.is_file() else b""
        for folder in ("results", "data/models")
        for path in (project.folder / folder).rglob("*")
    }


def prepare(
    folder: Path,
    model: Path,
    stages: tuple[str | None, ...] = STAGES,
    targets: tuple[str, ...] = (),
) -> Prepared:
    """Run a small project once, undisturbed, and keep a copy after each stage."""
    project = new_project(folder / "project", model)
    corpus = {**project.config["corpora"]["small"], "shards": SHARDS}
    project.write_config(corpora={"small": corpus})
    states, seconds = [], []
    for stage, following in zip(stages, (*stages[1:], None), strict=True):
        states.append(project.copy(folder / f"after {stage or 'nothing'}"))
        began = time.monotonic()
        project.run(*targets, *(["--until", following] if following else []))
        seconds.append(time.monotonic() - began)
    return Prepared(states, seconds, left_by(project), targets)


def start(
    project: Project, printed: Path, targets: tuple[str, ...], interpreter: str = sys.executable
) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own; what it prints goes to a file."""
    with printed.open("wb") as output:
        return subprocess.Popen(
            [interpreter, "-m", "snakemake", "--cores", "2", *targets],
            cwd=project.folder,
            env=environment_of_a_user(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A process that a shell starts in the background inherits that SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def processes_in(folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes that work in a folder, whoever started them."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()) == folder:
                yield process


def jobs_of(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the programs of a run's jobs."""
    jobs = []
    with suppress(psutil.Error):
        for process in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                if program_of(process):
                    jobs.append(process)
    return jobs


def program_of(process: psutil.Process) -> str:
    """Return the name of the program of a job that a process runs, if it is one."""
    # A shell has the whole command in one argument.
    names = [re.search(r"scripts/(\w+)\.py$", word) for word in process.cmdline()[1:]]
    return next((name[1] for name in names if name), "")


def kill(run: subprocess.Popen[bytes], kind: str, chance: random.Random) -> str:
    """Kill a run or one of its jobs; return what was killed, in words."""
    while run.poll() is None:
        if kind == "group":
            os.killpg(run.pid, signal.SIGKILL)
            return kind
        if kind == "workflow":
            run.kill()
            return kind
        if jobs := sorted(jobs_of(run), key=lambda process: process.pid):
            job = chance.choice(jobs)
            with suppress(psutil.Error):
                program = program_of(job)
                job.kill()
                return program
        time.sleep(0.02)
    return "nothing"


def wait_for_jobs(folder: Path) -> None:
    """Wait until no process works in a folder."""
    _, alive = psutil.wait_procs(list(processes_in(folder)), timeout=300)
    assert not alive, alive


def problems_of(project: Project, expected: dict[str, bytes]) -> list[str]:
    """Return the differences between a project's files and the expected ones."""
    files = left_by(project)
    return [
        f"{path}: {'left behind' if path not in expected else 'different or missing'}"
        for path in sorted(expected.keys() | files.keys())
        if expected.get(path) != files.get(path)
    ]


def trial(prepared: Prepared, kind: str, chance: random.Random, folder: Path) -> tuple[str, list]:
    """Kill a run at a random moment, run again, and check the files.

    Return what was killed, and when, and the problems found; without any the folder is removed.
    """
    killed = "nothing"
    # A run may end before its moment comes.
    while killed == "nothing":
        (index,) = chance.choices(range(len(prepared.states)), prepared.seconds)
        moment = chance.uniform(0, prepared.seconds[index])
        shutil.rmtree(folder, ignore_errors=True)
        project = prepared.states[index].copy(folder)
        run = start(project, folder / "killed.txt", prepared.targets)
        with suppress(subprocess.TimeoutExpired):
            run.wait(moment)
        killed = kill(run, kind, chance)
        run.wait()
    described = f"{killed} after {moment:.1f} s, of {prepared.states[index].folder.name}"
    problems = []
    if kind == "job":
        if run.returncode != 1:
            problems.append(f"the killed run ended with {run.returncode}")
        if f"scripts/{killed}.py" not in (folder / "killed.txt").read_text():
            problems.append(f"nothing was said of {killed}")
    problems += problems_after(project, prepared)
    if not problems:
        shutil.rmtree(folder)
    return f"{described}: status {run.returncode}", problems


def problems_after(project: Project, prepared: Prepared) -> list[str]:
    """Run a project again after an interrupted run; return the problems found."""
    printed = project.folder / "again.txt"
    again = start(project, printed, prepared.targets, python())
    problems = [f"the next run ended with {again.returncode}: {printed}"] if again.wait() else []
    # Jobs that outlived the first run may outlive this one too.
    wait_for_jobs(project.folder)
    problems += problems_of(project, prepared.expected)
    if not problems and (jobs := project.would_run(*prepared.targets)):
        problems.append(f"not everything is made: {jobs}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="of each kind (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", choices=KINDS, nargs="+", default=KINDS, help="default: all")
    arguments = parser.parse_args()
    # Resolved, as the folders of processes are.
    folder = Path(tempfile.mkdtemp(prefix="attnlag-kills-")).resolve()
    save_tokenizer(folder / "model")
    save_gpt2(folder / "model")
    began = time.monotonic()
    prepared = prepare(folder / "prepared", folder / "model")
    # What mends a killed run may start at once; what is killed and its undisturbed time are real.
    server, os.environ[VARIABLE] = start_server(folder)
    print(f"undisturbed: {sum(prepared.seconds):.1f} s, {len(prepared.expected)} files", flush=True)
    failed = 0
    for kind in arguments.what:
        for number in range(arguments.kills):
            chance = random.Random(f"{arguments.seed} {kind} {number}")
            outcome, problems = trial(prepared, kind, chance, folder / f"{kind} {number}")
            failed += bool(problems)
            print(f"{kind} {number}: {outcome}", *problems, sep="\n    ", flush=True)
    tried = arguments.kills * len(arguments.what)
    print(f"{tried - failed} of {tried} mended, {time.monotonic() - began:.0f} s")
    server.terminate()
    server.wait()
    if failed:
        sys.exit(f"what was left is in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
