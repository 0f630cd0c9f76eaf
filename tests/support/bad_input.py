"""The tables of docs/errors.md, and how a row of them is tried through the real command line."""

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from projects import ROOT, Project

PAGE = ROOT / "docs" / "errors.md"


class Run(NamedTuple):
    """How snakemake is run: its further arguments, its environment, what it alone has mounted."""

    arguments: list[str]
    environment: dict[str, str] | None = None
    mount: str = ""


# Spoils a project and returns further arguments of snakemake, or more, if there are any.
Spoil = Callable[[Project], Run | list[str] | None]


class Cases(dict[str, Spoil]):
    """The functions that spoil a project, by the row of the table that they stand for.

    Parameters
    ----------
    section : str
        The heading of the table in docs/errors.md.
    made_anew : str
        A pattern for the results that come before what fails, and may have been made anew.
    """

    def __init__(self, section: str, made_anew: str = r"[^\s\S]"):
        super().__init__()
        self.section = section
        self.made_anew = made_anew

    def of(self, wrong: str) -> Callable[[Spoil], Spoil]:
        """Register the function that spoils a project as a row says."""

        def register(spoil: Spoil) -> Spoil:
            self[wrong] = spoil
            return spoil

        return register


class Row(NamedTuple):
    """What is wrong, the exit status, and the lines that are printed; … stands for any text."""

    wrong: str
    status: int
    lines: list[str]


def rows(section: str) -> list[Row]:
    """Return the rows of the table below a heading of docs/errors.md."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 3 or not cells[1].isdigit():
            continue
        # A code span with backquotes in it has two around it.
        spans = [re.fullmatch(r"(`+) ?(.+?) ?\1", part) for part in cells[2].split("<br>")]
        lines = [span[2].replace("\\|", "|") for span in spans if span]
        found.append(Row(cells[0], int(cells[1]), lines))
    return found


def each_row(cases: Cases) -> pytest.MarkDecorator:
    """Return what runs a test for each row of a table.

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
    """Return the lines that name problems: those of a job, or all that the check has to say."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    # Snakemake repeats on the terminal what a job's log holds, and says what it reads.
    return list(dict.fromkeys(lines)) or [
        line
        for line in printed.splitlines()
        if not line.startswith(("Using workflow specific", "Config file config/config.yaml is"))
    ]


def try_row(row: Row, project: Project, cases: Cases) -> None:
    """Spoil a finished project as a row says, run it, and hold what happens against the row."""
    assert row.status >= 0, f"docs/errors.md has no row '{row.wrong}'"
    assert row.wrong in cases, f"no case spoils a project so: {row.wrong}"
    run = cases[row.wrong](project) or []
    run = Run(run) if isinstance(run, list) else run
    before = files(project)
    result = project.snakemake(
        "--cores", "2", *run.arguments, environment=run.environment, mount=run.mount
    )
    assert "Traceback" not in result.stdout, result.stdout
    assert result.returncode == row.status, result.stdout
    after = files(project)
    assert not [path for path in after if path.endswith(".tmp")]
    patterns = [".*".join(map(re.escape, stated.split("…"))) for stated in row.lines]
    if not row.status:
        for pattern in patterns:
            assert re.search(f"^{pattern}$", result.stdout, re.M), result.stdout
        return
    printed = printed_problems(result.stdout)
    assert len(printed) == len(row.lines), result.stdout
    for line, pattern, stated in zip(printed, patterns, row.lines, strict=True):
        assert re.fullmatch(pattern, line), f"printed: {line}\nstated:  {stated}"
    # What failed is gone, to be made again; all else is as it was, and nothing is new.
    changed = {path for path in after if before.get(path) != after[path]}
    # It says so of what was made anew before.
    changed.discard("results/provenance.json")
    others = sorted(path for path in changed if not re.match(cases.made_anew, path))
    assert not others, others
