"""CPU time and memory of least squares beside statsmodels and pyfixest, as ratios within one run.

    python benchmarks/regression.py --rows 1000000 10000000     # minutes, 4 GB of disk

Twelve layers with lags 1 and 2, documents of 200 rows, standard errors clustered by document
(CRV1). Each engine reads the same design in a process of its own with one thread, pyfixest in an
environment of its own; the peers read the columns of one layer at a time. attnlag also finds R² by
folds and by document, and the influence of each document. CPU time is that of user and system;
start-up is what the same engine takes for a few documents.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
LAYERS, ROWS_PER_DOCUMENT, DOCUMENTS_PER_CHUNK, FEW_DOCUMENTS = 12, 200, 250, 12
TERMS = ["y", "lag_1", "lag_2"]
AGREEMENT = 1e-9


def write_design(documents: int, path: Path) -> Path:
    """Write the design of random documents: AR(2) with an effect per document."""
    random = np.random.default_rng(documents)
    tokens = ROWS_PER_DOCUMENT + 2
    names = ["document", "window", "position", "token_id"]
    names += [f"layer_{layer:02d}.{term}" for layer in range(LAYERS) for term in TERMS]
    writer = None
    for first in range(0, documents, DOCUMENTS_PER_CHUNK):
        count = min(DOCUMENTS_PER_CHUNK, documents - first)
        y = random.normal(scale=0.3, size=(tokens, LAYERS, count))
        for t in range(2, tokens):
            y[t] += 0.3 * y[t - 1] + 0.1 * y[t - 2]
        y += random.normal(scale=0.2, size=(LAYERS, count)) + 3
        codes = np.repeat(np.arange(count, dtype=np.int32), ROWS_PER_DOCUMENT)
        words = [f"document {first + place:07d}" for place in range(count)]
        position = np.tile(np.arange(3, tokens + 1, dtype=np.int32), count)
        keys = [pa.DictionaryArray.from_arrays(codes, words), codes * 0, position, codes]
        columns = [
            y[2 - lag : tokens - lag, layer].T.reshape(-1)
            for layer in range(LAYERS)
            for lag in range(3)
        ]
        table = pa.table([*map(pa.array, (*keys, *columns))], names=names)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer
    writer.close()
    return path


# --- engines, each in a process of its own -------------------------------------------------


def attnlag_fit(design: Path, output: Path) -> None:
    """Write the coefficients that cross-products give."""
    from attnlag.regression.estimation.least_squares import solve
    from attnlag.regression.inference import layer_fit, results
    from attnlag.regression.inference.layer_fit import fit_layer
    from attnlag.regression.moments.moments import RowPartition, Stored, write_moments
    from attnlag.regression.settings import Errors
    from attnlag.storage import tables

    products = output.with_suffix(".products")
    rows = tables.documents(design, "cross-products")
    record = {"stages": {"design": {"outcome": "norm"}}}
    write_moments(rows, pq.read_schema(design), products, record, RowPartition())
    stored = Stored([products])
    layers = (layer.prepared(fixed_effects=False) for layer in stored)
    fits = [fit_layer(solve(layer), "cluster-crv1", 10) for layer in layers]
    results.influence_table(fits)
    table = pa.Table.from_pandas(layer_fit.coefficients_table(fits, Errors()))
    pq.write_table(table.select(["layer", "term", "estimate", "std_error"]), output)


def rows_of(design: Path, layer: int) -> pa.Table:
    """Return one layer's rows: y, lag_1, lag_2 and the document as an integer."""
    columns = [f"layer_{layer:02d}.{term}" for term in TERMS]
    table = pq.read_table(design, columns=["document", *columns], pre_buffer=False)
    codes = table["document"].unify_dictionaries().combine_chunks().indices
    return table.select(columns).rename_columns(TERMS).append_column("document", codes)


def statsmodels_fit(table: pa.Table):
    """Return estimates and errors, the intercept first."""
    import statsmodels.api as sm

    y, *lags, document = [column.to_numpy() for column in table.columns]
    x = np.column_stack([np.ones(len(y)), *lags])
    result = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": document}, use_t=True)
    return result.params, result.bse


def pyfixest_fit(table: pa.Table):
    """Return estimates and errors, the intercept first."""
    import pyfixest

    lean = {"lean": True, "copy_data": False, "store_data": False}
    vcov = {"CRV1": "document"}
    result = pyfixest.feols("y ~ lag_1 + lag_2", data=table.to_pandas(), vcov=vcov, **lean)
    return result.coef(), result.se()


PEERS = {"statsmodels": statsmodels_fit, "pyfixest": pyfixest_fit}


def peer_fit(name: str, design: Path, output: Path) -> None:
    """Write the coefficients of a peer, layer by layer, as its users would get them."""
    names = ["intercept", *TERMS[1:]]
    found = [
        (layer, *row)
        for layer in range(LAYERS)
        for row in zip(names, *PEERS[name](rows_of(design, layer)), strict=True)
    ]
    columns = ["layer", "term", "estimate", "std_error"]
    pq.write_table(pa.table(list(zip(*found, strict=True)), names=columns), output)


# --- measurement ---------------------------------------------------------------------------


def measured(python: Path, engine: str, design: Path, output: Path) -> tuple[float, float]:
    """Return CPU seconds and peak MB of an engine with one thread."""
    threads = ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON")
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in threads}
    command = [python, __file__, "--engine", engine, design, output]
    process = subprocess.Popen(list(map(str, command)), env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"{engine} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def python_of(engine: str, environment: Path) -> Path:
    """Return the interpreter of an engine; that of pyfixest is made if need be."""
    if engine != "pyfixest":
        return Path(sys.executable)
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "pyfixest", "pyarrow"]
        subprocess.run(install, check=True)
    return python


def numbers_in(path: Path) -> np.ndarray:
    """Return the estimates and errors in a table, by layer and term."""
    table = pq.read_table(path).sort_by([("layer", "ascending"), ("term", "ascending")])
    return np.stack([table["estimate"].to_numpy(), table["std_error"].to_numpy()])


def main(given: argparse.Namespace, folder: Path) -> None:
    engines = {name: python_of(name, given.environment) for name in ("attnlag", *given.peers)}
    few = write_design(FEW_DOCUMENTS, folder / "few.parquet")
    for name, python in engines.items():
        measured(python, name, few, folder / "warm.parquet")
    start_up = {name: measured(py, name, few, folder / name) for name, py in engines.items()}
    print(
        "| engine | rows | CPU s | net of start-up | peak MB | apart |\n|---|---|---|---|---|---|"
    )
    for rows in given.rows:
        design = write_design(rows // ROWS_PER_DOCUMENT, folder / "design.parquet")
        for name, python in engines.items():
            cpu, peak = measured(python, name, design, folder / name)
            apart = np.abs(numbers_in(folder / name) / numbers_in(folder / "attnlag") - 1).max()
            net = cpu - start_up[name][0]
            print(f"| {name} | {rows:,} | {cpu:.2f} | {net:.2f} | {peak:,.0f} | {apart:.0e} |")
            if not apart < AGREEMENT:
                sys.exit(f"{name} and attnlag differ by {apart:.0e}, expected {AGREEMENT:.0e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7], metavar="N")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--engine", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        engine, design, output = given.engine[0], *map(Path, given.engine[1:])
        if engine == "attnlag":
            attnlag_fit(design, output)
        else:
            peer_fit(engine, design, output)
    else:
        with tempfile.TemporaryDirectory() as name:
            main(given, Path(name))
