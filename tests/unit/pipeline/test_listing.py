"""`make list` and `make figure`."""

import sys

import pytest
from projects import ROOT

from attnlag.pipeline import listing


def listed(monkeypatch, capsys, *arguments):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["listing", *arguments])
    listing.main()
    return capsys.readouterr().out


def test_make_list_lists_the_names_and_paths_of_figures(monkeypatch, capsys):
    out = listed(monkeypatch, capsys)
    assert "models\n  smollm2-135m-instruct\ncorpora\n  prompts\n" in out
    figure = (
        "results/smollm2-135m-instruct/prompts/attention/within/figures/coefficients_by_layer.png"
    )
    assert f"    {figure}\n" in out


def test_the_beginning_of_a_name_gives_the_files_of_a_figure(monkeypatch, capsys):
    *options, separator = listed(monkeypatch, capsys, "--figure", "coef").split()[:3]
    assert options == ["--config", 'figures={"also":[]}']
    assert separator == "--"
    paths = listed(monkeypatch, capsys, "--figure", "coef").split()[3:]
    assert paths
    assert {path.rsplit("/", 1)[1].split(".")[0] for path in paths} == {"coefficients_by_layer"}


def test_a_figure_on_request_is_listed_and_asked_for(monkeypatch, capsys):
    out = listed(monkeypatch, capsys)
    drawn, requested = out.split("on request")
    assert "diagnostics" not in drawn
    assert "  diagnostics\n" in requested
    asked = listed(monkeypatch, capsys, "--figure", "diag")
    assert asked.startswith('--config figures={"also":["diagnostics"]} -- results/')
    with pytest.raises(
        SystemExit, match=r"found '', expected .*coefficients_by_layer.*diagnostics"
    ):
        listed(monkeypatch, capsys, "--figure", "")


def test_an_unknown_figure_is_named_with_the_nearest(monkeypatch, capsys):
    with pytest.raises(
        SystemExit, match=r"found 'norm_by_layer', .*did you mean 'norms_by_layer'\?"
    ):
        listed(monkeypatch, capsys, "--figure", "norm_by_layer")
