"""The programs that draw: from the files of a small study to the files of its figures."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from designs import design_settings
from pictures import synthetic_controls, synthetic_norms, synthetic_tables
from programs import Ended, job_of, run_program
from stage_settings import settings_text

import draw_figures
from attnlag.adjustments import columns
from attnlag.figures import catalogue
from attnlag.regression.design import design
from attnlag.regression.estimation import residuals
from attnlag.regression.labels import weights_in_words
from attnlag.storage import tables

SCRIPTS = Path(__file__).parents[3] / "scripts"
PROGRAMS = ["plot_norms", "plot_surprisal", "plot_regression", "plot_sites"]
RECORD = {
    "model": {"name": "gpt2", "bits": 4, "mixers": {"1": "MambaMixer"}},
    "corpus": {"name": "prompts"},
    "stages": {
        "tokens": {"shards": 2},
        "design": {"drop_first": 1},
        "regression": {"alpha": 0.1, "adjust": "benjamini-hochberg", "fixed_effects": "none"},
    },
}
LENGTH = 60
LAYERS = 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A corpus of two documents, each in a shard of its own, with the tables of a regression."""
    folder = tmp_path_factory.mktemp("study")
    position, norms = synthetic_norms(LAYERS, sequences=8, length=LENGTH)
    documents = ["one", "two"]
    designs = []
    words = [f"word{place}" for place in range(LENGTH)]
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    corpus = {"document": documents, "text": [" ".join(words)] * 2, "group": ["prose", "verse"]}
    corpus["group"] = pa.array(corpus["group"]).dictionary_encode()
    tables.write_table(pa.table(corpus), folder / "corpus.parquet", {})
    for shard, name in enumerate(documents):
        rows = slice(len(norms) // 2 * shard, len(norms) // 2 * (shard + 1))
        count = len(position[rows])
        window = np.repeat(np.arange(4, dtype=np.int32), LENGTH)
        keys = [
            pa.array([name] * count).dictionary_encode(),
            pa.array(window),
            pa.array(position[rows].astype(np.int32)),
            pa.array(np.zeros(count, np.int32)),
        ]
        table = pa.table(
            [*keys, *(pa.array(norms[rows, n]) for n in range(LAYERS))],
            schema=columns.schema(LAYERS),
        )
        file = f"{shard:04d}.parquet"
        tables.write_table(table, folder / "norms" / file, RECORD)
        tables.write_table(table, folder / "stream" / file, RECORD)
        places = {"char_start": [list(starts)] * 4, "char_end": [list(starts + 4)] * 4}
        sequences = {"document": [name] * 4, "window": np.arange(4, dtype=np.int32), **places}
        tables.write_table(pa.table(sequences), folder / "tokens" / file, RECORD)
        kinds = {
            "upos": pa.array(np.resize(["NOUN", "VERB", "none"], count)).dictionary_encode(),
            "word": np.arange(count) // 2,
            "word_initial": np.arange(count) % 2 == 0,
            "log_frequency": np.resize([-2.0, -5.0, -3.0, -9.0], count),
        }
        tables.write_table(pa.table(kinds), folder / "properties" / file, RECORD)
        surprisal = pa.array(position[rows] % 7 + 0.5, pa.float32(), mask=position[rows] == 0)
        said = pa.table({"surprisal": surprisal})
        tables.write_table(said, folder / "surprisal" / file, RECORD)
        lags = design_settings(lags=(1, 2), position_knots=None)
        (of_design,) = design.designs(table.to_batches(), lags, design.Counts(), {})
        tables.write_table(of_design, folder / "design" / file, RECORD)
        designs += of_design.to_batches()
    sums = residual_sums(designs)
    record = {**RECORD, "residuals": residuals.record_of(sums)}
    tables.write_table(residuals.to_table(sums), folder / "residuals.parquet", record)
    coefficients, fits = synthetic_tables(LAYERS)
    fits = fits.assign(kurtosis=3.5, breusch_pagan=9.0, status="ok")
    influence = coefficients[["layer", "term"]].assign(document="one", change_in_se=0.2)
    groups = pd.concat(
        [
            coefficients.assign(subset=group, status="ok", n_documents=9)
            for group in ("prose", "verse")
        ]
    )
    for name, frame in {
        "coefficients": coefficients,
        "controls": synthetic_controls(coefficients),
        "fits": fits,
        "influence": influence,
        "groups": groups,
    }.items():
        tables.write_frame(frame, folder / f"{name}.parquet", folder / f"{name}.csv", RECORD)
    return folder


def residual_sums(batches) -> residuals.ResidualSums:
    """Return the sums of a regression whose fitted values are 0.3 of the nearest lag."""
    model = residuals.ResidualModel(
        terms=["lag_1", "lag_2"],
        layers=list(range(LAYERS)),
        slopes=np.tile([0.3, 0.0], (LAYERS, 1)),
        level=np.zeros(LAYERS),
        means=np.zeros((LAYERS, 3)),
        inverse=np.tile(np.eye(3), (LAYERS, 1, 1)),
        sigma=np.ones(LAYERS),
        fitted_mean=np.zeros(LAYERS),
        fitted_sd=np.ones(LAYERS),
        document_effects=False,
    )
    return residuals.sum_residuals(batches, model, 0)


def run(stage: str, study: Path, output: list[Path], settings: str = "", **more: object) -> Ended:
    """Draw figures of the study, as the job of a stage."""
    text = settings or (settings_text(stage) if stage != "plot_sites" else None)
    names = {"site": "attention"}
    job = job_of(stage, {**inputs_of(stage, study), **more}, {"figures": output}, text, names)
    with warnings.catch_warnings():
        # As in a process of its own, but for what a user would see.
        warnings.simplefilter("ignore", DeprecationWarning)
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("error", kind)
        return run_program(SCRIPTS, "draw_figures", *job)


def inputs_of(stage: str, study: Path) -> dict[str, object]:
    """Return the inputs of a stage, as its rule names them."""

    def shards(*names):
        return {name: sorted((study / name).glob("0*.parquet")) for name in names}

    def of(*names):
        return {name: study / f"{name}.parquet" for name in names}

    match stage:
        case "plot_norms":
            return shards("norms", "stream", "tokens", "properties") | of("corpus")
        case "plot_surprisal":
            return shards("norms", "surprisal", "properties")
        case "plot_sites":
            for site in ("attention", "mlp"):
                (study / site).mkdir(exist_ok=True)
                (study / site / "norms").unlink(missing_ok=True)
                (study / site / "norms").symlink_to(study / "norms")
            sites = [study / site / "norms" / "0000.parquet" for site in ("attention", "mlp")]
            tables_of_sites = {
                name: [path] * 2 for name, path in of("coefficients", "fits").items()
            }
            return {"norms": sites, **tables_of_sites}
    tables_of_one = of("coefficients", "fits", "groups", "influence", "residuals")
    return tables_of_one | shards("design") | {"joint": [], "controls": []}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_draw_all_their_figures_with_equal_bytes(program, study, tmp_path):
    figures = catalogue.drawn_by(program)
    assert figures
    names = [f"{figure.name}.svg" for figure in figures]
    for folder in ("a", "b"):
        output = [tmp_path / folder / name for name in names]
        done = run(program, study, output)
        assert done.status == 0, done.printed
        assert done.printed.startswith("gpt2, prompts, ")
        assert all(figure.name in done.printed for figure in figures)
        for path in output:
            # A long subtitle has several lines.
            text = " ".join(re.findall(r">([^<>]+)</text>", path.read_text()))
            assert "(◇ MambaMixer in layer 1) · 4-bit weights · " in text
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("figure", ["outcome_by_lag", "diagnostics"])
def test_the_error_for_an_unknown_layer_names_the_layers_of_the_model(figure, study, tmp_path):
    settings = settings_text("plot_regression", figures={"layers": [1, 7]})
    output = tmp_path / f"{figure}.svg"
    done = run("plot_regression", study, [output], settings)
    assert done.status == 1
    expected = "layers with a panel: found 7, expected layers of this model: 0 to 2"
    assert done.printed == f"error: {expected}\n"
    assert not output.exists()


def test_the_catalogue_of_figures_matches_the_modules():
    found = catalogue.figures()
    assert len(found) >= 9
    for figure in found:
        assert figure.shows.endswith(".")
        assert set(figure.drawn_by) <= set(draw_figures.INPUTS)
    assert catalogue.figure_of(Path("figures/diagnostics_column.svg")).name == "diagnostics"


def test_the_catalogue_imports_no_drawing_library():
    listing = "import sys, attnlag.figures.catalogue; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True, cwd=SCRIPTS
    ).stdout.split()
    assert "attnlag.figures.catalogue" in modules
    assert not {"matplotlib", "numpy", "pandas", "seaborn"} & set(modules)


def test_the_subtitle_of_several_models_names_those_with_quantised_weights():
    assert weights_in_words([{"name": "a", "bits": 4}, {"name": "b"}]) == "a: 4-bit weights"
