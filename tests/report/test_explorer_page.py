"""The explorer in a browser, from the disk, without a network."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from described import files_in, in_memory
from playwright.sync_api import Page, expect
from projects import SEVERAL, Project, command_of, new_project, save_model

from attnlag.claims.analyses import as_table, claims_of_study
from attnlag.claims.results import regressions_in
from attnlag.quantities.columns import KEYS
from attnlag.report.explorer import contents
from attnlag.report.explorer import page as pages
from attnlag.storage import tables
from attnlag.storage.results import Results, declared_by

HOSTILE = (
    '</script><script>alert("text")</script><img src=x onerror=alert("image")> &amp; $x$ \u2028'
)
RICH = {**SEVERAL["rich"], "outcome": "relative"}
SITES = ["attention", "mlp"]
STUDY = ("tiny", "small", "attention")
SMALL = "model=tiny&corpus=small&site=attention&regression=within"


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
    for step in (0, 64):
        shape = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 64, "vocab_size": 8281}
        save_model(project.folder / f"step{step}", "gpt2", seed=step, **shape)
    by = {"slopes_by": {"token_characters": "outcome"}, "min_rows_per_class": 1}
    project.write_config(
        models={"tiny": {"source": "path", "path": "mine", "revisions": ["step0", "step64"]}},
        extraction={"sites": SITES, "quantities": ["geometry", "heads"]},
        controls={
            "permutation": {"draws": 19},
            "random_weights": {"documents": 4},
            "revisions": {"documents": 6},
        },
        regressions={
            **{"within": SEVERAL["within"] | by, "rich": RICH},
            "turned": {"outcome": "angle", "lags": [1]},
        },
        causal={"targets": "all", "documents": 4, "document_tokens": 12, "interventions": []},
        sources={"documents": 2, "document_tokens": 12},
    )
    project.run("results/explorer.html")
    results = project.folder / "results"
    norms = pq.read_table(results / "tiny/small/attention/norms/0000.parquet")
    tags = np.array(["NOUN", "VERB", "PUNCT", "<b>"])[np.arange(len(norms)) % 4]
    path = results / "tiny/small/token_properties/0000.parquet"
    table = pq.read_table(path)
    table = table.set_column(table.schema.get_field_index("upos"), "upos", pa.array(tags))
    pq.write_table(table, path)
    path = results / "tiny/small/surprisal/0000.parquet"
    path.parent.mkdir(exist_ok=True)
    surprisal = pa.array(np.linspace(0, 12, len(norms)))
    pq.write_table(norms.select(KEYS).append_column("surprisal", surprisal), path)
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
    given = files_in(project.folder / "results")
    given |= {"coefficients": studies, "findings": findings}
    own = Results(project.folder / "results/tiny/small", declared_by(given).declared)
    claims, records = as_table(claims_of_study(own))
    # Those of the copies are the same, under their names.
    places = [(model, corpus) for model in ("tiny", "twin") for corpus in ("small", "other")]
    copies = [claims.assign(model=model, corpus=corpus) for model, corpus in places]
    records_of_copies = [
        each | {"place": [*place, *each["place"][2:]]} for place in places for each in records
    ]
    table = pd.concat(copies, ignore_index=True)
    tables.write_frame(table, folder / "claims.parquet", {"studies": records_of_copies})
    given["claims"] = folder / "claims.parquet"
    made = {"page": folder / "explorer.html", "answers": folder / "answers.txt"}
    subprocess.run(command_of("build_explorer", given, made), check=True)
    return folder / "explorer.html"


@pytest.fixture
def page(file: Path, page: Page) -> Page:
    """Return the page, opened; it writes nothing to the console."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    yield ready(page, file)
    assert said == []


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


def drawn(page: Page, sheet: str, panel: int = 0, line: int = 0, of: str = "y") -> list[float]:
    """Return the values of a line of a panel, or the ends of its interval."""
    return page.evaluate(f"explorer.panels.get('{sheet}-{panel}').panel.lines[{line}].{of}")


def same(found: list, expected: pd.Series | pd.DataFrame) -> None:
    """Compare numbers of the page, which are rounded, with those of a table."""
    np.testing.assert_allclose(np.array(found, float), expected.to_numpy(float), rtol=1e-4)


def tab(page: Page, name: str) -> None:
    page.locator(f"#tab-{name}").click()
    expect(page.locator(f"#panel-{name}")).to_be_visible()


@pytest.mark.parametrize("regression", ["within", "rich", "turned"])
def test_the_page_has_the_residuals_of_the_fit(page, file, studies, regression):
    ready(page, file, f"model=tiny&corpus=small&site=mlp&regression={regression}")
    (path,) = [p for p in studies if p.parts[-5:-1] == ("tiny", "small", "mlp", regression)]
    fits = pd.read_parquet(path.with_name("fits.parquet")).set_index("layer")
    known = 0
    for layer in range(2):
        found = page.evaluate(f"Array.from(explorer.tokens.residual({layer}))")
        found = np.array([np.nan if value is None else value for value in found], float)
        fit = fits.loc[layer]
        if fit["status"] != "ok":
            assert np.isnan(found).all()
            continue
        known += 1
        assert np.isfinite(found).sum() == fit["n_obs"]
        step = page.evaluate(f"explorer.tokens.residuals.scale.step[{layer}]")
        # As each is rounded, so is their size; a correction of bias makes it larger.
        size = np.sqrt(np.nansum(found**2) / (fit["n_obs"] - 2))
        assert size == pytest.approx(fit["sigma"], rel=0.15 if regression != "turned" else 0.01)
        assert step < fit["sigma"] / 10
    assert known == (1 if regression == "rich" else 2)


def test_the_first_screen_asks_and_answers(page):
    expect(page.locator("#title")).to_contain_text("· small: ")
    expect(page.locator("#question")).to_have_text(re.compile(r"stream: its adjustment\.$"))
    expect(page.locator("#equation")).to_contain_text("log a[t] = b1 log a[t−1] + b2 log a[t−2]")
    labels = page.locator("#answers th, #more-answers th").all_text_contents()
    assert labels[0] == "Does a large adjustment follow a large one?"
    assert {"tokens in random order", "during training", "Check"} < set(labels)
    keys = page.locator("#profile .keys > span").all_inner_texts()
    assert {"random order", "own", "trained"} < {key.strip() for key in keys}
    # Further answers are folded.
    expect(page.locator("#answers tr")).to_have_count(2)
    page.locator("#further-answers summary").click()
    # What a word means is shown to a mouse and to the keyboard, and the page's end lists all.
    page.locator("#question dfn").first.hover()
    expect(page.locator("#tip")).to_contain_text("sublayer")
    page.mouse.move(2, 2)
    expect(page.locator("#tip")).to_be_hidden()
    page.locator("#regression").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "DFN":
            break
    expect(page.locator("#question dfn:focus")).to_have_count(1)
    expect(page.locator("#tip")).to_contain_text("sublayer")
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    # Legends repeat words; they are plain there.
    assert page.locator(".keys dfn").count() == 0
    page.locator("#words-used summary").press("Enter")
    expect(page.locator("#words-used dl")).to_contain_text("residual stream")
    # Numbers stand beside the table that they come from, with errors and p-values.
    headers = page.locator("#table thead th").all_inner_texts()
    assert {"standard error", "p", "p, corrected"} < set(headers)
    link = page.locator("#coefficients-tables a").first
    study = state_of(page)
    names = [study[key] for key in ("model", "corpus", "site", "regression")]
    expect(link).to_have_text("/".join(["results", *names, "coefficients.csv"]))
    assert link.get_attribute("href") == "/".join([*names, "coefficients.csv"])


def test_every_choice_changes_the_page_and_its_address(page, subtests):
    for key in ("model", "corpus", "site", "regression"):
        with subtests.test(key=key):
            options = page.locator(f"#{key} option").all_inner_texts()
            assert len(options) > 1
            chosen = next(one for one in options if one != state_of(page)[key])
            page.locator(f"#{key}").select_option(chosen)
            page.wait_for_url(re.compile(f"{key}={chosen}"))
    page.locator("#regression").select_option("within")
    page.wait_for_url(re.compile("regression=within"))
    tab(page, "coefficients")
    before = page.locator("#table").inner_text()
    page.locator("#lag").select_option("lag_2")
    assert page.locator("#table").inner_text() != before
    expect(page.locator("#table tbody tr")).to_have_count(2)
    tab(page, "text")
    before = shades(page)
    page.locator("#layer").press("ArrowLeft")
    assert state_of(page)["layer"] == "0"
    assert "layer 0: lag 2" in page.locator("#layer").get_attribute("aria-valuetext")
    assert shades(page) != before
    seen = []
    for shade in page.locator("#shade option").evaluate_all("all => all.map(one => one.value)"):
        page.locator("#shade").select_option(shade)
        seen.append((page.locator("#scale").inner_text(), *shades(page)))
    assert len(set(seen)) == len(seen) >= 5
    page.locator("#theme").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    state = state_of(page)
    told = page.locator("#layer-says").inner_text()
    page.reload()
    page.locator("html[data-ready=yes]").wait_for()
    assert state_of(page) == state
    assert page.locator("#layer-says").inner_text() == told


def test_back_and_forward_go_through_tabs_layers_documents_and_tokens(page, file):
    ready(page, file, f"{SMALL}&tab=text&document=doc-7&layer=1")
    steps = [state_of(page)]
    for step in (
        lambda: page.locator("#text span").nth(5).click(),
        lambda: page.locator("#document").select_option("doc-3"),
        lambda: page.locator("#layer").press("ArrowLeft"),
        lambda: tab(page, "causes"),
    ):
        page.wait_for_timeout(20)
        step()
        steps.append(state_of(page))
    assert len({json.dumps(step) for step in steps}) == 5
    for expected in steps[-2::-1]:
        page.go_back()
        expect(page.locator(f"#panel-{expected['tab']}")).to_be_visible()
        assert state_of(page) == expected
    expect(page.locator("#panel-text")).to_be_visible()
    page.go_forward()
    expect(page.locator("#text .active")).to_have_count(1)
    assert state_of(page) == steps[1]


def test_the_search_finds_documents_by_their_words(page, file):
    ready(page, file, f"{SMALL}&tab=text&document=doc-3")
    total = page.locator("#document option").count()
    assert total == 10
    # What is found nowhere leaves the selection.
    page.locator("#find").fill("no document says this")
    expect(page.locator("#found")).to_have_text(
        "No document has “no document says this”; doc-3 stays."
    )
    assert page.locator("#document").input_value() == state_of(page)["document"] == "doc-3"
    page.locator("#find").fill("onerror")
    expect(page.locator("#found")).to_have_text("2 of 10 documents")
    assert page.locator("#document option").count() == 2
    assert "onerror" in page.locator("#text").inner_text()
    page.locator("#find").fill("")
    assert page.locator("#document option").count() == total


def test_markup_in_a_corpus_is_shown_as_text(page, file):
    ready(page, file, f"{SMALL}&tab=text&shade=upos")
    page.locator("#find").fill("onerror")
    assert HOSTILE.split(" &")[0] in page.locator("#text").inner_text()
    page.locator("#text span").nth(8).click()
    expect(page.locator("#card")).to_contain_text("</script>")
    told = []
    for place in range(4):
        page.locator("#text span").nth(place).hover()
        told.append(page.locator("#card").inner_text())
    assert all(kind in "".join(told) for kind in ("noun", "verb", "punctuation", "<b>"))
    assert (
        page.locator(
            "main img, main script, main b:not(#answers b, #more-answers b, #card b)"
        ).count()
        == 0
    )
    # A formula in the CSV is text.
    cells = page.evaluate("['=1+1', '-2', '-x', 'a\"b', 3].map(explorer.cell)")
    assert cells == ["'=1+1", "-2", "'-x", '"a""b"', "3"]


def test_a_token_has_a_card_which_a_click_keeps(page, file):
    ready(page, file, f"{SMALL}&tab=text&document=doc-7")
    page.locator("#text span").nth(9).hover()
    expect(page.locator("#words mark")).to_have_count(1)
    assert page.locator("#words > *").count() == 13
    assert near(page, "#card", "#text .active") < 60
    page.mouse.move(5, 5)
    expect(page.locator("#card")).to_be_hidden()
    page.locator("#text span").nth(9).click()
    assert state_of(page)["token"] == "9"
    page.locator("#card .close").click()
    assert "token" not in state_of(page)


def near(page: Page, one: str, other: str) -> float:
    """Return the vertical distance in pixels between two elements, 0 if they are side by side."""
    a, b = (page.locator(name).bounding_box() for name in (one, other))
    return max(0.0, a["y"] - b["y"] - b["height"], b["y"] - a["y"] - a["height"])


@pytest.fixture(scope="module")
def base(project: Project) -> Path:
    """Return the folder of the results of the study that is shown first."""
    return project.folder / "results/tiny/small"


@pytest.fixture(scope="module")
def controls(base: Path) -> pd.DataFrame:
    """Return the controls of lag 1, in the order of layers."""
    controls = pd.read_parquet(base / "attention/within/controls.parquet")
    return controls[controls["term"] == "lag_1"].sort_values("layer")


def test_slopes_of_classes_are_those_of_the_table(page, file, base):
    ready(page, file, f"{SMALL}&tab=kinds&layer=1")
    classes = pd.read_parquet(base / "attention/within/classes.parquet")
    slopes = classes[classes["term"] == "lag_1"]
    expect(page.locator("[data-sheet=slopes-within] .claim")).to_contain_text("Regression within:")
    same(drawn(page, "slopes-within"), slopes[slopes["subset"] == "all"]["estimate"])
    cells = page.evaluate("explorer.panels.get('slopes-within-1').panel")
    differences = slopes.pivot(index="subset", columns="layer", values="difference")
    same(cells["values"], differences.loc[["low", "middle", "high"]])


def test_means_of_parts_of_speech_are_those_of_all_tokens(page, file):
    ready(page, file, f"{SMALL}&tab=kinds&layer=1")
    means = page.evaluate("explorer.panels.get('means-1').panel")
    assert {row.partition(" (")[0] for row in means["rows"]} == {"noun", "verb", "punctuation"}


def test_the_map_of_heads_has_the_lags_of_their_table(page, file, base):
    ready(page, file, f"{SMALL}&tab=heads")
    heads = pd.read_parquet(base / "attention/heads/head_coefficients.parquet")
    heads = heads[(heads["term"] == "lag_1") & heads["part"].isin(["0", "1"])]
    found = page.evaluate("explorer.panels.get('heads-0').panel.values")
    same(found, heads.pivot(index="part", columns="layer", values="estimate"))
    assert page.locator("[data-sheet=heads] figure > svg").first.locator(".cell").count() == 4


def test_keys_move_in_the_map_of_heads_and_choose_a_layer(page, file):
    ready(page, file, f"{SMALL}&tab=heads&layer=1")
    page.locator("[data-sheet=heads] figure > svg").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    expect(page.locator("#tip")).to_contain_text("layer 0, head 1")
    page.keyboard.press("Enter")
    assert state_of(page)["layer"] == "0"


def test_causes_have_a_sheet_for_each_site_that_was_changed(page, file):
    ready(page, file, f"{SMALL}&tab=causes")
    assert page.locator("#panel-causes .sheet").count() == 2


def test_total_effects_stand_beside_what_is_predicted(page, file, base):
    ready(page, file, f"{SMALL}&tab=causes&layer=0")
    table = pd.read_parquet(base / "causal/total_effects.parquet")
    own = table.query("source_site == 'attention' and target_site == 'attention' and lag == 1")
    own = own[own["target_layer"] == 1]
    lines = page.evaluate("explorer.panels.get('causes-attention-2').panel.lines")
    names = {"lag 1 of the layer": "coefficient", "predicted": "predicted", "caused": "estimate"}
    assert {"lag 1 of the layer", "caused"} <= {line["name"] for line in lines}
    for line in lines:
        same(line["y"], own[names[line["name"]]])
    # The key shows the squares that are drawn.
    figure = page.locator("#panel-causes .sheet").first.locator("figure").nth(2)
    assert figure.locator(".keys rect").count() == len(lines)
    assert figure.locator(".keys path").count() == 0


def test_pairs_of_layers_have_the_intervals_of_their_table(page, file, base):
    ready(page, file, f"{SMALL}&tab=causes&layer=0")
    pairs = pd.read_parquet(base / "causal/elasticities.parquet")
    pairs = pairs.query(
        "source_site == target_site == 'attention' and lag == 1 and target_layer == 1 and "
        "intervention == 'derivative' and source_layer == 0"
    )
    same(drawn(page, "causes-attention", 0, of="low"), pairs["predictive_conf_low"])
    same(drawn(page, "causes-attention", 1, of="high"), pairs["conf_high"])


def test_the_first_screen_shows_the_controls(page, file, controls):
    ready(page, file, SMALL)
    same(drawn(page, "profile", 0, 1, "low"), controls["permuted_low"])
    same(drawn(page, "profile", 1), controls["untrained_own"])


def test_the_page_says_what_it_holds_of_a_study(page, file):
    ready(page, file, SMALL)
    residual = "A residual is the outcome minus the prediction of the coefficients, minus the mean"
    expect(page.locator("#about")).to_contain_text(residual)


def test_a_line_follows_the_pointer_in_a_panel(page, file):
    ready(page, file, SMALL)
    picture = page.locator("#profile figure > svg").first
    picture.hover()
    line = picture.locator("path[style*='dasharray:2 3']")
    expect(line).to_have_attribute("d", re.compile(r"^M\d"))


def test_the_band_of_random_order_does_not_cover_the_line(page, file):
    ready(page, file, SMALL)
    styles = page.locator("#profile figure > svg g path").evaluate_all(
        "all => all.map(one => one.getAttribute('style'))"
    )
    assert styles[0].startswith("fill:var(--band)")


def saved_panel(page: Page, kind: str, folder: Path) -> Path:
    """Save a panel of the first screen, and return its file; its name is that of the study."""
    with page.expect_download() as saved:
        page.locator("#profile figure").nth(1).get_by_text(kind).click()
    name = f"tiny_small_attention_within_profile-1.{kind.lower()}"
    assert saved.value.suggested_filename == name
    saved.value.save_as(folder / name)
    return folder / name


def test_a_panel_is_saved_as_a_table(page, file, controls, tmp_path):
    ready(page, file, SMALL)
    csv = pd.read_csv(saved_panel(page, "CSV", tmp_path))
    assert csv["layer"].tolist() == [0, 1]
    same(csv["own"], controls["untrained_own"])


def test_a_panel_is_saved_as_a_picture_that_needs_no_page(page, file, tmp_path):
    ready(page, file, SMALL)
    picture = saved_panel(page, "SVG", tmp_path).read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "var(" not in picture
    assert "untrained" in picture


def test_each_sheet_is_that_of_the_figure(page, file, subtests):
    """Claims, captions and titles of panels are those of the files of figures."""
    ready(page, file, SMALL)
    sheets = page.evaluate("explorer.index.sheets")
    shown = [*sheets["tiny/small/attention"], *sheets["tiny/small/attention/within"]]
    names = {"coefficients", "groups", "slopes-within", "means", "heads", "shares", "readout"} | {
        "training"
    }
    assert names | {"causes-attention", "causes-mlp"} == {sheet["name"] for sheet in shown}
    for sheet in shown:
        with subtests.test(name=sheet["name"]):
            tab(page, sheet["tab"])
            section = page.locator(f"[data-sheet={sheet['name']}]")
            expect(section.locator(".claim")).to_have_text(f"{sheet['claim']}.")
            expect(section.locator(".note").first).to_have_text(sheet["caption"])
            titles = [panel["title"] for panel in sheet["panels"]]
            drawn_titles = section.locator("figcaption strong").all_inner_texts()
            # The first screen has the others.
            assert drawn_titles == (
                titles[1:2] + titles[3:] if sheet["name"] == "coefficients" else titles
            )
            for svg in section.locator("figure > svg").all():
                assert svg.locator("path, rect").count() > 2


def test_a_model_with_earlier_checkpoints_has_a_tab_of_its_training(page, file, project):
    ready(page, file, f"{SMALL}&tab=training")
    folder = project.folder / "results/tiny/small/attention/within"
    medians = pd.read_parquet(folder / "training.parquet")
    layers = pd.read_parquet(folder / "training_layers.parquet")
    first = page.evaluate("explorer.panels.get('training-0').panel")
    assert first["x"] == [0, 64]
    by_step = medians[(medians["quantity"] == "lag_1") & medians["step"].notna()]
    lines = {line["name"]: line for line in first["lines"]}
    same(lines["median layer"]["y"], by_step["estimate"])
    same(lines["median layer"]["low"], by_step["conf_low"])
    thin = [line for line in first["lines"] if line["each"]]
    assert [line["each"] for line in thin] == ["layer 0", "layer 1"]
    of_lag = layers[(layers["quantity"] == "lag_1") & layers["step"].notna()]
    same(
        [line["y"] for line in thin], of_lag.pivot(index="layer", columns="step", values="estimate")
    )
    # All layers share an entry of the legend and one line in the text of a step.
    figure = page.locator("[data-sheet=training] figure").first
    assert [text.strip() for text in figure.locator(".keys > span").all_inner_texts()] == [
        "layers",
        "final weights",
        "median layer",
    ]
    figure.locator("> svg").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_contain_text("step of training 64")
    ends = f"layers: {min(line['y'][1] for line in thin):.3g}"[:11]
    expect(page.locator("#tip")).to_contain_text(ends.replace("-", "−"))
    # Steps double at equal distances; the first takes as much room as a doubling.
    places = page.evaluate(
        "(view => { view.panel.x = [0, 1, 2, 4, 64]; view.panel.linearTo = 1; "
        "return view.panel.x.map((step, at) => view.placeOf(step, at)); })"
        "(explorer.panels.get('training-0'))"
    )
    steps = np.diff(places)
    np.testing.assert_allclose(steps / steps[0], [1, 1, 1, 4])
    page.evaluate(
        "(view => { view.panel.x = [0, 1024]; view.draw(); })(explorer.panels.get('training-0'))"
    )
    assert "1,024" in figure.locator("> svg text").all_text_contents()


def test_layers_without_attention_are_marked_on_axes_of_layers(page, file, subtests):
    ready(page, file, f"{SMALL}&tab=heads")
    for name in ("heads-0", "profile-0"):
        page.evaluate(
            "name => { const view = explorer.panels.get(name); "
            "view.panel.withoutAttention = [1]; view.draw(); }",
            name,
        )
    for chart in ("[data-sheet=heads] figure", "#profile figure"):
        with subtests.test(chart=chart):
            svg = page.locator(chart).first.locator("> svg")
            mark = svg.locator("text", has_text="◇")
            expect(mark).to_have_count(1)
            label = svg.locator("text", has_text=re.compile("^1$")).last
            assert mark.get_attribute("x") == label.get_attribute("x")


HEADS = ("heads", "head_coefficients")
PROPERTIES, SOURCES = ("token_properties", "surprisal"), ("shares", "sources")
# One job makes them.
CLASSES = ("classes", "equal_slopes")


@pytest.mark.parametrize(
    ("lacking", "tabs"),
    [
        (
            HEADS,
            ["Coefficients", "Text", "Kinds of token", "Causes", "Sources and readout", "Training"],
        ),
        # Only attention has sources.
        (
            (*HEADS, *PROPERTIES, *SOURCES),
            ["Coefficients", "Text", "Kinds of token", "Causes", "Sources and readout", "Training"],
        ),
        (
            (*HEADS, *PROPERTIES, *SOURCES, *CLASSES, "total_effects", "readout"),
            ["Coefficients", "Text", "Training"],
        ),
    ],
)
def test_a_study_without_what_a_tab_shows_has_no_such_tab(
    browser, studies, tmp_path, lacking, tabs
):
    files = files_in(studies[0].parents[4])
    given = {name: paths for name, paths in files.items() if name not in lacking}
    given["coefficients"] = [path for path in studies if path.parts[-5:-2] == STUDY]
    regressions = regressions_in(declared_by(given))
    found = contents.contents(regressions, in_memory(regressions), [])
    (tmp_path / "bare.html").write_text(pages.page_of(found), encoding="utf-8")
    page = ready(browser.new_page(), tmp_path / "bare.html", "tab=heads")
    assert page.locator("#tabs button").all_inner_texts() == tabs
    expect(page.locator("#trouble")).to_contain_text("tab “heads” (shown: coefficients)")
    tab(page, "text")
    assert page.locator("#text .end").count() == ("sources" not in lacking)
    if "readout" not in lacking:
        tab(page, "sources")
        start = "The token before" if "shares" not in lacking else "The attention adjustment raises"
        claim = page.locator("#panel-sources .claim").first
        expect(claim).to_have_text(re.compile(f"^({start}|Layers whose|Too few)"))
        expect(page.locator("[data-sheet=readout] [role=slider]")).to_be_visible()
        assert page.locator("[data-sheet=shares]").count() == ("shares" not in lacking)
    page.close()


def test_the_ticks_of_an_axis_are_round_and_lie_where_their_values_do(page):
    chart = page.locator("#profile figure").first.locator("> svg")
    labels = chart.locator("text[text-anchor=end]")
    texts = labels.evaluate_all("all => all.map(one => one.textContent.replace('−', '-'))")
    heights = labels.evaluate_all("all => all.map(one => one.getAttribute('y'))")
    dots = chart.locator("circle")
    dots = [float(y) for y in dots.evaluate_all("all => all.map(one => one.getAttribute('cy'))")]
    values, places = np.array([texts, heights], float)
    steps = np.diff(values)
    assert len(set(np.round(steps, 9))) == 1
    assert float(f"{steps[0]:e}".partition("e")[0]) in (1, 2, 5)
    # A label lies four pixels below its line.
    height = np.polyval(np.polyfit(values, places - 4, 1), drawn(page, "profile"))
    marked = drawn(page, "profile", of="marks")
    shown = [y for y, signs in zip(height, marked, strict=True) if {"dot", "ring"} & set(signs)]
    np.testing.assert_allclose(dots, shown, atol=0.01)


def test_a_linked_token_is_scrolled_into_view(page, file):
    page.set_viewport_size({"width": 620, "height": 600})
    ready(page, file, f"{SMALL}&tab=text")
    document, token = page.evaluate(
        "explorer.tokens.documents.map(one => [one.name, one.tokens.length - 1])"
        ".sort((a, b) => b[1] - a[1])[0]"
    )
    # Here the texts are shorter than the pane is.
    page.add_style_tag(content="#text { height: 5rem }")
    query = urlencode({"document": document, "token": token})
    page.evaluate("query => { location.hash = query; }", f"{SMALL}&tab=text&{query}")
    expect(page.locator("#text .active")).to_have_id(f"token-{token}")
    pane, active = (page.locator(name).bounding_box() for name in ("#text", "#text .active"))
    assert page.evaluate("document.getElementById('text').scrollTop") > 0
    assert max(pane["y"], 0) <= active["y"]
    assert active["y"] + active["height"] <= min(pane["y"] + pane["height"], 600)


def test_the_text_says_how_far_it_is_traced_and_which_table_colours_it(
    page, file, project, subtests
):
    base = project.folder / "results/tiny/small/attention"
    traced = pq.read_table(base / "sources/0000.parquet").to_pandas()
    document = str(traced["document"].iloc[0])
    ready(page, file, f"{SMALL}&tab=text&document={document}")
    last = traced.loc[traced["document"] == document, "position"].max()
    expect(page.locator("#text .end")).to_have_attribute("id", f"token-{last}")
    expect(page.locator("#scale .end")).to_contain_text(f"the first {last + 1} tokens are traced")
    for shade, names in (
        ("norm", ["attention/norms/"]),
        ("relative", ["attention/norms/", "stream/"]),
        ("residual", ["attention/within/coefficients.csv", "attention/within/design/"]),
        ("upos", ["token_properties/"]),
    ):
        with subtests.test(shade=shade):
            page.locator("#shade").select_option(shade)
            links = page.locator("#text-tables a")
            assert links.all_inner_texts() == [f"results/tiny/small/{name}" for name in names]
            assert links.first.get_attribute("href") == f"tiny/small/{names[0]}"
    page.locator("#document").select_option("doc-7")
    expect(page.locator("#text .end")).to_have_count(0)
    # The same tokens have writers on their card; shares and effects have a tab.
    tab(page, "sources")
    shares = pd.read_parquet(base / "sources/shares.parquet").query("source == 'previous_1'")
    same(drawn(page, "shares", 1), 100 * shares["mean"])


def test_every_focusable_element_has_a_role_and_a_name(page, file, subtests):
    """The accessibility tree is what a screen reader gets."""
    ready(page, file, f"{SMALL}&shade=upos")
    page.locator("#tab-coefficients").press("ArrowRight")
    expect(page.locator("#tab-text")).to_be_focused()
    roles = set()
    for name in ("text", "training", "coefficients", "kinds", "heads", "causes", "sources"):
        with subtests.test(name=name):
            tab(page, name)
            tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
            controls = []
            for node in tree["nodes"]:
                states = {
                    one["name"]: one["value"].get("value") for one in node.get("properties", [])
                }
                if not node["ignored"] and states.get("focusable"):
                    controls.append((node["role"]["value"], node["name"]["value"]))
            unclear = [
                (role, said) for role, said in controls if role == "generic" or not said.strip()
            ]
            assert unclear == []
            roles |= {role for role, _ in controls}
    assert {"combobox", "searchbox", "slider", "listbox", "button", "tab"} <= roles


def test_a_class_and_the_largest_tokens_lead_to_their_places(page, file):
    ready(page, file, f"{SMALL}&tab=text&document=doc-7&shade=upos")
    page.locator("#scale").get_by_text("verbs").click()
    expect(page.locator("#highlighted-title")).to_contain_text("in 10 documents")
    assert state_of(page)["class"] == "verbs"
    assert page.locator("#text .high").count() > 5
    page.locator("#elsewhere a").first.click()
    assert state_of(page)["document"] != "doc-7"
    page.locator("#scale").get_by_text("verbs").click()
    expect(page.locator("#text .high")).to_have_count(0)
    page.locator("#shade").select_option("norm")
    largest = page.evaluate(
        "Math.max(...explorer.tokens.norm(1).filter((_, t) => explorer.tokens.position[t] > 0))"
    )
    expect(page.locator("#largest li")).to_have_count(10)
    page.locator("#largest a").first.click()
    token = page.evaluate(
        "explorer.tokens.first[explorer.tokens.documents.findIndex(one => "
        "one.name === explorer.state.document)] + explorer.state.token"
    )
    assert page.evaluate(f"explorer.tokens.norm(1)[{token}]") == largest
    # By keyboard.
    page.locator("#text").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    active = page.locator("#text").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").inner_text() in page.locator("#words mark").inner_text()
    page.keyboard.press("Escape")
    assert "token" not in state_of(page)


def test_a_click_on_a_layer_selects_it(page):
    box = page.locator("#profile figure > svg").first.bounding_box()
    page.mouse.click(box["x"] + 120, box["y"] + 100)
    page.wait_for_url(re.compile("layer=0"))


def test_an_address_with_invalid_values_says_what_is_shown_instead(page, file, subtests):
    ready(page, file, "model=x&layer=99&shade=y&document=z&token=9999&tab=q&why=1")
    assert state_of(page)["layer"] == "1"
    assert "token" not in state_of(page)
    said = page.locator("#trouble").inner_text()
    for part in ("model “x” (shown: t", "layer “99” (shown: 1)", "token “9999”", "why “1”"):
        with subtests.test(part=part):
            assert part in said
    tab(page, "text")
    expect(page.locator("#trouble")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_page_fits_the_width_of_the_screen(page, file, photograph, width, scheme, subtests):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    ready(page, file, f"{SMALL}&token=7")
    # The tabs are on the first screen.
    assert page.locator("#tabs").bounding_box()["y"] < (800 if width < 600 else 700)
    for name in ("text", "training", "kinds", "heads", "causes", "sources", "coefficients"):
        with subtests.test(name=name):
            tab(page, name)
            photograph(page, f"explorer {name} {width} {scheme}", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    tab(page, "text")
    page.locator("#text span").nth(3).click()
    card = page.locator("#card").bounding_box()
    assert card["y"] >= 0
    assert card["y"] + card["height"] <= 901
