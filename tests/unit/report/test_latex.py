"""Numbers and the table in LaTeX, each against the one number that it states."""

import re

import pandas as pd
import pytest
from described import as_fits, in_memory, regressions_in, settings_stated
from pictures import grid

from attnlag.report import latex
from attnlag.storage import tables

RECORD = {
    "model": {"name": "tiny"},
    "corpus": {"name": "small", "documents": 20, "texts": 20},
    "stages": {
        "design": {"covariates": []},
        "regression": settings_stated(),
    },
}


@pytest.fixture
def regression(tmp_path):
    """Return a regression of two lags in four layers, the last not fitted; no two numbers agree."""
    folder = tmp_path / "results/tiny/small/attention/within"
    folder.mkdir(parents=True)
    rows = grid(term=["lag_1", "lag_2"], layer=range(4)).assign(
        subset="all",
        level=0.95,
        estimate=[0.11, 0.23, 0.47, None, -0.2, 0.013, -0.101, None],
        std_error=[0.021, 0.022, 0.023, None, 0.024, 0.025, 0.026, None],
        conf_low=[0.071, 0.182, 0.417, None, -0.258, -0.037, -0.152, None],
        conf_high=[0.159, 0.281, 0.529, None, -0.149, 0.061, -0.049, None],
        p_adjusted=[0.0312, 0.0004, 0.0021, None, 0.0432, 0.6543, 0.2109, None],
        equivalence=["present", "present", "undecided", "", "present", "absent", "undecided", ""],
    )
    fits = pd.DataFrame({"layer": range(4), "r_squared": [0.105, 0.278, 0.843, None]}).assign(
        status=["ok", "ok", "ok", "the outcome is constant"],
        n_documents=[17, 18, 19, 0],
        n_obs=[1701, 1802, 1903, 0],
    )
    controls = rows[["layer", "term"]].assign(
        permuted_mean=[-0.011, -0.024, -0.093, None, 0.031, 0.042, 0.153, None],
        order_p_adjusted=float("nan"),
    )
    before = pd.DataFrame({"scale": ["own", "default"], "before": [0.46, 1.42]}).assign(
        quantity="lag_1",
        trained=0.236,
        before_low=[0.41, 1.37],
        before_high=[0.52, 1.49],
        conf_low=-0.3,
        conf_high=-0.2,
        above_own=False,
        initializer_range=0.02,
        origin="stated",
        left_out="",
        difference=0.2,
        level=0.95,
        documents=18,
    )
    medians = pd.DataFrame(
        {
            "term": ["lag_1", "lag_2"],
            "median": [0.23, -0.101],
            "conf_low": [0.192, -0.143],
            "conf_high": [0.277, -0.064],
            "level": 0.95,
        }
    )
    frames = {
        "coefficients": rows,
        "fits": as_fits(fits),
        "controls": controls,
        "untrained_scales": before,
        "medians": medians,
    }
    for name, frame in frames.items():
        tables.write_frame(frame, folder / f"{name}.parquet", RECORD)
    return regressions_in(tmp_path / "results")[0]


def test_each_cell_of_the_table_is_that_of_its_layer_and_term(regression):
    text = latex.coefficients(regression)
    rows = re.findall(r"^(\d+) & (.*) \\\\$", text, re.M)
    assert [cells.replace("$", "").split(" & ") for _, cells in rows] == [
        [
            *("0.110 (0.021)", "[0.071, 0.159]", "0.031"),
            *("-0.200 (0.024)", "[-0.258, -0.149]", "0.043", "0.105"),
        ],
        [
            *("0.230 (0.022)", "[0.182, 0.281]", "<0.001"),
            *("0.013 (0.025)", "[-0.037, 0.061]", "0.654", "0.278"),
        ],
        [
            *("0.470 (0.023)", "[0.417, 0.529]", "0.002"),
            *("-0.101 (0.026)", "[-0.152, -0.049]", "0.211", "0.843"),
        ],
        [*("--- (---)", "[---, ---]", "---"), *("--- (---)", "[---, ---]", "---", "---")],
    ]
    assert [layer for layer, _ in rows] == list("0123")
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    # Headers stand over their columns.
    names = ["Estimate (SE)", r"95\% interval", "$p$"]
    (header,) = re.findall(r"^ & (Estimate.*) \\\\$", text, re.M)
    assert header.split(" & ") == [*names, *names, "$R^2$"]


def test_each_macro_has_its_number(regression):
    macros = re.findall(
        r"^\\newcommand\{\\(\w+)\}\{(.*)\}$", latex.numbers(in_memory([regression])), re.M
    )
    assert {name: text.replace("$", "") for name, text in macros} == {
        "WithinLayers": "3",
        "WithinDocuments": "19",
        "WithinRows": "1,903",
        "WithinRSquared": "0.28",
        "WithinLagOneMedian": "0.23",
        "WithinLagOneLow": "0.19",
        "WithinLagOneHigh": "0.28",
        "WithinLagOneLayersAbove": "2",
        "WithinLagOneLayersBelow": "0",
        "WithinLagOneLayersPresent": "2",
        "WithinLagOneLayersAbsent": "0",
        "WithinLagOneRandomOrder": "-0.02",
        "WithinLagOneBeforeTrainingLow": "0.46",
        "WithinLagOneBeforeTrainingHigh": "1.42",
        "WithinLagOneSameDocumentsTrained": "0.24",
        "WithinLagTwoMedian": "-0.10",
        "WithinLagTwoLow": "-0.14",
        "WithinLagTwoHigh": "-0.06",
        "WithinLagTwoLayersAbove": "0",
        "WithinLagTwoLayersBelow": "1",
        "WithinLagTwoLayersPresent": "1",
        "WithinLagTwoLayersAbsent": "1",
        "WithinLagTwoRandomOrder": "0.04",
    }
