"""What `make paper` writes, against the tables of runs with other settings."""

import re
import shutil
from xml.etree import ElementTree

import pandas as pd
import pytest
from projects import ran

FOLDER = "results/paper"
TABLE = f"{FOLDER}/coefficients.tex"
FIGURES = "results/tiny/small/attention/notebook/figures"
DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}\usepackage{booktabs}\usepackage{url}
\begin{document}
\nocite{*}
\input{coefficients}
\input{numbers}
\bibliographystyle{plain}\bibliography{references}
\end{document}
"""


@pytest.fixture(scope="module")
def written(several_once, tmp_path_factory):
    """Return the folder of the project with several regressions, with what a paper needs."""
    project = several_once[0].copy(tmp_path_factory.mktemp("paper") / "project")
    project.run(TABLE)
    return project


def test_another_citation_of_attnlag_is_written_anew(written, tmp_path):
    project = written.copy(tmp_path / "project")
    assert project.would_run(TABLE) == {}
    text = (project.folder / "CITATION.cff").read_text()
    (project.folder / "CITATION.cff").unlink()
    (project.folder / "CITATION.cff").write_text(text.replace("title: ", "title: A "))
    assert project.would_run(TABLE) == {"write_paper": 1}


def check_latex(text):
    """Check that braces and environments close, and that rows have as many cells as columns."""
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    braces = re.sub("[^{}]", "", bare)
    while "{}" in braces:
        braces = braces.replace("{}", "")
    assert not braces
    assert bare.count("$") % 2 == 0
    outside = re.sub(r"\$[^$]*\$|\\(label|cite|texttt)\{[^}]*\}", "", bare)
    assert not re.search(r"[_#^~]", outside)
    # Environments close as elements do.
    marks = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    elements = (f"<{'/' * (kind == 'end')}{name}>" for kind, name in marks)
    ElementTree.fromstring(f"<text>{''.join(elements)}</text>")
    for columns, rows in re.findall(
        r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", text, re.S
    ):
        for row in re.findall(r"^(.*)\\\\$", rows, re.M):
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert row.count("&") + 1 + spans == len(columns)


def test_the_table_has_the_coefficients_with_three_digits(written, subtests):
    text = (written.folder / TABLE).read_text()
    check_latex(text)
    assert text.count(r"\toprule") == 5
    (of_study,) = [part for part in text.split(r"\begin{table}") if ":attention:notebook}" in part]
    rows = re.findall(r"^(\d+) & (.*)\\\\$", of_study, re.M)
    coefficients = pd.read_csv(
        written.folder / "results/tiny/small/attention/notebook/coefficients.csv"
    )
    for layer, cells in rows:
        with subtests.test(layer=layer):
            of_layer = coefficients[coefficients["layer"] == int(layer)].set_index("term")
            numbers = re.findall(r"-?\d+\.\d{3}", cells.replace("$", ""))
            columns = ["estimate", "std_error", "conf_low", "conf_high", "p_adjusted"]
            expected = of_layer.loc[["lag_1", "lag_2"], columns].to_numpy().ravel()
            shown = [max(value, 0.001) if i % 5 == 4 else value for i, value in enumerate(expected)]
            assert [float(number) for number in numbers[:-1]] == pytest.approx(shown, abs=5.1e-4)
    assert len(rows) == coefficients["layer"].nunique()


def test_every_number_has_a_macro_of_its_own(written, subtests):
    text = (written.folder / FOLDER / "numbers.tex").read_text()
    check_latex(text)
    macros = re.findall(r"^\\newcommand\{\\(\w+)\}\{(.*)\}$", text, re.M)
    value_of = dict(macros)
    assert len(value_of) == len(macros) == len(text.splitlines())
    assert all(name.isalpha() for name in value_of)
    for regression, prefix in (("notebook", "Notebook"), ("rich", "Rich")):
        with subtests.test(regression=regression):
            folder = written.folder / f"results/tiny/small/attention/{regression}"
            table = pd.read_csv(folder / "coefficients.csv").query("subset == 'all'")
            controls = pd.read_csv(folder / "controls.csv")
            for term, words in (("lag_1", "LagOne"), ("lag_2", "LagTwo")):
                rows = table[table["term"] == term]
                above = (rows["equivalence"] == "present") & (rows["estimate"] > 0)
                shown = {
                    "Median": rows["estimate"].median(),
                    "LayersPresent": (rows["equivalence"] == "present").sum(),
                    "LayersAbove": above.sum(),
                    "RandomOrder": controls.loc[controls["term"] == term, "permuted_mean"].median(),
                }
                for name, value in shown.items():
                    macro = value_of[f"{prefix}{words}{name}"].replace("$", "")
                    assert float(macro) == pytest.approx(value, abs=5.1e-3)
    before = pd.read_csv(folder.parent / "within/untrained_scales.csv")
    of_lag = before.query("quantity == 'lag_1'")["before"]
    ends = [
        value_of[f"WithinLagOneBeforeTraining{end}"].replace("$", "") for end in ("Low", "High")
    ]
    assert list(map(float, ends)) == pytest.approx([of_lag.min(), of_lag.max()], abs=5.1e-3)


def test_references_begin_with_attnlag_and_have_its_methods(written):
    text = (written.folder / FOLDER / "references.bib").read_text()
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.M)
    assert keys == ["attnlag", *sorted(keys[1:])]
    assert {"bell2002", "pustejovsky2018", "mackinnon2023", "dhaene2015", "holm1979"} < set(keys)
    first = text.split("\n\n")[0]
    assert "The attnlag authors" in first
    assert re.search(r"version \d+\.\d+\.\d+, 20\d\d-\d\d-\d\d", first)
    check_latex(text)


def test_figures_for_a_paper_have_no_titles(written, tmp_path):
    project = written.copy(tmp_path / "project")
    svg = project.folder / FIGURES / "coefficients_by_layer.svg"
    project.write_config(figures={"formats": ["svg"]})
    project.run(FIGURES)
    titled = svg.read_text()
    project.write_config(figures={"titles": False, "sizes": ["column"], "formats": ["svg", "pdf"]})
    project.run(FIGURES)
    assert svg.with_name(f"{svg.stem}_column.pdf").read_bytes().startswith(b"%PDF")
    without = svg.with_name(f"{svg.stem}_column.svg").read_text()
    assert "tiny, small, attention, notebook" in titled
    assert "tiny, small, attention, notebook" not in without
    # The rest is as in any figure.
    assert "variance explained" in without


@pytest.mark.skipif(
    not shutil.which("pdflatex"),
    reason="TeX is not installed, nor needed to write the files; other tests parse them",
)
def test_latex_accepts_the_table_the_numbers_and_the_references(written):
    folder = written.folder / FOLDER
    (folder / "main.tex").write_text(DOCUMENT)
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for command in (latex, ["bibtex", "main"], latex, latex):
        ran(command, cwd=folder)
    assert "undefined" not in (folder / "main.log").read_text()
