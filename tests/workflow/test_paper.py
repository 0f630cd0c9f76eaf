"""What `make paper` writes, against the tables of runs with other settings."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from described import regressions_in
from projects import ran

from attnlag.regression import covariances
from attnlag.report import paper

FOLDER = "results/paper"
TABLE = f"{FOLDER}/coefficients.tex"
FIGURES = f"{FOLDER}/tiny/small/attention/notebook/figures"
FIGURE = f"{FIGURES}/coefficients_by_layer_column.pdf"
DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}\usepackage{booktabs}\usepackage{url}
\begin{document}
%s
\input{coefficients}
\input{numbers}
\bibliographystyle{plain}\bibliography{references}
\end{document}
"""


@pytest.fixture(scope="module")
def written(several_once, tmp_path_factory):
    """Return the folder of the project with several regressions, with what a paper needs."""
    project = several_once[0].copy(tmp_path_factory.mktemp("paper") / "project")
    project.run(TABLE, FIGURES)
    return project


def test_another_citation_of_attnlag_is_written_anew(written, tmp_path):
    project = written.copy(tmp_path / "project")
    assert project.would_run(TABLE) == {}
    text = (project.folder / "CITATION.cff").read_text()
    (project.folder / "CITATION.cff").unlink()
    (project.folder / "CITATION.cff").write_text(text.replace("title: ", "title: A "))
    assert project.would_run(TABLE) == {"write_paper": 1}


def methods_of(project, **stated):
    """Return the methods of a finished project, with these facts stated of its model."""
    models = [
        json.loads(path.read_text()) for path in project.folder.glob("data/models/*/source.json")
    ]
    regressions = regressions_in(project.folder / "results")
    return paper.methods(regressions, {model["name"]: model | stated for model in models})


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


def test_the_table_has_the_coefficients_with_three_digits(written):
    text = (written.folder / TABLE).read_text()
    check_latex(text)
    assert text.count(r"\toprule") == 5
    (of_study,) = [part for part in text.split(r"\begin{table}") if ":attention:notebook}" in part]
    rows = re.findall(r"^(\d+) & (.*)\\\\$", of_study, re.M)
    coefficients = pd.read_csv(
        written.folder / "results/tiny/small/attention/notebook/coefficients.csv"
    )
    for layer, cells in rows:
        of_layer = coefficients[coefficients["layer"] == int(layer)].set_index("term")
        numbers = re.findall(r"-?\d+\.\d{3}", cells.replace("$", ""))
        columns = ["estimate", "std_error", "conf_low", "conf_high", "p_adjusted"]
        expected = of_layer.loc[["lag_1", "lag_2"], columns].to_numpy().ravel()
        shown = [max(value, 0.001) if i % 5 == 4 else value for i, value in enumerate(expected)]
        assert [float(number) for number in numbers[:-1]] == pytest.approx(shown, abs=5.1e-4)
    assert len(rows) == coefficients["layer"].nunique()


def test_every_number_has_a_macro_of_its_own(written):
    text = (written.folder / FOLDER / "numbers.tex").read_text()
    check_latex(text)
    macros = re.findall(r"^\\newcommand\{\\(\w+)\}\{(.*)\}$", text, re.M)
    value_of = dict(macros)
    assert len(value_of) == len(macros) == len(text.splitlines())
    assert all(name.isalpha() for name in value_of)
    for regression, prefix in (("notebook", "Notebook"), ("rich", "Rich")):
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
    before = pd.read_csv(folder.parent / "within/before_training.csv")
    of_lag = before.query("quantity == 'lag_1'")["before"]
    ends = [
        value_of[f"WithinLagOneBeforeTraining{end}"].replace("$", "") for end in ("Low", "High")
    ]
    assert list(map(float, ends)) == pytest.approx([of_lag.min(), of_lag.max()], abs=5.1e-3)


def test_the_methods_are_those_of_the_settings(written, finished_once):
    text = (written.folder / FOLDER / "methods.md").read_text()
    for words in (
        "We ran `tiny` (a copy on disk with the SHA-256 ",
        "; 2 layers of width 32, ",
        "in float32 on CPU over the corpus `small` (8 documents in 2 groups, ",
        "became windows of at most that length",
        "The first token of each sequence",
        "least squares of the log norm of a token on its lags 1 and 2 (in tokens); ",
        "on its leads 1 and 2 (in tokens); ",
        "least squares of the log relative norm of a token",
        "with a restricted cubic spline of the position in the sequence and effects of documents; ",
        "half-panel jackknife [@dhaene2015]",
        "clustered by document (the jackknife CRV3 [@mackinnon2023])",
        "corrected over the layers for each term (Holm [@holm1979])",
        "put in random order 19 times (seed 0)",
        "before training on 6 documents, with initial weights (seed 1) of the scales: the model's "
        "own 0.02; transformers' left out: the same as own; by depth left out",
        "torch 2.",
        "Distributions of norms are over tokens; relative norms",
    ):
        assert words in text
    assert "[@bell2002" not in text
    # What holds for all regressions is said once.
    assert text.count("Standard errors") == 1
    # The other project has no controls, no effects of documents, and another kind of errors.
    other = methods_of(finished_once[0])
    assert "(CR2 [@bell2002], with the degrees of freedom of Satterthwaite" in other
    assert "(Holm [@holm1979])" in other
    assert "; 1 layer of width " in methods_of(finished_once[0], layers=1)
    for absent in ("control", "half-panel", "effects of documents", "windows", "bootstrap"):
        assert absent not in other


def test_what_is_cited_is_in_the_references_and_nothing_else(written):
    folder = written.folder / FOLDER
    keys = re.findall(r"^@\w+\{(\w+),$", (folder / "references.bib").read_text(), re.M)
    assert set(keys) == set(paper.cited((folder / "methods.md").read_text()))
    tex = (folder / "methods.tex").read_text()
    check_latex(tex)
    cites = {key for group in re.findall(r"\\cite\{([^}]*)\}", tex) for key in group.split(",")}
    assert cites == set(keys)
    first = (folder / "references.bib").read_text().split("\n\n")[0]
    assert "The attnlag authors" in first
    assert re.search(r"version \d+\.\d+\.\d+, 20\d\d-\d\d-\d\d", first)


def test_every_reference_is_one_that_some_setting_cites():
    template = Path(paper.__file__).with_name("paper.md.j2").read_text(encoding="utf-8")
    sentences = [template, *(entry.method for entry in covariances.CATALOGUE.values())]
    assert set(paper.all_references()) == set(paper.cited(" ".join(sentences))) - {"attnlag"}


def test_the_configuration_is_complete_and_figures_have_no_title(written):
    config = yaml.safe_load((written.folder / FOLDER / "config.yaml").read_text())
    assert config["inference"]["bootstrap"] == 200
    assert config["norms"] == {"drop_first": 1}
    assert (written.folder / FIGURE).read_bytes().startswith(b"%PDF")


@pytest.mark.skipif(
    not shutil.which("pdflatex"),
    reason="TeX is not installed, nor needed to write the files; other tests parse them",
)
def test_latex_accepts_the_table_the_methods_and_the_references(written):
    folder = written.folder / FOLDER
    (folder / "main.tex").write_text(DOCUMENT % (folder / "methods.tex").read_text())
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for command in (latex, ["bibtex", "main"], latex, latex):
        ran(command, cwd=folder)
    assert "undefined" not in (folder / "main.log").read_text()
