"""The explorer of a run that measured some layers alone, in a browser."""

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, expect
from projects import SEVERAL, Project, new_project


@pytest.fixture(scope="module")
def project(llama, tmp_path_factory) -> Project:
    """Return a project whose adjustments are of layers 0 and 2, and whose sources are of all."""
    project = new_project(tmp_path_factory.mktemp("gaps") / "project", llama)
    project.write_config(
        extraction={"layers": [0, 2], "quantities": ["geometry", "heads"]},
        regressions={"within": SEVERAL["within"]},
        sources={"documents": 2, "document_tokens": 12},
    )
    project.run("results/explorer.html")
    return project


@pytest.fixture
def page(project: Project, page: Page) -> Page:
    page.goto((project.folder / "results/explorer.html").as_uri())
    expect(page.locator("html")).to_have_attribute("data-ready", "yes")
    return page


def test_layers_have_their_own_numbers_and_norms(page, project):
    assert page.evaluate("explorer.study.layers") == [0, 2]
    assert page.locator("#table tbody th").all_inner_texts() == ["0", "2"]
    page.locator("#tab-text").click()
    page.locator("#layer").press("Home")
    expect(page.locator("#layer-says")).to_contain_text("layer 0: lag 1")
    page.locator("#layer").press("End")
    expect(page.locator("#layer-says")).to_contain_text("layer 2: lag 1")
    folder = project.folder / "results/tiny/small/attention"
    norms = pd.read_parquet(folder / "norms/0000.parquet")
    stream = pd.read_parquet(folder.parent / "stream/0000.parquet")
    for at, name in enumerate(("layer_00", "layer_02")):
        shown = page.evaluate(f"Array.from(explorer.tokens.norm({at}))")
        np.testing.assert_allclose(shown, np.log(norms[name]), atol=0.02)
        relative = page.evaluate(f"Array.from(explorer.tokens.relative({at}))")
        np.testing.assert_allclose(relative, np.log(norms[name] / stream[name]), atol=0.04)


def test_a_layer_that_was_left_out_is_an_empty_place(page):
    left, right = 52, 10  # margins of a panel
    panel = "explorer.panels.get('profile-0')"
    width, places = page.evaluate(f"[{panel}.width, {panel}.places]")
    cell = (width - left - right) / 3
    np.testing.assert_allclose(places, [left + 0.5 * cell, left + 2.5 * cell])
    texts = page.locator("#profile figure").first.locator("svg[role=slider] text")
    assert texts.all_text_contents()[-3:] == ["0", "2", "layer"]
    # A map has the layers that are there, side by side.
    page.locator("#tab-heads").click()
    figure = page.locator("[data-sheet=heads] figure").first
    assert page.evaluate("explorer.panels.get('heads-0').panel.x") == [0, 2]
    expect(figure.locator(".cell")).to_have_count(2 * 4)


def test_a_layer_of_the_sources_that_the_regression_lacks_is_not_chosen(page, subtests):
    page.locator("#tab-sources").click()
    picture = page.locator("[data-sheet=shares] figure svg[role=slider]").first
    assert page.evaluate("explorer.panels.get('shares-0').panel.x") == [0, 1, 2]
    for layer, chosen in ((2, 2), (1, 2), (0, 0)):
        with subtests.test(layer=layer):
            place = page.evaluate(f"explorer.panels.get('shares-0').places[{layer}]")
            picture.click(position={"x": place, "y": 60})
            assert page.evaluate("explorer.state.layer") == chosen
