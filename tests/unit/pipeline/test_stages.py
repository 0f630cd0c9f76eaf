"""The settings of a stage: equal settings give equal text, which holds all its program reads."""

import inspect
import json
from typing import Any, get_type_hints

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
def test_a_program_reads_the_settings_that_the_workflow_states(stage: str) -> None:
    text = settings_text(stage)
    kind = get_type_hints(getattr(stages, stage))["return"]
    assert stages.canonical(TypeAdapter(kind).validate_json(text)) == text


def test_equivalent_settings_have_equal_text() -> None:
    one = settings_text("build_design", regression={"lags": [2, 1]})
    assert one == settings_text("build_design", regression={"lags": [1, 2.0]})
    assert one != settings_text("build_design", regression={"lags": [1, 3]})
    assert one != settings_text("build_design", norms={"drop_first": 2})


@pytest.mark.parametrize("value", [1, True, "true"])
def test_every_spelling_of_true_gives_the_same_setting(value: Any) -> None:
    text = settings_text("tokenize_corpus", tokens={"prepend_bos": value})
    assert json.loads(text)["prepend_bos"] is True


def test_the_precision_of_storage_is_omitted_if_vectors_are_not_stored() -> None:
    text = settings_text("extract_activations", extraction={"keep": "norms"})
    stated = {"keep": "norms", "storage_dtype": "float16"}
    assert settings_text("extract_activations", extraction=stated) == text


@pytest.mark.parametrize("by", ["entropy_before", "token_characters"])
def test_surprisal_is_measured_if_slopes_depend_on_it(by: str) -> None:
    text = settings_text("extract_activations", regression={"slopes_by": {by: "lag"}})
    assert ("surprisal" in json.loads(text)["quantities"]) == (by == "entropy_before")
