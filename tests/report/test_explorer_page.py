"""The explorer in a browser, from the disk, without a network."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect
from programs import command_of
from projects import SEVERAL, Project, new_project

from attnlag.adjustments.columns import KEYS
from attnlag.report.explorer import contents

HOSTILE = (
    '</script><script>alert("text")</script><img src=x onerror=alert("image")> &amp; $x$ \u2028'
)
RICH = {**SEVERAL["rich"], "outcome": "relative"}
SITES = ["attention", "mlp"]


@pytest.fixture(scope="module")
def project(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project after a run with hostile documents, and with a second model and corpus."""
    project = new_project(tmp_path_factory.mktemp("explorer") / "project", gpt2)
    rows = [
        {"id": f"{HOSTILE}{place}", "genre": HOSTILE, "text": f"{HOSTILE} {'and so on ' * 30}"}
        for place in range(2)
    ]
    with (project.folder / "data/small.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    project.write_config(
        extraction={"sites": SITES, "keep": "norms", "geometry": True},
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 4}},
        regressions={
            **{"within": SEVERAL["within"], "rich": RICH},
            "turned": {"outcome": "angle", "lags": [1]},
        },
    )
    project.run("results/explorer.html")
    results = project.folder / "results"
    norms = pq.read_table(results / "tiny/small/attention/norms/0000.parquet")
    tags = np.array(["NOUN", "VERB", "PUNCT", "<b>"])[np.arange(len(norms)) % 4]
    surprisal = np.linspace(0, 12, len(norms))
    for folder, name, values in (
        ("token_properties", "upos", tags),
        ("surprisal", "surprisal", surprisal),
    ):
        path = results / "tiny/small" / folder / "0000.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(norms.select(KEYS).append_column(name, pa.array(values)), path)
    # Another model and another corpus, as far as names go.
    shutil.copytree(results / "tiny/small", results / "tiny/other")
    shutil.copy(results / "corpora/small.parquet", results / "corpora/other.parquet")
    shutil.copytree(results / "tiny", results / "twin")
    return project


@pytest.fixture(scope="module")
def studies(project: Project) -> list[Path]:
    return sorted((project.folder / "results").glob("*/*/*/*/coefficients.parquet"))[::-1]


@pytest.fixture(scope="module")
def file(project: Project, studies: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page, built by its program and moved far from the project."""
    folder = tmp_path_factory.mktemp("far")
    findings = [path.with_name("findings.txt") for path in studies]
    corpus = project.folder / "results/tiny/small"
    beside = [corpus / name / "0000.parquet" for name in ("token_properties", "surprisal")]
    given = {"coefficients": studies, "findings": findings, "beside": beside}
    for name in ("explorer.html", "again.html"):
        made = {"page": folder / name, "answers": folder / "answers.txt"}
        command = command_of("build_explorer", given, made)
        subprocess.run(command, check=True)
    assert (folder / "explorer.html").read_bytes() == (folder / "again.html").read_bytes()
    return folder / "explorer.html"


@pytest.fixture
def page(file: Path, opened: tuple[Page, list[str], list[str]]) -> Page:
    """Return the page, opened; nothing may go wrong in it, and nothing may be asked for."""
    page, asked, wrong = opened
    yield ready(page, file)
    assert not wrong
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def ready(page: Page, file: Path, state: str = "") -> Page:
    page.goto("about:blank")
    page.goto(f"file://{file}#{state}")
    page.locator("html[data-ready=yes]").wait_for()
    return page


def state_of(page: Page) -> dict[str, str]:
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def shades(page: Page) -> list[str]:
    return page.evaluate(
        "[...document.querySelectorAll('#text span')].map(s => s.style.background)"
    )


def model(name: str) -> str:
    return f"Bokeh.documents.map(one => one.get_model_by_name('{name}')).find(Boolean)"


@pytest.mark.parametrize("regression", ["within", "rich", "turned"])
def test_the_page_computes_the_residuals_of_the_design(page, file, studies, regression):
    ready(page, file, f"model=tiny&corpus=small&site=mlp&regression={regression}")
    (path,) = [p for p in studies if p.parts[-5:-1] == ("tiny", "small", "mlp", regression)]
    study = contents.study_of(path)
    index = page.evaluate("explorer.study")
    norms = pq.read_table(path.parents[1] / "norms/0000.parquet", columns=KEYS[:3]).to_pandas()
    keys = pd.MultiIndex.from_frame(norms.astype({"document": str}))
    names = list(norms["document"].unique())
    terms = {
        term: {"estimate": [np.nan if b is None else b for b in values["estimate"]]}
        for term, values in index["terms"].items()
    }
    expected = contents.residuals(study, {**index, "terms": terms}, names, keys)
    known = 0
    for layer in range(len(expected)):
        found = page.evaluate(f"Array.from(explorer.tokens.residual({layer}))")
        found = np.array([np.nan if value is None else value for value in found], float)
        slopes = sum(abs(values["estimate"][layer]) for values in terms.values())
        steps = page.evaluate(
            "[explorer.tokens.norms.scale.step, explorer.tokens.stream.scale.step,"
            " explorer.tokens.own.scale?.step ?? [0]].flat()"
        )
        if np.isnan(expected[layer]).all():
            assert np.isnan(found).all()
            continue
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected[layer]))
        known += 1
        np.testing.assert_allclose(found, expected[layer], atol=np.max(steps) * (1 + slopes))
        assert np.nanstd(expected[layer]) > 3 * np.nanstd(found - expected[layer])
    assert known == (1 if regression == "rich" else 2)


def test_every_choice_changes_the_page_and_its_address(page):
    expect(page.locator("#answers tr")).not_to_have_count(0)
    expect(page.locator("#answers-title")).to_contain_text("tiny · small: ")
    for key in ("model", "corpus", "site", "regression"):
        options = page.locator(f"#{key} option").all_inner_texts()
        assert len(options) > 1
        chosen = next(one for one in options if one != state_of(page)[key])
        page.locator(f"#{key}").select_option(chosen)
        page.wait_for_function(f"location.hash.includes('{key}={chosen}')")
    page.locator("#regression").select_option("within")
    page.wait_for_function("location.hash.includes('regression=within')")
    before = shades(page)
    page.locator("#layer").press("ArrowLeft")
    assert state_of(page)["layer"] == "0"
    assert "layer 0: lag 1" in page.locator("#layer").get_attribute("aria-valuetext")
    assert shades(page) != before
    assert page.evaluate(f"{model('trainedCursor')}.location") == 0
    drawn = page.evaluate(f"Array.from({model('coefficients')}.data.estimate)")
    page.locator("#lag").select_option("lag_2")
    assert page.evaluate(f"Array.from({model('coefficients')}.data.estimate)") != drawn
    page.locator("#table summary").click()
    expect(page.locator("#table tbody tr")).to_have_count(2)
    seen = []
    for shade in page.locator("#shade option").evaluate_all("all => all.map(one => one.value)"):
        page.locator("#shade").select_option(shade)
        seen.append(tuple(shades(page)))
    assert len(set(seen)) == len(seen) >= 5
    for points, name in (("all", "others"), ("density", "cells")):
        page.locator("#points").select_option(points)
        assert page.evaluate(f"Object.values({model(name)}.data)[0].length") > 20
    page.locator("#theme").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    state = state_of(page)
    told = page.locator("#cloud-note").inner_text()
    page.reload()
    page.locator("html[data-ready=yes]").wait_for()
    assert state_of(page) == state
    assert page.locator("#cloud-note").inner_text() == told


def test_the_search_finds_documents_by_their_words(page):
    total = page.locator("#document option").count()
    assert total == 10
    page.locator("#find").fill("onerror")
    expect(page.locator("#found")).to_have_text("2 of 10 documents")
    assert page.locator("#document option").count() == 2
    assert "onerror" in page.locator("#text").inner_text()
    page.locator("#find").fill("no document says this")
    expect(page.locator("#found")).to_have_text("0 of 10 documents")
    page.locator("#find").fill("")
    assert page.locator("#document option").count() == total
    page.locator("#document").select_option("doc-3")
    assert state_of(page)["document"] == "doc-3"


def test_markup_in_a_corpus_is_shown_as_text(page):
    page.locator("#find").fill("onerror")
    assert HOSTILE.split(" &")[0] in page.locator("#text").inner_text()
    page.locator("#text span").nth(8).click()
    expect(page.locator("#token")).to_contain_text("</script>")
    page.locator("#shade").select_option("upos")
    told = []
    for place in range(4):
        page.locator("#text span").nth(place).hover()
        told.append(page.locator("#token").inner_text())
    assert "<b>" in "".join(told)
    assert page.locator("main img, main script, main b").count() == 0


def test_a_token_and_its_point_highlight_each_other(page, file):
    ready(page, file, "model=tiny&corpus=small&document=doc-7&regression=within")
    page.locator("#text span").nth(9).hover()
    expect(page.locator("#words mark")).to_have_count(1)
    assert page.locator("#words > *").count() == 13
    x, y = page.evaluate(f"[{model('active')}.data.x[0], {model('active')}.data.y[0]]")
    found = page.evaluate(
        "(() => { const {x, y} = explorer.tokens.pairs(1, -1);"
        " const t = explorer.tokens.first[7] + 9; return [x[t], y[t]]; })()"
    )
    assert [x, y] == found
    # The other way: over its point the token is told, and a click keeps it.
    spot = place_of(page, x, y)
    page.mouse.move(5, 5)
    expect(page.locator("#words mark")).to_have_count(0)
    page.mouse.move(*spot, steps=3)
    expect(page.locator("#words mark")).to_have_count(1)
    page.mouse.click(*spot)
    assert "token" in state_of(page)


def test_the_scatter_plot_shows_the_chosen_lag(page, file):
    ready(page, file, "model=tiny&corpus=small&document=doc-7&regression=within&layer=1")
    lag_1 = page.evaluate(f"Array.from({model('own')}.data.y)")
    page.locator("#lag").select_option("lag_2")
    expect(page.locator("#limits")).to_contain_text("t−2 from")
    expect(page.locator("#cloud-note")).to_contain_text("the coefficient of lag 2")
    found = page.evaluate(f"""(() => {{
        const {{x, y, token}} = {model("own")}.data, {{tokens}} = explorer;
        const [centred] = [tokens.pairs(1, -1).y];
        return [Array.from(x), Array.from(token, one => centred[one - 2])];
    }})()""")
    assert found[0] == found[1]
    assert len(found[0]) == len(lag_1) - 1


def test_every_focusable_element_has_a_role_and_a_name(page):
    """The accessibility tree is what a screen reader gets."""
    page.locator("#numbers summary").click()
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    controls = []
    for node in tree["nodes"]:
        states = {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
        if not node["ignored"] and states.get("focusable"):
            controls.append((node["role"]["value"], node["name"]["value"]))
    assert [(role, name) for role, name in controls if role == "generic" or not name.strip()] == []
    roles = {role for role, _ in controls}
    assert {"combobox", "searchbox", "slider", "listbox", "button", "spinbutton"} <= roles


def place_of(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where on the screen a point of the scatter is."""
    page.locator("#cloud").scroll_into_view_if_needed()
    return tuple(
        page.evaluate(
            """([x, y]) => {
              const find = views => {
                for (const view of views) {
                  if (view.model.name === "scatter") return view;
                  const found = find(view.child_views ?? []);
                  if (found) return found;
                }
              };
              const view = find(Bokeh.index.roots), frame = view.frame;
              const box = view.el.getBoundingClientRect();
              return [box.left + frame.x_scale.compute(x), box.top + frame.y_scale.compute(y)];
            }""",
            [x, y],
        )
    )


def test_a_brush_highlights_tokens_and_text_highlights_points(page, file):
    ready(page, file, "model=tiny&corpus=small&document=doc-7&regression=within")
    page.locator("#cloud").scroll_into_view_if_needed()
    box = page.locator("#cloud").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] - 70, steps=4)
    page.mouse.up()
    page.wait_for_function("location.hash.includes('brush=')")
    high = page.locator("#text .high").count()
    assert high > 5
    assert page.evaluate(f"{model('own')}.selected.indices.length") == high
    expect(page.locator("#highlighted-title")).to_contain_text("highlighted")
    page.locator("#points").select_option("all")
    expect(page.locator("#highlighted-title")).to_contain_text("documents")
    page.locator("#elsewhere button").first.click()
    assert state_of(page)["document"] != "doc-7"
    page.locator("#clear").click()
    expect(page.locator("#text .high")).to_have_count(0)
    page.locator("#numbers summary").click()
    page.locator("#limits input[name=x0]").fill("0")
    page.locator("#limits button").click()
    assert page.locator("#text .high").count() > 0
    # From the text, by keyboard.
    page.locator("#text").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert state_of(page)["span"] == "0,4"
    expect(page.locator("#text [aria-selected=true]")).to_have_count(5)
    active = page.locator("#text").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").inner_text() in page.locator("#words mark").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(page.locator("#text .high")).to_have_count(0)
    # And with the mouse.
    page.evaluate(
        "(() => { const spans = document.querySelectorAll('#text span');"
        " getSelection().setBaseAndExtent(spans[3].firstChild, 0, spans[6].firstChild, 1); })()"
    )
    page.locator("#text").dispatch_event("mouseup")
    assert state_of(page)["span"] == "3,6"


def test_a_click_on_a_layer_selects_it(page):
    box = page.locator("#profile").bounding_box()
    page.mouse.click(box["x"] + 140, box["y"] + 100)
    page.wait_for_function("location.hash.includes('layer=0')")


def test_an_address_with_invalid_values_opens_the_page_with_its_defaults(page, file):
    ready(page, file, "model=x&layer=99&shade=y&document=z&brush=1,b&span=1&token=9999&theme=q")
    assert state_of(page)["layer"] == "1"
    assert "brush" not in state_of(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_page_fits_the_width_of_the_screen(browser, file, shots, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme
    )
    page = ready(context.new_page(), file, "token=7&points=density&site=attention")
    page.wait_for_timeout(300)
    page.screenshot(path=shots / f"explorer {width} {scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    context.close()
