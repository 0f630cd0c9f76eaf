"""Ids, groups and texts of a corpus act in none of the pages, here in a browser."""

import zipfile
from pathlib import Path

import pytest
from hostile import SCRIPT, write_hostile_corpus
from projects import Project, new_project


@pytest.fixture(scope="module")
def project(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project after a whole run over the hostile corpus, with its report."""
    project = new_project(tmp_path_factory.mktemp("hostile") / "project", gpt2)
    write_hostile_corpus(project)
    project.run()
    result = project.snakemake("--report", "results/report.zip")
    assert result.returncode == 0, result.stdout
    with zipfile.ZipFile(project.folder / "results/report.zip") as archive:
        archive.extractall(project.folder / "unpacked")
    return project


def test_no_text_of_the_corpus_runs_in_the_report(project, page, shots):
    """The ids are parameters of jobs, which the report shows beside a figure."""
    (start,) = (project.folder / "unpacked").rglob("report.html")
    assert SCRIPT not in start.read_text(encoding="utf-8")
    page.goto(f"file://{start}")
    page.get_by_text("1 Norms", exact=True).click()
    page.wait_for_timeout(500)
    page.screenshot(path=shots / "hostile report.png")
    results = page.evaluate("Object.entries(results).map(([path, one]) => [path, one.data_uri])")
    assert len(results) > 8
    for path, name in results:
        page.goto(f"file://{start.parent / name}")
        page.wait_for_timeout(300)
        page.screenshot(path=shots / f"hostile {Path(path).stem}.png")


def test_no_text_of_the_corpus_runs_in_the_explorer(project, page, shots):
    page.goto(f"file://{project.folder / 'results/explorer.html'}#tab=text")
    for place in range(page.locator("#document option").count()):
        page.locator("#document").select_option(index=place)
        page.wait_for_timeout(50)
