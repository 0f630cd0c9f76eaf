"""Ids, groups and texts of a corpus act nowhere: not in figures, tables, pages or the terminal."""

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from hostile import GROUPS, SCRIPT, write_hostile_corpus
from projects import Project, new_project

from attnlag.escaping import text_for

STUDY = "results/tiny/small/attention"


@pytest.fixture(scope="module")
def ran(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a whole run over the hostile corpus, and what it printed."""
    project = new_project(tmp_path_factory.mktemp("hostile") / "project", gpt2)
    write_hostile_corpus(project)
    return project, project.run()


def test_no_control_character_reaches_the_terminal_or_a_text_file(ran):
    project, printed = ran
    files = [*project.folder.glob("results/**/*.txt"), *project.folder.glob("logs/**/*.log")]
    assert len(files) > 10
    for text in (printed, *(path.read_text(encoding="utf-8") for path in files)):
        for line in text.split("\n"):
            assert text_for("line", line) == line
            assert not line.lstrip().startswith("error:")


def test_figures_are_whole_and_show_the_names(ran):
    project, _ = ran
    figures = list(project.folder.glob("results/**/*.svg"))
    assert len(figures) > 10
    shown = ""
    for path in figures:
        shown += " ".join(ElementTree.parse(path).getroot().itertext())
    for start in (
        SCRIPT[:20],
        r"\x1b]0;hostile\x07",
        r"$\frac{hostile$ & <b>",
        "hostile\\nerror",
    ):
        assert start in shown


def test_every_group_is_fitted_and_its_dummies_are_taken_out(ran):
    """A line end in the name of a group is part of the name of its term."""
    project, _ = ran
    for regression in ("notebook", "grouped"):
        groups = pd.read_parquet(project.folder / STUDY / regression / "groups.parquet")
        assert set(groups["subset"]) == set(GROUPS)
        assert set(groups["status"]) == {"ok"}
        assert not groups["term"].str.startswith("group_").any()
    terms = pd.read_parquet(project.folder / STUDY / "grouped/coefficients.parquet")["term"]
    assert terms.str.startswith("group_").sum() == (len(GROUPS) - 1) * 2


def test_no_cell_of_a_table_is_a_formula(ran):
    project, _ = ran
    tables = list(project.folder.glob("results/**/*.csv"))
    quoted = 0
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                assert not [cell for cell in row if re.match(r"[=@\t\r]|[+-](?!\d)", cell)]
                quoted += sum(cell.startswith("'=") for cell in row)
    assert quoted
    subsets = pd.read_parquet(project.folder / STUDY / "notebook/groups.parquet")["subset"]
    assert subsets.str.startswith("=").any()


def test_no_page_holds_the_script_of_a_text(ran):
    project, _ = ran
    page = project.folder / "results/explorer.html"
    assert SCRIPT[:20] not in page.read_text(encoding="utf-8")
