"""The same regressions by other packages, layer by layer, as their users would write them.

    python tests/benchmarks/peers.py statsmodels design.parquet coefficients.parquet

Run by ``regression.py``, each in a process of its own, pyfixest in an environment of its own. Only
the columns of one layer are in memory at a time.
"""

import argparse
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

TERMS = ["y", "lag_1", "lag_2"]


def layers_of(design: str) -> Iterator[tuple[int, pa.Table]]:
    """Yield each layer's rows: y, lag_1, lag_2 and the document as an integer."""
    names = pq.read_schema(design).names
    for name in sorted({name.split(".")[0] for name in names if name.startswith("layer_")}):
        columns = [f"{name}.{term}" for term in TERMS]
        table = pq.read_table(design, columns=["document", *columns], pre_buffer=False)
        codes = table["document"].unify_dictionaries().combine_chunks().indices
        yield (
            int(name.removeprefix("layer_")),
            table.select(columns).rename_columns(TERMS).append_column("document", codes),
        )


def statsmodels_fits(design: str) -> Iterator[tuple[int, str, float, float]]:
    """Yield layer, term, estimate and CRV1 standard error."""
    import numpy as np
    import statsmodels.api as sm

    for layer, table in layers_of(design):
        y, *lags, document = [column.to_numpy() for column in table.columns]
        x = np.column_stack([np.ones(len(y)), *lags])
        del table, lags
        result = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": document}, use_t=True)
        for term, estimate, error in zip(
            ["intercept", *TERMS[1:]], result.params, result.bse, strict=True
        ):
            yield layer, term, estimate, error


def pyfixest_fits(design: str) -> Iterator[tuple[int, str, float, float]]:
    """Yield layer, term, estimate and CRV1 standard error."""
    import pyfixest

    for layer, table in layers_of(design):
        frame = table.to_pandas()
        del table
        fit = pyfixest.feols(
            "y ~ lag_1 + lag_2",
            data=frame,
            vcov={"CRV1": "document"},
            lean=True,
            copy_data=False,
            store_data=False,
        )
        for term, estimate, error in zip(
            ["intercept", *TERMS[1:]], fit.coef(), fit.se(), strict=True
        ):
            yield layer, term, estimate, error


FITS = {"statsmodels": statsmodels_fits, "pyfixest": pyfixest_fits}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=FITS)
    parser.add_argument("design", help="the design (Parquet)")
    parser.add_argument("output", help="layer, term, estimate, std_error (Parquet)")
    arguments = parser.parse_args()
    found = list(FITS[arguments.peer](arguments.design))
    columns = ["layer", "term", "estimate", "std_error"]
    pq.write_table(pa.table(list(zip(*found, strict=True)), names=columns), arguments.output)
