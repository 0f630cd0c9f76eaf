"""The report in a browser, from the disk, without a network.

Ids, groups and texts of its corpus are commands, which act in none of its pages. The ids are
parameters of jobs, which the report shows beside a figure.

With ``ATTNLAG_SCREENSHOTS=FOLDER`` screenshots of every category are left there.
"""

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from hostile import SCRIPT, write_hostile_corpus
from playwright.sync_api import expect
from projects import Project, new_project

CATEGORIES = [
    "0 Explorer",
    *("1 Norms", "2 Coefficients", "3 Diagnostics", "4 Interventions", "5 Comparison"),
]


@pytest.fixture(scope="module")
def project(gpt2: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project after a run of two models, with controls, and its report."""
    project = new_project(tmp_path_factory.mktemp("report") / "project", gpt2)
    shutil.copytree(llama, project.folder / "llama")
    write_hostile_corpus(project)
    project.write_config(
        models={"llama": {"source": "path", "path": "llama"}},
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 4}},
        figures={"formats": ["svg", "png"]},
        causal={"documents": 6},
    )
    project.run()
    assert "RuntimeWarning" not in project.snakemake("--report", "results/report.zip")
    return project


@pytest.fixture(scope="module")
def unpacked(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the report, unpacked far from the project."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(project.folder / "results/report.zip") as archive:
        archive.extractall(folder)
    (page,) = folder.rglob("report.html")
    return page


def test_every_item_of_every_category_is_shown(unpacked, page, photograph, subtests):
    assert SCRIPT not in unpacked.read_text(encoding="utf-8")
    page.goto(f"file://{unpacked}")
    expect(page.get_by_text("How large are the attention adjustments")).to_be_visible()
    photograph(page, "start")
    folders = [text for text in page.locator("nav").all_inner_texts() if text]
    places = [" ".join(folders).index(category) for category in CATEGORIES]
    assert places == sorted(places)

    seen: dict[str, int] = {}
    for category in CATEGORIES:
        with subtests.test(category=category):
            page.goto(f"file://{unpacked}")
            page.get_by_text(category, exact=True).click()
            page.wait_for_timeout(300)
            photograph(page, category)
            results = page.evaluate(
                "category => Object.entries(categories[category]).flatMap(([_, paths]) => paths)",
                category,
            )
            seen[category] = len(results)
            for path in results:
                labels = page.evaluate("path => results[path].labels", path)
                assert {"model", "corpus", "site", "regression", "layer", "shows"} <= set(labels)
                caption = page.evaluate("path => results[path].caption", path)
                assert len(re.sub("<[^>]*>", "", caption)) > 100
                assert "{{" not in caption
    assert seen == {
        "0 Explorer": 1,
        # For each model: norms by layer and position.
        "1 Norms": 2 * 2,
        # For each model: three of each regression, and both regressions in one.
        "2 Coefficients": 2 * (2 * 3 + 1),
        "3 Diagnostics": 2 * 2,
        "4 Interventions": 2,
        # For each regression.
        "5 Comparison": 2,
    }


def test_the_menu_leads_to_a_figure(unpacked, page):
    page.goto(f"file://{unpacked}")
    for folder in ("2 Coefficients", "by layer"):
        page.get_by_text(folder, exact=True).click()
    page.locator("tbody a").filter(visible=True).first.click()
    figure = page.locator("img[src$='coefficients_by_layer.svg']")
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


def test_every_figure_and_page_of_the_report_loads(unpacked, page, photograph, subtests):
    page.goto(f"file://{unpacked}")
    shown = "Object.entries(results).map(([path, one]) => [path, one.data_uri])"
    items = dict(page.evaluate(shown))
    assert {Path(path).suffix for path in items} == {".svg", ".html"}
    for number, (path, name) in enumerate(items.items()):
        with subtests.test(path=path):
            page.goto(f"file://{unpacked.parent / name}")
            if path.endswith(".html"):
                page.locator("td, #text span").nth(5).wait_for(state="attached")
            else:
                # A figure without panels has its title and what it was drawn from.
                assert page.evaluate("document.querySelectorAll('svg text').length") >= 2
                size = page.evaluate("document.documentElement.getBoundingClientRect().width")
                assert size > 300
            photograph(page, f"item {number:02d} {Path(path).stem}")


def test_no_text_of_the_corpus_runs_in_the_explorer(project, page):
    page.goto(f"file://{project.folder / 'results/explorer.html'}#tab=text")
    for place in range(page.locator("#document option").count()):
        page.locator("#document").select_option(index=place)
        page.wait_for_timeout(50)
