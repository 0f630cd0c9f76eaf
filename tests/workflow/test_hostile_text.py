"""Ids, groups and texts of a corpus act nowhere: not in figures, tables, pages or the terminal."""

import csv
import json
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from hostile import GROUPS, SCRIPT, write_hostile_corpus
from projects import Project, command_of, new_project, ran, settings_text

from attnlag.escaping import text_for

STUDY = "results/tiny/small/attention"
# Clears the screen, begins a line of its own and rings; turns the text around; half a character.
HOSTILE = "\x1b[2J\x9b31m\r\nerror: all is well\x07 \u202eevil\u2028\u200e\u200f\u061c\uffff \udc80"


# Marks that turn the direction of text around have no class of their own in Unicode.
DIRECTIONS = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Controls, ends of lines and paragraphs, halves of characters, and what is no character.
UNPRINTABLE = ("Cc", "Zl", "Zp", "Cs", "Cn")


def acting(text: str) -> list[str]:
    """Return the characters of a line that would act in a terminal."""
    return [
        sign for sign in text if unicodedata.category(sign) in UNPRINTABLE or sign in DIRECTIONS
    ]


@pytest.fixture(scope="module")
def hostile_run(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Return a project after a whole run over the hostile corpus, and what it printed."""
    project = new_project(tmp_path_factory.mktemp("hostile") / "project", gpt2)
    write_hostile_corpus(project)
    return project, project.run()


def test_no_control_character_reaches_the_terminal_or_a_text_file(hostile_run, subtests):
    project, printed = hostile_run
    files = [*project.folder.glob("results/**/*.txt"), *project.folder.glob("logs/**/*.log")]
    assert len(files) > 10
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    for name, text in {**texts, "terminal": printed}.items():
        with subtests.test(name=name):
            for line in text.split("\n"):
                assert acting(line) == []
                assert not line.lstrip().startswith("error:")


def test_figures_are_whole_and_show_the_names(hostile_run, subtests):
    project, _ = hostile_run
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
        with subtests.test(start=start):
            assert start in shown


def test_every_group_is_fitted_and_its_dummies_are_taken_out(hostile_run, subtests):
    """A line end in the name of a group is part of the name of its term."""
    project, _ = hostile_run
    for regression in ("notebook", "grouped"):
        with subtests.test(regression=regression):
            groups = pd.read_parquet(project.folder / STUDY / regression / "groups.parquet")
            assert set(groups["subset"]) == set(GROUPS)
            assert set(groups["status"]) == {"ok"}
            assert not groups["term"].str.startswith("group_").any()
    terms = pd.read_parquet(project.folder / STUDY / "grouped/coefficients.parquet")["term"]
    assert terms.str.startswith("group_").sum() == (len(GROUPS) - 1) * 2


def test_no_cell_of_a_table_is_a_formula(hostile_run, subtests):
    project, _ = hostile_run
    tables = list(project.folder.glob("results/**/*.csv"))
    quoted = 0
    for path in tables:
        with subtests.test(path=path.name), path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                assert not [cell for cell in row if re.match(r"[=@\t\r]|[+-](?!\d)", cell)]
                quoted += sum(cell.startswith("'=") for cell in row)
    assert quoted
    subsets = pd.read_parquet(project.folder / STUDY / "notebook/groups.parquet")["subset"]
    assert subsets.str.startswith("=").any()


def test_no_page_holds_the_script_of_a_text(hostile_run):
    project, _ = hostile_run
    page = project.folder / "results/explorer.html"
    assert SCRIPT[:20] not in page.read_text(encoding="utf-8")


def test_hostile_characters_act_before_they_are_escaped():
    acts = "\x1b\x9b\r\n\x07\u202e\u2028\u200e\u200f\u061c\uffff\udc80"
    assert acting(HOSTILE) == list(acts)


def test_control_characters_are_escaped_and_other_text_is_kept(subtests):
    # The same, escaped.
    assert text_for("line", HOSTILE) == (
        r"\x1b[2J\x9b31m\r\nerror: all is well\x07 \u202eevil\u2028\u200e\u200f\u061c\uffff \udc80"
    )
    for text in ("Grüße, 世界 👩‍🔬", "a\\nb", ""):
        with subtests.test(text=text):
            assert text_for("line", text) == text


def test_each_problem_of_a_corpus_is_one_line_whatever_the_text_holds(tmp_path, subtests):
    """The message quotes a repeated id, a key and the name of the file."""
    row = json.dumps({"id": HOSTILE[:-1], "text": "words"}, ensure_ascii=False)
    file = tmp_path / "a\x1b[2J\n.jsonl"
    file.write_text(f"{row}\n{row}\n" + '{"k\x9b": 1}\n', encoding="utf-8")
    settings = settings_text("prepare_corpus", corpus={"id": "id"})
    files = {"files": [file.name], "source": []}
    made = {"corpus": "out.parquet"}
    names = {"corpus": "hostile"}
    command = command_of("prepare_corpus", files, made, settings, names, clusters_needed=0)
    result = ran([*command, "--log", "log.txt"], status=1, cwd=tmp_path)
    logged, _, again = (tmp_path / "log.txt").read_text("utf-8").rpartition("to run it again: ")
    assert acting(again.strip()) == []
    for name, printed in {"stderr": result.stderr, "log": logged}.items():
        with subtests.test(name=name):
            lines = printed.split("\n")
            assert len(lines) == 4
            assert lines.pop() == ""
            for number, line in enumerate(lines):
                assert line.startswith(rf"error: a\x1b[2J\n.jsonl:{min(number, 1) + 2}: ")
                assert acting(line) == []
