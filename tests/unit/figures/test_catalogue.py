"""The catalogue of figures names the modules, the stages that draw them and no library."""

import draw_figures
from attnlag.figures import catalogue
from attnlag.pipeline.outputs import TABLE
from attnlag.quantities.catalogue import OPTIONAL
from attnlag.regression.labels import weights_in_words


def test_the_catalogue_of_figures_matches_the_modules():
    found = catalogue.figures()
    modules = catalogue.FOLDER.glob("*.py")
    drawing = {path.stem for path in modules if "\ndef figure(" in path.read_text()}
    assert {figure.name for figure in found} == drawing
    needs = {figure.needs for figure in found}
    # Any other need would never be met.
    assert needs <= {"", "groups", "tags", "regressions", "sources", *OPTIONAL}
    assert set(draw_figures.INPUTS) <= {figure.drawn_by for figure in found} | needs
    for figure in found:
        assert figure.drawn_by in draw_figures.INPUTS
        # What a paper says of it is one sentence.
        assert figure.method.endswith(".")


def test_each_stage_that_draws_has_a_folder_of_figures_of_its_own():
    folders = TABLE["figures"].values()
    assert len(set(folders)) == len(folders)
    assert set(TABLE["figures"]) == {figure.drawn_by for figure in catalogue.figures()}


def test_the_subtitle_of_several_models_names_those_with_quantised_weights():
    assert weights_in_words([{"name": "a", "bits": 4}, {"name": "b"}]) == "a: 4-bit weights"
