"""The tables of tests/workflow/errors.md, and how a row of them is tried on a finished project.

The check of the configuration and the programs of jobs run in the process of the test; rows of each
kind are tried through the real command line, which hands on what they print.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from programs import Ended, arguments_of, checked, run_program, within
from projects import ROOT, Project

PAGE = ROOT / "tests" / "workflow" / "errors.md"


class Run(NamedTuple):
    """Further arguments of snakemake, its environment, and a mount that it alone sees."""

    arguments: Sequence[str] = ()
    environment: dict[str, str] | None = None
    mount: str = ""


class Jobs(NamedTuple):
    """Stages whose programs run in turn; if one fails, it is the last."""

    stages: tuple[str, ...]
    environment: dict[str, str] | None = None


# Spoils a project and returns what to run; if it returns nothing, the configuration is checked.
Spoil = Callable[[Project], Run | Jobs | None]


class Cases(dict[str, Spoil]):
    """The functions that spoil a project, by the row of the table below a heading of the page."""

    def __init__(self, section: str, made_anew: str = r"[^\s\S]"):
        super().__init__()
        self.section = section
        # A pattern for the results that come before what fails, and may have been made anew.
        self.made_anew = made_anew
        # Rows that run on the command line, which needs the whole project.
        self.whole: set[str] = set()

    def of(self, wrong: str, *, whole: bool = False) -> Callable[[Spoil], Spoil]:
        """Register the function that spoils a project as a row describes."""

        def register(spoil: Spoil) -> Spoil:
            self[wrong] = spoil
            if whole:
                self.whole.add(wrong)
            return spoil

        return register


class Row(NamedTuple):
    """A problem, the exit status and the printed lines, in which … stands for any text."""

    wrong: str
    status: int
    lines: list[str]


def rows(section: str) -> list[Row]:
    """Return the rows of the table below a heading of tests/workflow/errors.md."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 3 or not cells[1].isdigit():
            continue
        # A code span that contains backquotes is enclosed in two.
        spans = [re.fullmatch(r"(`+) ?(.+?) ?\1", part) for part in cells[2].split("<br>")]
        lines = [span[2].replace("\\|", "|") for span in spans if span]
        found.append(Row(cells[0], int(cells[1]), lines))
    return found


def each_row(cases: Cases) -> pytest.MarkDecorator:
    """Return a decorator that runs a test for each row of a table.

    A row without a case fails, and so does a case without a row.
    """
    stated = rows(cases.section)
    unstated = [Row(wrong, -1, []) for wrong in cases if wrong not in {row.wrong for row in stated}]
    return pytest.mark.parametrize("row", stated + unstated, ids=lambda row: row.wrong)


def files(project: Project) -> dict[str, bytes]:
    """Return all results and models by path, hidden and temporary files included."""
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for folder in ("results", "data/models")
        for path in sorted((project.folder / folder).rglob("*"))
        if path.is_file()
    }


def printed_problems(printed: str) -> list[str]:
    """Return the lines that name problems: those of a job, or all those of the check."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    # Snakemake repeats the log of a job on the terminal and prints what it reads.
    return list(dict.fromkeys(lines)) or [
        line
        for line in printed.splitlines()
        if not line.startswith(("Using workflow specific", "Config file config/config.yaml is"))
    ]


def run_jobs(jobs: Jobs, project: Project, commands: dict[str, list[str]]) -> Ended:
    """Run programs in turn, in this process, until one fails."""
    config, problems = checked(project)
    assert config is not None, problems
    assert not problems
    printed = ""
    for stage in jobs.stages:
        with within(project.folder):
            arguments = arguments_of(stage, config, commands[stage])
        ended = run_program(project.folder, *arguments, environment=jobs.environment)
        printed += ended.printed
        if ended.status:
            # The lines that a user finds in the log.
            log = project.folder / arguments[arguments.index("--log") + 1]
            assert printed_problems(log.read_text()) == printed_problems(ended.printed)
            break
    assert stage == jobs.stages[-1], printed
    return Ended(ended.status, printed)


def run_of(
    run: Run | Jobs | None, project: Project, commands: Callable[[], dict[str, list[str]]]
) -> Ended:
    """Run the command or the programs of a row."""
    if run is None:
        _, problems = checked(project)
        return Ended(int(bool(problems)), "\n".join(problems))
    if isinstance(run, Jobs):
        return run_jobs(run, project, commands())
    result = project.snakemake(
        "--cores", "2", *run.arguments, environment=run.environment, mount=run.mount
    )
    return Ended(result.returncode, result.stdout)


def try_row(row: Row, cases: Cases, request: pytest.FixtureRequest) -> Project:
    """Spoil a finished project as a row describes, run it, and compare the outcome with the row."""
    assert row.status >= 0, f"tests/workflow/errors.md has no row '{row.wrong}'"
    assert row.wrong in cases, f"no case spoils a project so: {row.wrong}"
    whole = row.wrong in cases.whole
    project: Project = request.getfixturevalue("finished" if whole else "results_and_inputs")
    run = cases[row.wrong](project)
    run = run or Run() if whole else run
    assert isinstance(run, Run) == whole
    before = files(project)
    ended = run_of(run, project, lambda: request.getfixturevalue("commands"))
    assert "Traceback" not in ended.printed, ended.printed
    # What Snakemake would say again of jobs that failed.
    assert "did not complete successfully" not in ended.printed
    assert ended.status == row.status, ended.printed
    after = files(project)
    assert not [path for path in after if path.endswith(".tmp")]
    patterns = [".*".join(map(re.escape, stated.split("…"))) for stated in row.lines]
    if not row.status:
        for pattern in patterns:
            assert re.search(f"^{pattern}$", ended.printed, re.M), ended.printed
        return project
    printed = printed_problems(ended.printed)
    assert len(printed) == len(row.lines), ended.printed
    for line, pattern, stated in zip(printed, patterns, row.lines, strict=True):
        assert re.fullmatch(pattern, line), f"printed: {line}\nstated:  {stated}"
    # The output of the failed job is gone; everything else is as it was, and nothing is new.
    changed = {path for path in after if before.get(path) != after[path]}
    # It says so of what was made anew before.
    changed.discard("results/provenance.json")
    others = sorted(path for path in changed if not re.match(cases.made_anew, path))
    assert not others, others
    return project
