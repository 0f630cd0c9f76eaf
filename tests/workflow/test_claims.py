"""Every number that a run says is one of its claims, as results/claims.csv has them."""

import base64
import gzip
import importlib
import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
from described import files_in

from attnlag import wording
from attnlag.claims.results import regressions_in
from attnlag.claims.row import STUDY, frame, rows_in
from attnlag.claims.run import RunClaims, by_analysis, read_claims
from attnlag.figures.inputs import Inputs
from attnlag.report import answers, latex
from attnlag.storage.results import Declared, declared_by

# The tables of a fit that figures are drawn from.
FITTED = ("coefficients", "medians", "fits", "influence", "controls", "groups", "untrained_scales")


# Numbers of templates and names, which are the same whatever is measured.
CONSTANT = (
    "10% larger →",
    "1% larger in all earlier layers",
    "lies within ±25%",
    "2 to 4 tokens before",
    "After a 1% larger",
)
# Titles about norms are of a sample of tokens, which no table has.
TITLES_OF_SAMPLES = re.compile(
    r"Norms |From position|Parts of speech|One more nat|No token|No layer"
)


@pytest.fixture(scope="module")
def results(whole_once):
    project, _ = whole_once
    return project.folder / "results"


@pytest.fixture(scope="module")
def claims(results):
    """Return the claims of the run, read from the table that a spreadsheet opens."""
    texts = dict.fromkeys((*STUDY, "claim", "subject", "baseline", "unit", "adjust", "table"), str)
    table = pd.read_csv(results / "claims.csv", dtype=texts, keep_default_na=False, na_values=[""])
    return table.fillna(dict.fromkeys(texts, ""))


@pytest.fixture(scope="module")
def said(claims):
    """Return every text of every claim, longest first."""
    found = set()
    for row in rows_in(claims):
        texts = [wording.text(row, length) for length in ("title", "answer", "finding")]
        if row.claim == "lag":
            texts.append(wording.cell(row))
        found |= {text for text in texts if text}
        # A title begins with a capital, and what stands below another does not.
        found |= {wording.clause(text) for text in texts if text}
    return sorted(found, key=len, reverse=True)


def numbers_left(text, said):
    """Return the numbers of a text that are in no claim, names of terms and layers apart."""
    for words in (*said, *CONSTANT):
        text = text.replace(words, "")
    text = re.sub(r"\b(lag|lead|layer|step)s? [\d, and]+", "", text)
    return re.findall(r"\d[\d.,]*", text)


def test_the_answers_are_those_of_the_table(results, claims):
    records = read_claims(results / "claims.parquet").records
    run = RunClaims(by_analysis(claims), records)
    assert (results / "answers.txt").read_text() == answers.answers_text(run)
    assert len(latex.numbers(run).splitlines()) > 20


def test_each_number_of_answers_and_findings_is_that_of_a_claim(results, said, subtests):
    files = [results / "answers.txt", *results.rglob("findings.txt")]
    assert len(files) > 6
    for path in files:
        with subtests.test(path=str(path.relative_to(results))):
            for line in path.read_text().splitlines():
                # The error of a check is in the provenance.
                if " = adjustment within " not in line:
                    assert numbers_left(line, said) == [], f"{path.name}: {line}"


@pytest.fixture(scope="module")
def index(results):
    """Return what the page holds beside numbers of tokens."""
    page = (results / "explorer.html").read_text()
    blocks = re.findall(r'id="block-\d+">([^<]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(blocks[0])))


def test_the_page_has_each_regression_of_the_run(index, results):
    paths = sorted(path.parent.parts[-4:] for path in results.rglob("coefficients.parquet"))
    names = ("model", "corpus", "site", "regression")
    found = [tuple(entry[name] for name in names) for entry in index["studies"]]
    assert sorted(found) == paths
    assert len(paths) > 1


def test_the_page_has_these_figures_and_says_which_texts_it_holds(index):
    sheets = {
        name.removeprefix("tiny/small/"): [(sheet["tab"], sheet["name"]) for sheet in group]
        for name, group in index["sheets"].items()
    }
    coefficients = [("coefficients", "coefficients"), ("coefficients", "groups")]
    assert sheets == {
        "attention": [
            ("heads", "heads"),
            ("causes", "causes-attention"),
            ("sources", "shares"),
            ("sources", "readout"),
        ],
        "attention/notebook": coefficients,
        # Too few rows of a class for slopes of its own, and no token has a part of speech.
        "attention/within": coefficients,
    }
    for entry in index["studies"]:
        assert entry["about"].startswith("The page holds all 12 documents, with at most 4,000 ")


def test_each_number_of_a_title_and_of_the_page_is_that_of_a_claim(index, said):
    titles = [answer[1] for site in index["answers"] for answer in site["lines"]]
    for group in index["sheets"].values():
        for sheet in group:
            titles.append(sheet["claim"])
            titles += [panel["title"] for panel in sheet["panels"]]
    titles = [title for title in titles if not TITLES_OF_SAMPLES.match(title)]
    assert len(titles) > 30
    assert [title for title in titles if numbers_left(title, said)] == []


def test_claims_that_a_figure_makes_from_its_tables_are_rows_of_the_table(
    results, claims, subtests
):
    """A job that draws declares fewer tables than the one that writes all claims."""
    files = files_in(results)
    declared = {name: files[name] for name in FITTED}
    declared["coefficients"] = [path.with_name("coefficients.parquet") for path in files["fits"]]
    regressions = regressions_in(declared_by(declared))
    assert len(regressions) == 2
    for regression in regressions:
        with subtests.test(regression=regression.name):
            stated = claims.query("site == @regression.site and analysis == @regression.name")
            made = {repr(row) for row in rows_in(frame(regression.claims.rows))}
            assert len(made) > 20
            assert made <= {repr(row) for row in rows_in(stated)}


def test_each_number_of_a_title_that_the_page_does_not_show_is_that_of_a_claim(
    results, said, subtests
):
    files = files_in(results)
    site = results / "tiny/small/attention"
    drawn = {
        "cosines_by_distance": site,
        "specifications_by_layer": site,
        "diagnostics": site / "within",
        "coefficients_by_layer": site / "notebook",
    }
    declared = {name: files[name] for name in (*FITTED, "directions", "residuals")}
    declared["coefficients"] = [path.with_name("coefficients.parquet") for path in files["fits"]]
    for name, folder in drawn.items():
        with subtests.test(name=name):
            module = importlib.import_module(f"attnlag.figures.{name}")
            claim = module.figure(Inputs(folder, Declared(declared), {"layers": None})).claim
            assert re.search(r"\d", claim), name
            if name == "specifications_by_layer":
                # It joins the numbers of two claims of each regression.
                assert numbers_left(claim, []) != []
                assert set(numbers_left(claim, [])) <= set(numbers_left(" ".join(said), []))
            else:
                assert numbers_left(claim, said) == [], claim


def test_the_page_has_each_finding_of_the_files(index, results):
    shown = [findings["lines"] for findings in index["findings"]]
    files = []
    for path in results.rglob("findings.txt"):
        files.append([line.strip() for line in path.read_text().splitlines()])
    assert len(shown) > 6
    assert sorted(shown) == sorted(files)


def test_every_table_with_intervals_states_their_level(results):
    levels = {}
    for path in results.rglob("*.parquet"):
        names = pq.read_schema(path).names
        if path.stem != "claims" and any(name.endswith("_high") for name in names):
            levels[path] = set(pd.read_parquet(path, columns=["level"])["level"])
    assert {path: stated for path, stated in levels.items() if stated - {0.95}} == {}
    found = {path.stem for path in levels}
    assert {"coefficients", "fits", "medians", "groups", "controls", "untrained_scales"} < found
    assert {"means", "shares", "elasticities", "total_effects", "finite_effects"} < found


def test_each_number_of_a_template_is_a_field_of_its_claim(claims):
    """Fields are told apart by giving each of them a number of its own."""
    numbers = {"value": 0.111, "low": 0.222, "high": 0.333, "baseline_value": 0.444}
    numbers |= {"baseline_low": 0.555, "baseline_high": 0.666}
    counts = {"layers": 71, "above": 72, "below": 73, "within": 74, "undecided": 75, "texts": 76}
    # A text may state any number of its claim: swapped ends would show.
    for row in rows_in(claims.assign(**numbers, **counts, bound=0.777)):
        for length in ("title", "answer", "finding"):
            text = wording.text(row, length)
            place = text.find("0.22 to 0.33")
            assert "0.33 to 0.22" not in text
            assert "0.67 to 0.56" not in text
            if "interval" in text and "no interval" not in text and place < 0:
                assert "22.2% to 33.3%" in text or "intervals" in text
