"""CPU time of the regression of vectors beside scikit-learn's ridge, as a ratio within one run.

    python benchmarks/vectors.py                # 128 documents of 227 tokens, 576 wide

One layer, five folds and five penalties, nested cross-validation. The peer fits the rows, once for
each pair of folds and each penalty. CPU time is that of user and system, on one thread.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Read when NumPy is imported.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.adjustments import columns  # noqa: E402
from attnlag.regression.beyond import vector_fits, vector_pairs, vector_products  # noqa: E402
from attnlag.regression.settings import VectorProductsSettings, VectorsSettings  # noqa: E402

PRODUCTS = VectorProductsSettings()
SETTINGS = VectorsSettings(products=PRODUCTS)


def write(path: Path, documents: int, tokens: int, width: int) -> np.ndarray:
    """Write the vectors of one layer, each partly that of the token before, and return them."""
    random = np.random.default_rng(0)
    scales = np.geomspace(1, 0.01, width)
    vectors = random.normal(size=(documents, tokens, width)) * scales
    for t in range(1, tokens):
        vectors[:, t] += 0.6 * vectors[:, t - 1]
    flat = vectors.astype(np.float32).reshape(-1, width)
    schema = columns.schema(1, width)
    keys = [
        pa.array(np.repeat([f"d{n}" for n in range(documents)], tokens)).dictionary_encode(),
        pa.array(np.zeros(len(flat), np.int32)),
        pa.array(np.tile(np.arange(tokens, dtype=np.int32), documents)),
        pa.array(np.zeros(len(flat), np.int32)),
    ]
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(flat.reshape(-1)), type=schema.field("layer_00").type
    )
    options = {"compression": "none", "use_dictionary": ["document"], "write_statistics": False}
    table = pa.Table.from_arrays([*keys, column], schema=schema)
    pq.write_table(table, path, row_group_size=4096, **options)
    return flat.reshape(documents, tokens, width)


def ours(folder: Path, documents: int) -> float:
    """Return R² of the full rank, by way of the files."""
    path = folder / "vectors.parquet"
    folds = vector_pairs.folds_of_documents([f"d{n}" for n in range(documents)], PRODUCTS.folds)
    found = vector_products.products(path, path, folds, PRODUCTS, 1)
    vector_products.write(folder / "products.parquet", found, {})
    paths = [folder / "products.parquet"], [path]
    table = vector_fits.table_of(*paths, None, folds, SETTINGS, 1)
    return float(table.loc[table["rank"] == table["rank"].max(), "r_squared"].iloc[0])


def peer(vectors: np.ndarray) -> float:
    """Return the same from scikit-learn, with the penalty of the smallest error."""
    x, y = vectors[:, 1:-1], vectors[:, 2:]
    width = x.shape[2]
    fold = np.arange(len(x)) % PRODUCTS.folds

    def fitted(seen: np.ndarray, penalty: float) -> Ridge:
        rows = x[seen].reshape(-1, width)
        return Ridge(penalty * rows.var(axis=0).mean() * len(rows)).fit(
            rows, y[seen].reshape(-1, width)
        )

    def error(model: Ridge, unseen: np.ndarray) -> float:
        found = model.predict(x[unseen].reshape(-1, width))
        return float(((y[unseen].reshape(-1, width) - found) ** 2).sum())

    sse = sst = 0.0
    for out in range(PRODUCTS.folds):
        errors = [
            sum(
                error(fitted((fold != out) & (fold != one), penalty), fold == one)
                for one in range(PRODUCTS.folds)
                if one != out
            )
            for penalty in SETTINGS.ridge
        ]
        seen, unseen = fold != out, fold == out
        sse += error(fitted(seen, SETTINGS.ridge[int(np.argmin(errors))]), unseen)
        sst += float(((y[unseen] - y[seen].mean(axis=(0, 1))) ** 2).sum())
    return 1 - sse / sst


def timed(name: str, work: Callable[[], float]) -> float:
    """Print what some work finds, and return the CPU seconds that it takes."""
    begun = time.process_time()
    found = work()
    seconds = time.process_time() - begun
    print(f"{name}: R² {found:.4f} in {seconds:.1f} CPU s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=227)
    parser.add_argument("--width", type=int, default=576)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors.parquet")
        vectors = write(path, args.documents, args.tokens, args.width)
        own = timed("attnlag", lambda: ours(Path(folder), args.documents))
        other = timed("scikit-learn", lambda: peer(vectors))
    print(f"ratio: {other / own:.1f}")


if __name__ == "__main__":
    main()
