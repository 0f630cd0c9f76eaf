"""The same regressions by other packages, layer by layer, as their users would write them.

    python benchmarks/peers.py statsmodels design.parquet coefficients.parquet

Run by ``regression.py``, each in a process of its own, pyfixest in an environment of its own. Only
the columns of one layer are in memory at a time.
"""

import argparse
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

TERMS = ["y", "lag_1", "lag_2"]


def layers_of(design: str) -> list[int]:
    """Return the layers of a design."""
    names = {name.split(".")[0] for name in pq.read_schema(design).names}
    return sorted(int(n.removeprefix("layer_")) for n in names if n.startswith("layer_"))


def rows_of(design: str, layer: int) -> pa.Table:
    """Return one layer's rows: y, lag_1, lag_2 and the document as an integer."""
    columns = [f"layer_{layer:02d}.{term}" for term in TERMS]
    table = pq.read_table(design, columns=["document", *columns], pre_buffer=False)
    codes = table["document"].unify_dictionaries().combine_chunks().indices
    return table.select(columns).rename_columns(TERMS).append_column("document", codes)


def statsmodels_fit(design: str, layer: int) -> tuple[Iterable[float], Iterable[float]]:
    """Return estimates and CRV1 standard errors, the intercept first."""
    import numpy as np
    import statsmodels.api as sm

    y, *lags, document = [column.to_numpy() for column in rows_of(design, layer).columns]
    x = np.column_stack([np.ones(len(y)), *lags])
    del lags
    result = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": document}, use_t=True)
    return result.params, result.bse


def pyfixest_fit(design: str, layer: int) -> tuple[Iterable[float], Iterable[float]]:
    """Return estimates and CRV1 standard errors, the intercept first."""
    import pyfixest

    result = pyfixest.feols(
        "y ~ lag_1 + lag_2",
        data=rows_of(design, layer).to_pandas(),
        vcov={"CRV1": "document"},
        lean=True,
        copy_data=False,
        store_data=False,
    )
    return result.coef(), result.se()


FITS = {"statsmodels": statsmodels_fit, "pyfixest": pyfixest_fit}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=FITS)
    parser.add_argument("design", help="the design (Parquet)")
    parser.add_argument("output", help="layer, term, estimate, std_error (Parquet)")
    arguments = parser.parse_args()
    found = [
        (layer, *row)
        for layer in layers_of(arguments.design)
        for row in zip(
            ["intercept", *TERMS[1:]], *FITS[arguments.peer](arguments.design, layer), strict=True
        )
    ]
    columns = ["layer", "term", "estimate", "std_error"]
    pq.write_table(pa.table(list(zip(*found, strict=True)), names=columns), arguments.output)
