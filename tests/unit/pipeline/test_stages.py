"""The settings of a stage: equal settings give equal text, which holds all its program reads."""

import inspect
import json
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter
from stage_settings import settings_text

from attnlag.pipeline import stages

FUNCTIONS = [
    name
    for name, function in inspect.getmembers(stages, inspect.isfunction)
    if not name.startswith("_")
    and list(inspect.signature(function).parameters) == ["config", "names"]
]


@pytest.mark.parametrize("stage", FUNCTIONS)
def test_a_program_reads_the_settings_that_the_workflow_states(stage):
    stated = json.loads(settings_text(stage))
    # What is drawn, and how: draw_figures reads this itself.
    assert ("drawing" in stated) == stage.startswith("plot_")
    text = json.dumps({key: stated[key] for key in stated if key != "drawing"})
    kind = get_type_hints(getattr(stages, stage))["return"]
    assert stages.canonical(TypeAdapter(kind).validate_json(text)) == text


STORED = {"keep": "norms", "storage_dtype": "float16"}
EQUAL = [
    # a stage, sections, and others that mean the same to it
    ("build_design", {"regression": {"lags": [3, 1]}}, {"regression": {"lags": [1, 3.0]}}),
    ("build_design", {"norms": {"drop_first": "2"}}, {"norms": {"drop_first": 2}}),
    ("tokenize_corpus", {"tokens": {"prepend_bos": 1}}, {"tokens": {"prepend_bos": True}}),
    ("tokenize_corpus", {"tokens": {"prepend_bos": "true"}}, {"tokens": {"prepend_bos": True}}),
    # Without vectors it does not matter how they would be stored.
    ("extract_activations", {"extraction": STORED}, {"extraction": {"keep": "norms"}}),
]


@pytest.mark.parametrize(("stage", "sections", "others"), EQUAL)
def test_equivalent_settings_have_equal_text(stage, sections, others):
    text = settings_text(stage, **sections)
    assert text == settings_text(stage, **others) != settings_text(stage)


@pytest.mark.parametrize("by", ["entropy_before", "token_characters"])
def test_surprisal_is_measured_if_slopes_depend_on_it(by):
    text = settings_text("extract_activations", regression={"slopes_by": {by: "lag"}})
    assert ("surprisal" in json.loads(text)["quantities"]) == (by == "entropy_before")
