"""The catalogue of covariates, and what is derived from an entry."""

import subprocess
import sys

import pytest
from designs import design_settings
from projects import ROOT

from attnlag.errors import UserError
from attnlag.regression.design import covariates
from attnlag.regression.design.covariates import CATALOGUE, LayerCovariate, TokenCovariate
from attnlag.regression.terms import Cell


def test_reading_the_catalogue_imports_no_slow_library():
    script = (
        "import sys; import attnlag.regression.design.covariates; "
        "print([n for n in ('numpy', 'pandas', 'pyarrow', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("name", "covariate"),
    [
        ("position_12", "position"),
        ("log_frequency", "log_frequency"),
        ("group_a b", "group"),
        ("previous_layer_lag_1", "previous_layer"),
    ],
)
def test_a_term_belongs_to_one_covariate_by_its_name(name, covariate):
    assert covariates.is_term(name)
    assert [other for other in CATALOGUE if covariates.is_term(name, other)] == [covariate]


@pytest.mark.parametrize(
    "name", ["lag_1", "position_", "position_x", "group_", "y", "log_frequencyx"]
)
def test_other_names_are_not_terms_of_covariates(name):
    assert not covariates.is_term(name)


def test_one_entry_of_the_catalogue_defines_a_covariate(monkeypatch, tmp_path):
    style = TokenCovariate(
        description="how it is written",
        terms=("style_NAME",),
        moves=False,
        constant_in_document=True,
        columns=lambda settings, facts: [f"style_{name}" for name in facts],
        values=lambda keys, settings, facts: None,
        file="corpus",
        read=lambda path: path.read_text().split(),
    )
    two_before = LayerCovariate("two layers before", {"two_before": Cell(2, 3)})
    monkeypatch.setitem(CATALOGUE, "style", style)
    monkeypatch.setitem(CATALOGUE, "two_before", two_before)
    asked = ("two_before", "style", "log_frequency")
    assert covariates.constant_in_document(asked) == ["style"]
    assert covariates.files_needed(asked) == {"corpus", "token_counts"}
    assert covariates.layers_before(["two_before", "y"]) == 2
    assert covariates.layer_cells(asked) == {"two_before": Cell(2, 3)}
    assert covariates.is_term("style_plain")
    assert covariates.in_words().endswith(
        "`style` (how it is written), `two_before` (two layers before)"
    )
    settings = design_settings(lags=(1,), covariates=asked[:2])
    (tmp_path / "corpus").write_text("plain ornate")
    facts = covariates.read_facts(settings, {"corpus": tmp_path / "corpus"})
    assert covariates.shared_terms(settings, facts) == {"style_plain": False, "style_ornate": False}
    with pytest.raises(UserError, match="the covariate style without corpus"):
        covariates.read_facts(settings, {"corpus": None})


def test_an_unknown_covariate_is_an_error():
    """An unknown covariate would be silently missing from the design and from the control."""
    with pytest.raises(ValueError, match="unknown covariates: \\['odd_token'\\]"):
        covariates.shared_terms(design_settings(covariates=("odd_token",)), {})
